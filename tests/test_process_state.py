"""Settings of the process that a user made for other work: the library's results are the same, bit for bit."""

from __future__ import annotations

import contextlib
import hashlib
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from torch import Tensor, nn

from viz_diffusion import (
    EmpiricalOracle,
    GaussianOracle,
    NoiseSchedule,
    Recorder,
    Run,
    SamplerConfig,
    Trajectory,
    WithInterventions,
    block_means,
    mean_ablated,
    record_generation,
    sampling_steps,
    shuffle_timestep,
    switch_label,
)
from viz_diffusion.data import Digits
from viz_diffusion.diffusion.prediction import predict_noise
from viz_diffusion.diffusion.samplers import ImageNoise
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.evaluate import evaluate
from viz_diffusion.evaluation.likelihood import measure_likelihood
from viz_diffusion.plots.saving import figure_bytes
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainState, heldout_loss, train
from viz_diffusion.training.train_config import TrainConfig
from viz_diffusion.training.trainer import Trainer

MODEL = ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2)
TRAINING = TrainConfig(steps=3, batch_size=4)
LINEAR = NoiseSchedule.named("linear")
LABELS = torch.tensor([3, 7])


# -- settings --------------------------------------------------------------------------------------


@contextlib.contextmanager
def default_dtype(dtype: torch.dtype) -> Iterator[None]:
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        yield
        assert torch.get_default_dtype() == dtype  # as the user left it
    finally:
        torch.set_default_dtype(before)


@contextlib.contextmanager
def default_device(name: str) -> Iterator[None]:
    torch.set_default_device(name)
    try:
        yield
        assert torch.get_default_device() == torch.device(name)
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def inside_inference_mode() -> Iterator[None]:
    with torch.inference_mode():
        yield
        assert torch.is_inference_mode_enabled()


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


@contextlib.contextmanager
def warnings_are_errors() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield


SETTINGS: dict[str, Callable[[], Any]] = {
    "float64": lambda: default_dtype(torch.float64),
    "float16": lambda: default_dtype(torch.float16),
    "bfloat16": lambda: default_dtype(torch.bfloat16),
    "meta": lambda: default_device("meta"),
    "without gradients": torch.no_grad,
    "with gradients": torch.enable_grad,
    "inference mode": inside_inference_mode,
    "deterministic": deterministic,
    "NumPy raises": lambda: np.errstate(all="raise"),
    "warnings are errors": warnings_are_errors,
    "zarr 2": lambda: zarr.config.set({"default_zarr_format": 2, "array.order": "F"}),
}


# -- what is done under them -----------------------------------------------------------------------


def digest(*values: Any) -> str:
    """Return a digest of tensors, arrays, numbers and texts: dtype, shape and bytes."""
    whole = hashlib.sha256()
    for value in values:
        array = value.detach().numpy() if isinstance(value, Tensor) else np.asarray(value)
        whole.update(f"{array.dtype} {array.shape}".encode() + array.tobytes())
    return whole.hexdigest()


def of(trajectory: Trajectory) -> str:
    names = ("timesteps", "x_t", "eps_pred", "x0_pred", "x0", "labels", "seeds", "snr")
    return digest(*(getattr(trajectory, name) for name in names), *trajectory.activations.values())


class Work:
    """Tasks of the library with a small network and few digits, made before any setting is changed."""

    def __init__(self, unet: nn.Module, digits: Digits, folder: Path) -> None:
        self.unet, self.digits, self.folder = unet, digits, folder
        self.numbers = iter(range(10_000))
        self.kept = record_generation(unet, LINEAR, LABELS, [0, 1], SamplerConfig("ddim", 3))

    def new_folder(self) -> Path:
        return self.folder / str(next(self.numbers))

    def samplers(self) -> str:
        found = []
        for sampler in ("ddpm", "ddim", "dpm-solver++"):
            config = SamplerConfig(sampler, 4, guidance_scale=1.5)
            for step in sampling_steps(self.unet, LINEAR, ImageNoise([4, 5]), LABELS, config):
                found += [step.x_prev, step.x0_pred, step.eps_pred]
        return digest(*found)

    def bulk_sampling(self) -> str:
        return digest(*sample_images(self.unet, LINEAR, LABELS, [0, 1], SamplerConfig("ddpm", 3)))

    def record_generation(self) -> str:
        config = SamplerConfig("ddpm", 4, guidance_scale=2.0)
        return of(record_generation(self.unet, LINEAR, LABELS, [0, 1], config, activations=["mid1"]))

    def recorder(self) -> str:
        """A loop of somebody's own."""
        x = torch.linspace(-1, 1, 2 * 784, dtype=torch.float32, device="cpu").reshape(2, 1, 28, 28)
        with Recorder(self.unet, LINEAR, SamplerConfig("ddim", 3)) as recorder, torch.no_grad():
            for t in (900, 500, 10):
                x = x - 0.1 * self.unet(x, torch.full((2,), t, device="cpu"), LABELS)
            recorder.finish(x)
        return of(recorder.trajectory())

    def recorded_to_disk(self) -> str:
        path = self.new_folder().with_suffix(".zarr")
        first = record_generation(self.unet, LINEAR, LABELS, [0, 1], SamplerConfig("ddim", 3), store=path)
        assert (path / "zarr.json").is_file()
        return of(first) + of(Trajectory.open(path))

    def saved_and_opened(self) -> str:
        path = self.new_folder().with_suffix(".zarr")
        self.kept.save(path, dtype="float16")
        return of(Trajectory.open(path))

    def interventions(self) -> str:
        shuffled = WithInterventions(self.unet, shuffle_timestep(1000), switch_label(2, 500))
        config = SamplerConfig("ddim", 3)
        found = of(record_generation(shuffled, LINEAR, LABELS, [0, 1], config))
        timesteps = config.timesteps(1000).tolist()
        means = block_means(self.unet, "mid1", LINEAR, self.digits.images[:4], self.digits.labels[:4], timesteps)
        with mean_ablated(self.unet, "mid1", means):
            return found + of(record_generation(self.unet, LINEAR, LABELS, [0, 1], config))

    def predictions(self) -> str:
        images = self.digits.images[:3]
        return digest(predict_noise(self.unet, images, 500, 3), predict_noise(self.unet, images, LABELS[:1].expand(3)))

    def loaded_weights(self) -> str:
        model, sha256 = Run.bundled().load_model()
        return sha256 + digest(*model.state_dict().values(), model(self.digits.images[:2], LABELS * 100, LABELS))

    def training(self) -> str:
        state = TrainState.create(TRAINING, MODEL)
        losses = [step.loss for step in train(state, self.digits, LINEAR)]
        held = heldout_loss(state.ema, LINEAR, self.digits, count=8)
        return digest(losses, held, *state.model.state_dict().values(), *state.ema.state_dict().values())

    def resumed_run(self) -> str:
        run = Run.create(self.new_folder(), RunConfig(MODEL, TRAINING))
        state = TrainState.create(TRAINING, MODEL)
        progress = Trainer(run, state, self.digits, self.digits).run()
        next(progress)
        progress.close()
        state, metrics_bytes, _ = run.resume()
        list(Trainer(run, state, self.digits, self.digits, metrics_bytes=metrics_bytes).run())
        model, _ = Run.open(run.path).load_model()
        return digest(*model.state_dict().values(), *run.load_samples())

    def evaluation(self) -> str:
        result = evaluate(self.digits.images[:20], self.digits.labels[:20], self.digits, self.digits)
        numbers = [result.samples.frechet, result.samples.kid, result.real.frechet, result.control.frechet]
        probabilities = DigitClassifier.bundled()[0].probabilities(self.digits.images[:5])
        return digest(numbers, result.samples.accuracy.hits, probabilities)

    def likelihood(self) -> str:
        schedule = NoiseSchedule.named("linear", 20)
        found = vars(measure_likelihood(self.unet, schedule, self.digits, count=3, training=self.digits)).copy()
        return digest(*vars(found.pop("decoders")).values(), *found.values())

    def oracles(self) -> str:
        digits = Digits(self.digits.images[:30], self.digits.labels[:30])
        x, t = self.digits.images[:3] * 0.5, LABELS[:1].expand(3) * 100
        empirical = EmpiricalOracle(LINEAR, digits.images, digits.labels)
        gaussian = GaussianOracle(LINEAR, np.linspace(-1, 1, 4), np.diag(np.linspace(0.1, 2, 4)))
        points = x.flatten()[300:304].reshape(1, 1, 2, 2)
        return digest(empirical(x, t, digits.labels[:3]), empirical.posterior(x, t), gaussian(points, t[:1]))

    def figure(self) -> str:
        return digest(np.frombuffer(figure_bytes(self.kept.plot_strip(), "png"), np.uint8))

    def schedules(self) -> str:
        found = []
        for name in ("linear", "cosine", "flow"):
            schedule = NoiseSchedule.named(name)
            found += [schedule.betas, schedule.alphas_cumprod, schedule.snr, schedule.log_snr]
        return digest(*found)


TASKS = [name for name in vars(Work) if not name.startswith("_") and name != "new_folder"]


@pytest.fixture(scope="module")
def work(make_unet: Callable[..., SimpleUNet], test_digits: Digits, tmp_path_factory: pytest.TempPathFactory) -> Work:
    digits = test_digits.first_of_each(150)
    return Work(make_unet(), digits, tmp_path_factory.mktemp("work"))


@pytest.fixture(scope="module")
def undisturbed(work: Work) -> dict[str, str]:
    """The digest of each task without any setting, for which the tasks are repeatable at all."""
    return {task: getattr(work, task)() for task in TASKS}


@pytest.mark.parametrize("setting", SETTINGS)
@pytest.mark.parametrize("task", TASKS)
def test_results_are_the_same(task: str, setting: str, work: Work, undisturbed: dict[str, str]) -> None:
    with SETTINGS[setting]():
        found = getattr(work, task)()
    assert found == undisturbed[task]
