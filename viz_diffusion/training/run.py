"""A run: a folder of config, weights and metrics, whole or recognisably unfinished.

Layout (the Hugging Face one, plus what resuming needs)::

    config.json                    model, training, schedule, data set
    metrics.jsonl                  one JSON object a line
    samples.safetensors            thumbnails from one fixed noise, over training
    training/step-00001000/        a checkpoint: model, ema, optimizer, state.json, manifest.json
    model.safetensors              the averaged weights, written when training is done
    manifest.json                  SHA-256 of each file; written last, so its presence means "finished"

No pickle anywhere. Knows nothing about sampling, figures or the command line.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import save
from torch import Tensor

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffError, VizdiffInputError
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
    to_json,
    write_bytes,
    write_json,
    write_manifest,
)
from viz_diffusion.text.notebook_html import facts, whole
from viz_diffusion.training.checkpoint import (
    Found,
    Series,
    load_checkpoint,
    load_weights,
    parse_tensors,
    read_tensors,
    save_checkpoint,
    step_of,
    to_bytes,
)
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.metrics_log import METRICS, last_metrics, lost_metrics

BUNDLED_DIR = Path(__file__).parents[1] / "assets" / "weights"
CONTROLS_DIR = BUNDLED_DIR.parent / "controls"
"""Networks that lack something, for lessons to compare with: ``no_time`` and ``subset_100``."""
RUNS_DIR = Path("runs")
WEIGHTS = "model.safetensors"
MANIFEST = "manifest.json"


class Resumed(NamedTuple):
    """Where training goes on."""

    state: TrainState
    """What the checkpoint held."""
    metrics_bytes: int
    """How much of ``metrics.jsonl`` belongs to it."""
    remarks: list[str]
    """What the user should be told: checkpoints passed over, lines lost, and why the end will not be bit-exact."""


@dataclass(frozen=True)
class Run:
    """One run folder."""

    path: Path
    """The folder."""
    config: RunConfig
    """What decided it."""

    @classmethod
    def create(cls, path: Path, config: RunConfig) -> Run:
        """Begin a run in a folder that does not hold one yet.

        Raises
        ------
        VizdiffInputError
            Where it does.
        VizdiffLockedError
            Where another process begins or trains one there just now.
        """
        run = cls(path, config)
        run._refuse_another()
        make_dir(path)
        with run.lock():
            run._refuse_another()
            write_json(path / "config.json", config.to_dict())
        return run

    def _refuse_another(self) -> None:
        path = self.path
        if (path / "config.json").exists():
            raise VizdiffInputError(f"{path} already holds a run; go on with `resume` {path}, or choose another `out`")

    @classmethod
    def open(cls, path: Path) -> Run:
        """Open a run folder, finished or not."""
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
        """Open the weights that come with the package."""
        return cls.open(BUNDLED_DIR)

    @classmethod
    def control(cls, name: str) -> Run:
        """Open one of the control runs that come with the package: ``no_time`` or ``subset_100``."""
        return cls.open(CONTROLS_DIR / name)

    @classmethod
    def choose(cls, choice: str | None = None) -> Run:
        """Open a path, or ``bundled``, or by default the newest finished run under ``runs/``, else bundled."""
        if choice == "bundled":
            return cls.bundled()
        if choice is not None:
            return cls.open(Path(choice))
        finished = sorted(RUNS_DIR.glob("*/manifest.json"), key=lambda path: path.stat().st_mtime)
        return cls.open(finished[-1].parent) if finished else cls.bundled()

    @property
    def is_bundled(self) -> bool:
        """Whether these are the weights that come with the package."""
        return self.path == BUNDLED_DIR

    @property
    def name_or_path(self) -> str:
        """``bundled``, or the folder: what ``vizdiff --run`` takes."""
        return "bundled" if self.is_bundled else str(self.path)

    @property
    def is_finished(self) -> bool:
        """Whether training reached its last step and everything was written."""
        return (self.path / MANIFEST).is_file()

    @property
    def name(self) -> str:
        """What the run is called in captions; never a full path."""
        return "bundled" if self.is_bundled else self.path.name

    def _repr_html_(self) -> str:
        """Say in a notebook what the run is and how far it came; nothing is loaded, nothing is checked."""
        config = self.config
        trained, losses = last_metrics(self.path / METRICS)
        so_far = f"{trained:,} of {config.budget}" if config.minutes is None else f"{trained:,} steps so far"
        state = "finished" if self.is_finished else f"unfinished, {so_far}"
        folder = self.path if self.is_finished else next(reversed(self.checkpoints()), None)
        weights = "none yet"
        if folder is not None:
            name = WEIGHTS if self.is_finished else "ema.safetensors"
            try:
                weights = str(read_json(folder / "manifest.json")["sha256"][name])
            except (VizdiffError, KeyError, TypeError):
                weights = "not known"
        pairs = (
            ("data set", config.dataset),
            ("budget", f"{config.budget}, {config.training.batch_size} images a step"),
            *losses,
            ("schedule", f"{config.schedule}, T = {config.num_train_timesteps}"),
            ("weights", weights),
        )
        return whole(f"Run {self.name}", f"({config.dataset}, {config.budget}, {state})", facts("facts", pairs))

    @property
    def trained_steps(self) -> int:
        """Steps behind the weights: all of them, or while it is unfinished those of its newest checkpoint."""
        newest = next(reversed(self.checkpoints()), None)
        return self.config.training.steps if self.is_finished or newest is None else step_of(newest)

    def update_config(self, config: RunConfig) -> Run:
        """Write a changed config and return the run with it; a finished run is unfinished from then on.

        A manifest vouches for the config it was written with: it goes when the new config is on disk beside the
        old one, and only then does the new one take the old one's place.
        """
        path = self.path / "config.json"
        with atomic_write(path) as handle:
            handle.write((to_json(config.to_dict(), indent=2) + "\n").encode())
            handle.flush()
            os.fsync(handle.fileno())
            self.unfinish()
        return Run(self.path, config)

    def unfinish(self) -> None:
        """Take away the manifest, if there is one: what follows may be stopped at any moment."""
        path = self.path / MANIFEST
        if path.exists():
            with io_errors("remove", path):
                path.unlink()
                sync_dir(self.path)

    # -- what samples are drawn with -------------------------------------------------------------

    def load_model(
        self, device: torch.device | str = "cpu", narrate: Callable[[str], object] = warnings.warn
    ) -> tuple[SimpleUNet, str]:
        """Return the averaged network, ready to sample, and the SHA-256 of its weights file.

        An unfinished run gives the weights of its newest checkpoint; a broken one is passed over for the one
        before it, and ``narrate`` gets a line that names it.

        Raises
        ------
        VizdiffInputError
            Where weights are missing, damaged, or of another shape than the config says.
        VizdiffIOError
            Where the system refuses to read them.
        """
        model = SimpleUNet(self.config.model)

        def read(folder: Path, name: str = "ema.safetensors") -> str:
            weights, digest = read_tensors(folder, name)
            load_weights(model, weights, folder / name)
            return digest

        if self.is_finished:
            digest = read(self.path, WEIGHTS)
        else:
            digest, remarks = self._read_newest(read)
            for remark in remarks:
                narrate(remark)
        model = model.to(device=device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        return model.eval().requires_grad_(False), digest

    # -- training --------------------------------------------------------------------------------

    def checkpoints(self) -> list[Path]:
        """Return the folders of all whole checkpoints, oldest first."""
        return self._series.whole()

    @property
    def _series(self) -> Series:
        return Series(self.path / "training")

    def _read_newest(self, read: Callable[[Path], Found]) -> tuple[Found, list[str]]:
        if self.checkpoints():
            return self._series.read_newest(read)
        if self.is_finished:
            raise VizdiffInputError(
                f"{self.path} is finished, but its folder training/, which going on begins from, is missing; "
                "train anew with another `out`"
            )
        raise VizdiffInputError(
            f"{self.path} is half-written: it has neither finished weights nor a checkpoint; train again "
            "with another `out`"
        )

    def save_checkpoint(
        self, state: TrainState, metrics_bytes: int, before: int, data: tuple[Digits, Digits] | None = None
    ) -> None:
        """Write all that resuming needs to a new folder; then drop every other checkpoint but one.

        Parameters
        ----------
        before
            Step of the one that is kept: what this training saved before, or began from. 0 where there is none.
        data
            The digits it is trained on and held against; going on compares their SHA-256.
        """
        recipe = self.config.recipe() | _digests(data)
        save_checkpoint(self._series.at(state.step), state, metrics_bytes, recipe)
        self._series.keep(before, state.step)

    def sweep(self) -> None:
        """Remove what killed writers left behind: temporary files, and checkpoints without a manifest.

        Only while the run is locked: then no writer is alive whose work this could be.
        """
        sweep(self.path)
        self._series.sweep()

    def resume(
        self, device: torch.device | str = "cpu", force: bool = False, data: tuple[Digits, Digits] | None = None
    ) -> Resumed:
        """Read the newest whole checkpoint.

        A broken one is passed over for the one before it, and named.

        Parameters
        ----------
        force
            Go on in a changed environment too, where the result will not be bit-exact.
        data
            The digits it will be trained on and held against; where they are not given they are not compared.

        Raises
        ------
        VizdiffInputError
            Where no checkpoint is whole, or the environment is another and ``force`` is not given.
        VizdiffIOError
            Where the system refuses to read any.
        """

        def read(folder: Path) -> tuple[TrainState, int, list[str]]:
            recipe = self.config.recipe() | _digests(data)
            return load_checkpoint(folder, self.config.training, self.config.model, torch.device(device), recipe)

        (state, metrics_bytes, changed), remarks = self._read_newest(read)
        if changed and not force:
            raise VizdiffInputError(
                f"{self._series.at(state.step)} was written in another environment or recipe "
                f"({'; '.join(changed)}); `force` goes on, not bit-exact"
            )
        if changed:
            remarks.append(f"not bit-exact: {'; '.join(changed)}")
        if lost := lost_metrics(self.path / METRICS, metrics_bytes):
            remarks.append(lost)
        return Resumed(state, metrics_bytes, remarks)

    def lock(self) -> AbstractContextManager[None]:
        """Keep other writers out of the folder.

        Raises
        ------
        VizdiffLockedError
            On entering, where another process writes to the run.
        """
        return lock(self.path / ".lock")

    def finish(self, state: TrainState) -> str:
        """Write the finished weights, then the manifest; return the weights' SHA-256.

        A manifest of other files goes first: no moment shows a run as finished that is not.
        """
        weights = to_bytes(state.ema.state_dict())
        names = [name for name in ("config.json", METRICS, "samples.safetensors") if (self.path / name).is_file()]
        digests = {name: sha256_file(self.path / name) for name in names} | {WEIGHTS: sha256_bytes(weights)}
        try:
            same = read_json(self.path / MANIFEST).get("sha256") == digests
        except VizdiffInputError:
            same = False
        if not same:
            self.unfinish()
        write_bytes(self.path / WEIGHTS, weights)
        return write_manifest(self.path, list(digests))[WEIGHTS]

    # -- what was written along the way ----------------------------------------------------------

    def save_samples(self, steps: list[int], images: Tensor) -> None:
        """Write thumbnails: (M,) step numbers and (M, N, 28, 28) bytes."""
        data = save({"steps": torch.tensor(steps, dtype=torch.int64), "images": images})
        write_bytes(self.path / "samples.safetensors", data)

    def load_samples(self) -> tuple[Tensor, Tensor] | None:
        """Return what :meth:`save_samples` wrote, or None where there are none."""
        path = self.path / "samples.safetensors"
        if not path.is_file():
            return None
        data = read_checked(self.path, path.name)[0] if self.is_finished else path.read_bytes()
        tensors = parse_tensors(path, data)
        if set(tensors) != {"steps", "images"}:
            raise VizdiffInputError(
                f"{path} must hold steps and images, found {', '.join(sorted(tensors)) or 'nothing'}"
            )
        return tensors["steps"], tensors["images"]


def _digests(data: tuple[Digits, Digits] | None) -> dict[str, str]:
    return {} if data is None else {"training_digits": data[0].sha256, "heldout_digits": data[1].sha256}
