"""A run: a folder of configuration, weights, checkpoints and metrics, either finished or visibly unfinished.

Layout (the Hugging Face one, plus what resuming needs)::

    config.json                    network, training, noise schedule, data set
    metrics.jsonl                  one JSON object per line
    samples.safetensors            thumbnails from one fixed noise, at several training steps
    training/step-00001000/        a checkpoint: model, ema, optimizer, state.json, manifest.json
    autoencoder.safetensors        of latents; and text_encoder.safetensors of prompts: trained before the network
    model.safetensors              the averaged weights, written at the end of training
    manifest.json                  SHA-256 of each file; written last, so it exists only in a finished run

No pickle. Knows nothing about figures or the command line.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.torch_defaults import own_defaults
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import (
    atomic_write,
    io_errors,
    lock,
    make_dir,
    read_checked,
    read_json,
    sha256_bytes,
    sha256_file,
    sweep,
    sync_dir,
    sync_file,
    to_json,
    write_bytes,
    write_json,
    write_manifest,
)
from viz_diffusion.files.output_places import require_own_folder
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS, CONTROLS_DIR, bundled_name
from viz_diffusion.training.checkpoint import load_weights, read_tensors, require_fit, to_bytes
from viz_diffusion.training.checkpoint_series import LOCK, CheckpointSeries, Resumed, step_of
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.latent_run import AUTOENCODER, load_latent_space
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.metrics_log import METRICS
from viz_diffusion.training.processes import Processes
from viz_diffusion.training.run_html import run_html
from viz_diffusion.training.text_run import TEXT_ENCODER, load_text_encoder, set_prompts
from viz_diffusion.training.thumbnails import SAMPLES, load_samples

RUNS_DIR = Path("runs")
WEIGHTS, MANIFEST = "model.safetensors", "manifest.json"


@dataclass(frozen=True)
class Run:
    """One run folder."""

    path: Path
    """The folder."""
    config: RunConfig
    """The content of ``config.json``."""

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> Run:
        """Begin a run in a folder that does not hold one yet.

        Raises
        ------
        VizdiffInputError
            If the folder already holds a run, holds anything else, or lies inside a run, a recording or the like.
        VizdiffLockedError
            If another process is writing to the folder.
        """
        run = cls(path, config)
        run._require_no_config()
        require_own_folder(path, lambda name: name == LOCK)
        make_dir(path)
        with run.lock():
            run._require_no_config()  # another process may have begun one before the lock was taken
            write_json(path / "config.json", config.to_dict())
        return run

    def _require_no_config(self) -> None:
        path = self.path
        if (path / "config.json").exists():
            raise VizdiffInputError(f"{path} already holds a run; go on with `resume` {path}, or choose another `out`")

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a run folder, finished or not."""
        path = Path(path)
        if not path.is_dir():
            raise VizdiffInputError(f"there is no run at {path}; train one with: vizdiff train")
        if not (path / "config.json").is_file():
            raise VizdiffInputError(f"{path} holds no config.json, so it is no run; train one with: vizdiff train")
        run = cls(path, RunConfig.read(path / "config.json"))
        if run.is_finished:
            read_checked(path, "config.json")
        return run

    @classmethod
    def bundled(cls) -> Run:
        """Open the run that comes with the package."""
        return cls.open(BUNDLED_RUNS["bundled"])

    @classmethod
    def control(cls, name: str) -> Run:
        """Open a control run that comes with the package: a name in ``CONTROLS_DIR``."""
        return cls.open(CONTROLS_DIR / name)

    @classmethod
    def choose(cls, choice: str | None = None) -> Run:
        """Open a path or a bundled run; by default see :func:`~viz_diffusion.training.run_choice.choose_run`."""
        from viz_diffusion.training.run_choice import choose_run  # it opens runs

        return choose_run(choice).run

    @property
    def is_bundled(self) -> bool:
        """Whether this is the run that is used where none is named."""
        return bundled_name(self.path) == "bundled"

    @property
    def name_or_path(self) -> str:
        """The name of a bundled run, or the folder: what ``vizdiff --run`` takes."""
        return bundled_name(self.path) or str(self.path)

    @property
    def is_finished(self) -> bool:
        """Whether training reached its last step and every file was written."""
        return (self.path / MANIFEST).is_file()

    @property
    def name(self) -> str:
        """The name of the run in captions: that of a bundled run, or the name of its folder without the path."""
        return bundled_name(self.path) or self.path.name

    @property
    def trained_steps(self) -> int:
        """Training steps behind the weights: all of them, or those of the newest checkpoint of an unfinished run."""
        checkpoints = self.checkpoints()
        return self.config.training.steps if self.is_finished or not checkpoints else step_of(checkpoints[-1])

    def _repr_html_(self) -> str:
        """Return the summary that a notebook shows."""
        return run_html(self)

    def load_samples(self) -> tuple[Tensor, Tensor] | None:
        """Return the thumbnails: M int64 training steps, (M, K, H, W[, 3]) uint8 images; None without any."""
        return load_samples(self.path, check=self.is_finished)

    @own_defaults()
    def load_model(
        self, device: torch.device | str = "cpu", warn: Callable[[str], object] = warnings.warn
    ) -> tuple[SimpleUNet, str]:
        """Return the network with the averaged weights, ready to sample, and the SHA-256 of its weights file.

        Whatever the run's objective, the network predicts ε̂ on the run's noise schedule (:meth:`RunConfig.denoiser`).
        For an unfinished run the weights are those of its newest readable checkpoint; ``warn`` receives one message
        for each newer one that cannot be read.

        Raises
        ------
        VizdiffInputError
            If weights are missing, damaged, or of another shape than the config requires.
        VizdiffIOError
            If the system refuses to read them.
        """

        def load(folder: Path, name: str = "ema.safetensors") -> tuple[SimpleUNet, str]:
            weights, digest = read_tensors(folder, name)
            require_fit(self.config.model, weights, folder / name)
            model = SimpleUNet(self.config.model)
            load_weights(model, weights, folder / name)
            return model, digest

        if self.is_finished:
            model, digest = load(self.path, WEIGHTS)
        else:
            (model, digest), remarks = self._series.read_newest(load)
            for remark in remarks:
                warn(remark)
        model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        model.latent_space = load_latent_space(self.path, self.config, self.is_finished, device)
        set_prompts(model, load_text_encoder(self.path, self.config, self.is_finished), self.config)
        return self.config.denoiser(model.eval().requires_grad_(False)), digest

    def checkpoints(self) -> list[Path]:
        """Return the folders of all complete checkpoints, oldest first."""
        return self._series.complete()

    @property
    def _series(self) -> CheckpointSeries:
        return CheckpointSeries(self.path)

    def save_checkpoint(
        self, state: TrainState, metrics_bytes: int, previous: int, data: tuple[Digits, Digits] | None = None
    ) -> None:
        """Write a checkpoint; then remove all others except one.

        Parameters
        ----------
        previous
            Step of the checkpoint that is kept: the one this training saved or resumed from before. 0: none.
        data
            The training and the held-out images; resuming compares their SHA-256.
        """
        self._series.save(state, metrics_bytes, self.config.conditions(data))
        self._series.keep_only(previous, state.step)

    def resume(
        self,
        device: torch.device | str = "cpu",
        force: bool = False,
        data: tuple[Digits, Digits] | None = None,
        processes: Processes | None = None,
    ) -> Resumed:
        """Read the newest readable checkpoint.

        Parameters
        ----------
        force
            Accept a changed environment or config, with which the result is not bit-exact.
        data
            The training and the held-out images, to be compared with those of the checkpoint; None: not compared.
        processes
            The processes that train on; by default this one alone. It may be another number than before.

        Raises
        ------
        VizdiffInputError or VizdiffIOError
            If no checkpoint is readable; the first also if environment or config have changed without ``force``.
        """
        return self._series.resume(self.config, torch.device(device), force, data, processes or Processes())

    def lock(self) -> AbstractContextManager[None]:
        """Keep other writers out of the folder.

        Raises
        ------
        VizdiffLockedError
            On entering, if another process is writing to the run.
        """
        return lock(self.path / LOCK)

    def sweep(self) -> None:
        """Remove what killed processes left: temporary files, incomplete checkpoints. The run must be locked."""
        sweep(self.path)
        self._series.sweep()

    def update_config(self, config: RunConfig) -> Run:
        """Write a changed config and return the run with it; a finished run becomes unfinished.

        The manifest holds the SHA-256 of the old config. It is removed once the new config is on disk under a temporary
        name and before the file is renamed, so it never lists a file that has changed.
        """
        with atomic_write(self.path / "config.json") as handle:
            handle.write((to_json(config.to_dict(), indent=2) + "\n").encode())
            handle.flush()
            sync_file(handle.fileno())
            self.unfinish()
        return Run(self.path, config)

    def unfinish(self) -> None:
        """Remove the manifest, if there is one, before any file that it lists is changed."""
        path = self.path / MANIFEST
        if path.exists():
            with io_errors("remove", path):
                path.unlink()
                sync_dir(self.path)

    def finish(self, state: TrainState) -> str:
        """Write the averaged weights, then the manifest; return the SHA-256 of the weights.

        An older manifest is removed first unless it lists exactly these files, so it never lists other weights.
        """
        weights = to_bytes(state.ema.state_dict())
        kept = ("config.json", METRICS, SAMPLES, AUTOENCODER, TEXT_ENCODER)
        names = [name for name in kept if (self.path / name).is_file()]
        digests = {name: sha256_file(self.path / name) for name in names} | {WEIGHTS: sha256_bytes(weights)}
        try:
            unchanged = read_json(self.path / MANIFEST).get("sha256") == digests
        except VizdiffInputError:
            unchanged = False
        if not unchanged:
            self.unfinish()
        write_bytes(self.path / WEIGHTS, weights)
        return write_manifest(self.path, list(digests))[WEIGHTS]
