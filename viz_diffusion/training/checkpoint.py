"""Checkpoints: everything that decides how training goes on, in a folder that is whole or not there.

Bit-exact on one machine, build, device and number of threads (two numbers of threads add up in two orders, and
differ). There is no random state to keep: every step's draws follow from the seed and the step. No pickle.
Knows nothing about runs.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError
from viz_diffusion.files import (
    atomic_dir,
    read_checked,
    read_json,
    remove_dir,
    sweep,
    to_json,
    write_bytes,
    write_manifest,
)
from viz_diffusion.training.config import TrainConfig
from viz_diffusion.training.loop import TrainState

Found = TypeVar("Found")


@dataclass(frozen=True)
class Series:
    """Folders ``step-00001000``, each whole or without a manifest."""

    folder: Path
    """Where they lie."""

    def at(self, step: int) -> Path:
        """Return where the checkpoint of a step belongs."""
        return self.folder / f"step-{step:08d}"

    def whole(self) -> list[Path]:
        """Return the folders of all whole checkpoints, oldest first."""
        found = (path.parent for path in self.folder.glob("step-*/manifest.json"))
        return sorted((folder for folder in found if folder.name[5:].isdigit()), key=step_of)

    def read_newest(self, read: Callable[[Path], Found]) -> tuple[Found, list[str]]:
        """Return what ``read`` gives of the newest that it can read, and a line for each that was passed over.

        Raises
        ------
        VizdiffInputError or VizdiffIOError
            What it raised of the newest, where it can read none.
        """
        broken: list[VizdiffInputError | VizdiffIOError] = []
        for folder in reversed(self.whole()):
            try:
                return read(folder), [f"{error}; using {folder.name} instead" for error in broken]
            except (VizdiffInputError, VizdiffIOError) as error:
                broken.append(error)
        raise broken[0]

    def keep(self, *steps: int) -> None:
        """Remove all whole checkpoints but those of these steps."""
        for folder in self.whole():
            if step_of(folder) not in steps:
                remove_dir(folder)

    def sweep(self) -> None:
        """Remove what killed writers left: temporary folders, and checkpoints without a manifest."""
        sweep(self.folder)
        for folder in self.folder.glob("step-*"):
            if not (folder / "manifest.json").is_file():
                remove_dir(folder)


def step_of(folder: Path) -> int:
    """Return the step that a checkpoint's folder is named after."""
    return int(folder.name.removeprefix("step-"))


LATER = ("processor", "gpu", "training_digits", "heldout_digits")
"""What checkpoints from before these were written do not tell: there it passes for the same."""


def environment(device: torch.device) -> dict[str, str | int]:
    """Return what, besides config and state, decides the bits of the next step."""
    found: dict[str, str | int] = {
        "torch": torch.__version__,
        "device": device.type,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "processor": processor(),
    }
    return found | ({"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {})


@lru_cache(maxsize=1)
def processor() -> str:
    """Return the processor's name, as far as the system tells it."""
    try:
        told = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        told = ""
    named = re.search(r"^model name\s*:\s*(.+)$", told, re.MULTILINE)
    return named[1].strip() if named else platform.processor()


def save_checkpoint(folder: Path, state: TrainState, metrics_bytes: int, recipe: Mapping[str, Any]) -> None:
    """Write all that going on needs to ``folder``, whole or not at all; the manifest last.

    Parameters
    ----------
    metrics_bytes
        How much of the run's metrics belongs to it.
    recipe
        What decides the next step besides the state, as JSON values by name.

    Raises
    ------
    VizdiffIOError
        Where the system refuses; the line names the folder and how many bytes were to be written.
    """
    facts = {
        "step": state.step,
        "metrics_bytes": metrics_bytes,
        "environment": environment(state.device),
        "recipe": dict(recipe),
    }
    files = {
        "model.safetensors": to_bytes(state.model.state_dict()),
        "ema.safetensors": to_bytes(state.ema.state_dict()),
        "optimizer.safetensors": to_bytes(_optimizer_tensors(state.optimizer)),
        "state.json": (to_json(facts, indent=2) + "\n").encode(),
    }
    try:
        with atomic_dir(folder) as temporary:
            for name, data in files.items():
                write_bytes(temporary / name, data)
            write_manifest(temporary, list(files))
    except VizdiffIOError as error:
        reason = error.__cause__.strerror if isinstance(error.__cause__, OSError) else error
        needed = sum(map(len, files.values()))
        raise VizdiffIOError(f"cannot write {folder}: {reason}; it needs {needed:,} bytes") from error


def load_checkpoint(
    folder: Path, training: TrainConfig, model: ModelConfig, device: torch.device, recipe: Mapping[str, Any]
) -> tuple[TrainState, int, list[str]]:
    """Read a checkpoint.

    Returns
    -------
    The state; how many bytes of metrics belong to it; and in what environment and recipe differ from those it was
    written in, one text each, such as ``threads 2 then, 1 now``.

    Raises
    ------
    VizdiffInputError
        Where a file or an entry is missing, damaged, or of another shape than the configs say.
    """
    read_checked(folder, "state.json")
    facts = read_json(folder / "state.json")
    names = ("model.safetensors", "ema.safetensors", "optimizer.safetensors")
    weights, averages, moments = (read_tensors(folder, name)[0] for name in names)
    for key, kind in (("step", int), ("metrics_bytes", int), ("environment", dict), ("recipe", dict)):
        if type(facts.get(key)) is not kind:
            raise VizdiffInputError(f"{folder / 'state.json'} holds no {key}; choose another `resume`")
    state = TrainState.create(training, model, device)
    load_weights(state.model, weights, folder / names[0])
    load_weights(state.ema, averages, folder / names[1])
    _load_optimizer(state.optimizer, moments, folder / names[2])
    state.step = facts["step"]
    then, here = facts["environment"] | facts["recipe"], environment(device) | dict(recipe)
    changed = [
        f"{name} {_short(then.get(name))} then, {_short(now)} now"
        for name, now in here.items()
        if then.get(name) != now and (name in then or name not in LATER)
    ]
    return state, facts["metrics_bytes"], changed


def _short(value: object) -> object:
    return f"{value[:12]}…" if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as the bytes of a safetensors file."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def read_tensors(folder: Path, name: str) -> tuple[dict[str, Tensor], str]:
    """Read a safetensors file that its folder's manifest vouches for; return its SHA-256 too."""
    data, digest = read_checked(folder, name)
    return parse_tensors(folder / name, data), digest


def parse_tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    """Return the tensors in a file's bytes; ``path`` is only named where they are none."""
    try:
        return load(data)
    except (SafetensorError, ValueError) as error:
        raise VizdiffInputError(f"{path} is not a safetensors file: {error}") from error


def load_weights(module: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Copy weights into a network of exactly that shape."""
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != found:
        odd = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        name = odd[0]
        raise VizdiffInputError(
            f"{path} does not fit the config: {name} should have shape {expected.get(name)}, "
            f"found {found.get(name)} ({len(odd)} such)"
        )
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise VizdiffInputError(f"{path} holds numbers that are not finite; train again")
    module.load_state_dict({name: tensor.float() for name, tensor in weights.items()})


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    states = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, entry in states.items() for key, value in entry.items()}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], path: Path) -> None:
    """Give each weight its moments back, in the weight's own memory layout.

    The layout matters: a fused optimizer walks weight and moments side by side in memory.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    shapes = {"step": torch.Size(()), "exp_avg": None, "exp_avg_sq": None}  # None: the weight's own
    expected = {f"{i}.{key}": shape for i in range(len(weights)) for key, shape in shapes.items()}
    if odd := sorted(expected.keys() ^ tensors.keys()):
        known = "is missing" if odd[0] in expected else "is unknown"
        raise VizdiffInputError(f"{path} does not fit the config: {odd[0]} {known} ({len(odd)} such)")
    states: dict[int, dict[str, Tensor]] = {}
    for name, shape in expected.items():
        index, key = name.split(".")
        like, tensor = weights[int(index)], tensors[name]
        if tensor.shape != (like.shape if shape is None else shape):
            raise VizdiffInputError(f"{path} does not fit the config: {name} has the shape {tuple(tensor.shape)}")
        if shape is None:
            tensor = torch.empty_like(like, dtype=tensor.dtype).copy_(tensor)
        states.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
