"""Record unchanged programs of others by one ``with`` each, and print what agrees and what it costs.

    pip install denoising-diffusion-pytorch smalldiffusion flow_matching torchdiffeq 'viz-diffusion[diffusers]'
    python benchmarks/foreign_programs.py [--rounds 5]

Each program samples with a small random network, bare and recorded in turns, with the same seed. Printed are whether
images and the state of the random generator are bit-identical, the largest difference between the recorded x̂_0 and
what the program's own formula says, and the median ratio of processor times. Where ε is predicted, the difference is
also given as a share of what rounding in float32 allows, see :func:`rounding_of_x0`. Programs that are not installed
are named.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion import NoiseSchedule, Recorder, Trajectory

BATCH = 4
os.environ.setdefault("TQDM_DISABLE", "1")


@dataclass
class Program:
    """A program that samples, and the parameters of its Recorder."""

    name: str
    denoiser: nn.Module
    schedule: NoiseSchedule
    sample: Callable[[], Tensor]
    options: dict[str, Any]
    own_x0: Callable[[], list[Tensor]]
    """x̂_0 of each step by the program's own formula, of the latest sampling."""
    inner: int = 0
    """How many evaluations within steps it makes."""


@dataclass
class Kept:
    """Keeps what a function of the program returns, without changing it."""

    values: list[Any] = field(default_factory=list)

    def around(self, function: Callable[..., Any]) -> Callable[..., Any]:
        """Return the function, whose values are kept from now on."""

        def wrapped(*args: Any, **kwargs: Any) -> Any:
            value = function(*args, **kwargs)
            self.values.append(value)
            return value

        return wrapped


def lucidrains() -> Iterator[Program]:
    """``denoising_diffusion_pytorch``: its default predicts v; DDPM and DDIM."""
    from denoising_diffusion_pytorch import GaussianDiffusion, Unet

    kinds = {"pred_v": "v_prediction", "pred_noise": "epsilon", "pred_x0": "sample"}
    for objective, kind in kinds.items():
        for steps in (50, 10):
            unet = Unet(dim=16, dim_mults=(1, 2), channels=1, flash_attn=False)
            diffusion = GaussianDiffusion(
                unet, image_size=16, timesteps=50, sampling_timesteps=steps, objective=objective
            )
            diffusion.eval()
            kept = Kept()
            diffusion.model_predictions = kept.around(diffusion.model_predictions)

            def sample(diffusion: Any = diffusion, kept: Kept = kept) -> Tensor:
                kept.values.clear()
                return diffusion.sample(BATCH) * 2 - 1

            def own(kept: Kept = kept) -> list[Tensor]:
                return [found.pred_x_start.clamp(-1, 1) for found in kept.values]

            name = f"lucidrains, {objective}, {'DDPM' if steps == 50 else 'DDIM'}"
            schedule = NoiseSchedule(diffusion.betas.double().numpy())
            yield Program(name, unet, schedule, sample, {"prediction_type": kind}, own)


def lucidrains_guided() -> Iterator[Program]:
    """Its classifier-free guidance calls ``forward`` itself, past all hooks, with ``cond_drop_prob`` 0 and 1."""
    from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet, project

    unet = Unet(dim=16, dim_mults=(1, 2), num_classes=10, channels=1)
    diffusion = GaussianDiffusion(unet, image_size=16, timesteps=50, objective="pred_noise").eval()
    kept = Kept()
    diffusion.model_predictions = kept.around(diffusion.model_predictions)

    def sample() -> Tensor:
        kept.values.clear()
        images: Tensor = diffusion.sample(torch.arange(BATCH), cond_scale=3.0, rescaled_phi=0.0)
        return images * 2 - 1

    def mix(cond: Tensor, uncond: Tensor) -> Tensor:  # its default leaves out what is parallel to the prediction
        return cond + project(cond - uncond, cond)[1] * (3.0 - 1)

    options = {"prediction_type": "epsilon", "guidance_mix": mix}
    schedule = NoiseSchedule(diffusion.betas.double().numpy())
    own = lambda: [found.pred_x_start.clamp(-1, 1) for found in kept.values]  # noqa: E731
    yield Program("lucidrains, guidance 3", unet, schedule, sample, options, own)


def smalldiffusion() -> Iterator[Program]:
    """Its networks know σ; x_t = x_0 + σ ε."""
    from smalldiffusion import PredX0, ScheduleLogLinear, TimeInputMLP, samples
    from smalldiffusion.model import ConditionalMLP

    schedule = ScheduleLogLinear(N=200, sigma_min=0.02, sigma_max=10)
    ours = NoiseSchedule.from_sigmas(schedule.sigmas.double().numpy())
    networks = {
        "epsilon": (TimeInputMLP(dim=2), {"prediction_type": "epsilon"}, {}),
        "x0": (PredX0(TimeInputMLP)(dim=2), {"prediction_type": "sample"}, {}),
        "guidance 4": (
            ConditionalMLP(dim=2),
            {"prediction_type": "epsilon", "null_label": 10, "guidance_scale": 5.0},
            {"cond": torch.arange(BATCH * 16) % 10, "cfg_scale": 4.0},
        ),
    }
    for name, (net, options, more) in networks.items():
        kept = Kept()
        original = net.predict_eps_cfg

        def predict(x: Tensor, sigma: Tensor, *rest: Any, kept: Kept = kept, original: Any = original) -> Tensor:
            eps: Tensor = original(x, sigma, *rest)
            kept.values.append(x - sigma * eps)
            return eps

        net.predict_eps_cfg = predict

        def sample(net: Any = net, kept: Kept = kept, more: Any = more) -> Tensor:
            kept.values.clear()
            with torch.no_grad():
                *_, last = samples(net, schedule.sample_sigmas(20), gam=1.6, batchsize=BATCH * 16, **more)
            return last

        yield Program(f"smalldiffusion, {name}", net, ours, sample, options, lambda kept=kept: list(kept.values))


def flow_matching() -> Iterator[Program]:
    """Its time runs from 0, noise, to 1, data; its midpoint method evaluates twice a step."""
    from flow_matching.solver import ODESolver
    from flow_matching.utils import ModelWrapper

    class Velocity(ModelWrapper):
        def __init__(self) -> None:
            super().__init__(nn.Conv2d(1, 1, 3, padding=1))
            self.values: list[Tensor] = []

        def forward(self, x: Tensor, t: Tensor, **extras: Any) -> Tensor:  # noqa: ARG002
            velocity: Tensor = self.model(x)
            self.values.append(x + (1 - t) * velocity)
            return velocity

    for method, inner in (("euler", 0), ("midpoint", 20)):
        net = Velocity()

        def sample(net: Velocity = net, method: str = method) -> Tensor:
            net.values.clear()
            start = torch.randn(BATCH, 1, 16, 16)
            found: Tensor = ODESolver(net).sample(x_init=start, step_size=0.05, method=method)
            return found

        own = lambda net=net, inner=inner: net.values[:: 2 if inner else 1]  # noqa: E731
        options = {"evaluations_per_step": 2} if inner else {}
        yield Program(f"flow_matching, {method}", net, NoiseSchedule.named("flow"), sample, options, own, inner)


def course() -> Iterator[Program]:
    """Sample with a diffusers network and scheduler in a loop by hand, as the 🤗 diffusion course does."""
    from diffusers import DDPMScheduler, UNet2DModel

    net = UNet2DModel(
        sample_size=16,
        in_channels=1,
        out_channels=1,
        norm_num_groups=4,
        block_out_channels=(8,),
        layers_per_block=1,
        down_block_types=("DownBlock2D",),
        up_block_types=("UpBlock2D",),
    ).eval()
    scheduler = DDPMScheduler(num_train_timesteps=1000)
    own: list[Tensor] = []

    def sample() -> Tensor:
        own.clear()
        scheduler.set_timesteps(100)
        x = torch.randn(BATCH, 1, 16, 16)
        for t in scheduler.timesteps:
            with torch.no_grad():
                residual = net(x, t).sample
            step = scheduler.step(residual, t, x)
            own.append(step.pred_original_sample)
            x = step.prev_sample
        return x

    schedule = NoiseSchedule(scheduler.betas.double().numpy())
    yield Program("🤗 course, DDPM", net, schedule, sample, {"prediction_type": "epsilon"}, lambda: list(own))


PROGRAMS = (lucidrains, lucidrains_guided, smalldiffusion, flow_matching, course)


def seeded(run: Callable[[], Tensor]) -> tuple[Tensor, Tensor, float]:
    """Return images, the generator's state after them, and seconds."""
    torch.manual_seed(0)
    begun = time.process_time()
    images = run()
    return images, torch.get_rng_state(), time.process_time() - begun


def rounding_of_x0(found: Trajectory) -> NDArray[np.float64]:
    """Return by how much two ways of computing x̂_0 from ε̂ may differ in float32, (B, S, C, H, W).

    (x_t - b ε̂)/a and x_t/a - (b/a) ε̂ each round at most five times what they subtract, |x_t|/a and b|ε̂|/a, and six
    times their result, each time by 2^-24 of it. Where a is small, as at the noise end, that is far more than 1e-5.
    ᾱ as a product of t + 1 rounded factors is off by at most 1.5 (t + 1) 2^-24 of itself, which changes x̂_0 by half of
    that times |x̂_0 - (a/b) ε̂|.
    """
    a, b, t = (values[None, :, None, None, None] for values in (found.signal_scale, found.noise_scale, found.timesteps))
    x, eps = (np.abs(values.astype(np.float64)) for values in (found.x_t, found.eps_pred))
    x0 = np.abs((found.x_t - b * found.eps_pred) / a)
    count = (t + 1) if found.schedule.scaling == "variance_preserving" else 0
    allowed: NDArray[np.float64] = 2.0**-24 * (5 * (x + b * eps) / a + 6 * x0 + 0.75 * count * (x0 + a / b * eps))
    return allowed


def compare(program: Program, rounds: int) -> tuple[str, bool, float, str, float]:
    """Return name, whether nothing changed, the largest error of x̂_0, that as a share of rounding, ratio of times."""
    ratios = []
    seeded(program.sample)
    for _ in range(rounds):
        bare, state, seconds = seeded(program.sample)

        def recorded() -> Tensor:
            with Recorder(program.denoiser, program.schedule, **program.options) as program.recorder:  # type: ignore[attr-defined]
                images = program.sample()
                program.recorder.finish(images)  # type: ignore[attr-defined]
            return images

        images, state_after, with_recorder = seeded(recorded)
        ratios.append(with_recorder / seconds)
    found = program.recorder.trajectory()  # type: ignore[attr-defined]
    own = torch.stack([one.detach() for one in program.own_x0()], dim=1).numpy()
    errors = np.abs(found.x0_pred - own.reshape(found.x0_pred.shape))
    error = float(errors.max())
    is_eps = program.options.get("prediction_type") == "epsilon"
    share = f"{float((errors / rounding_of_x0(found)).max()):.2f}" if is_eps else ""
    inner = 0 if found.inner_steps is None else len(found.inner_steps)
    same = torch.equal(bare, images) and torch.equal(state, state_after) and inner == program.inner
    return program.name, same, error / max(1.0, float(np.abs(own).max())), share, statistics.median(ratios)


def main() -> None:
    """Print a row for each program."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    print("| program | images and generator bit-identical | error of x̂_0 | of what rounding allows | recorded / bare |")
    print("|---|---|---|---|---|")
    for programs in PROGRAMS:
        try:
            for program in programs():
                name, same, error, share, ratio = compare(program, options.rounds)
                print(f"| {name} | {'yes' if same else 'NO'} | {error:.1e} | {share} | {ratio:.2f} |", flush=True)
        except ImportError as missing:
            print(f"| {programs.__name__} | not installed: {missing.name} | | | |")


if __name__ == "__main__":
    main()
