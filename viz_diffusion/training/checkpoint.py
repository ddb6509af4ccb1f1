"""A checkpoint: weights, moving average, optimizer state and step in one folder, complete or absent.

Resuming from it is bit-exact on the same machine, PyTorch build, device and numbers of threads, processes and parts;
another number adds in another order and rounds differently. No random state is saved: the draws of each step follow
from the seed and the step. No pickle. Knows nothing about runs.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load, save
from torch import Tensor, nn

from viz_diffusion.diffusion.environment import environment
from viz_diffusion.diffusion.torch_defaults import own_defaults
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError
from viz_diffusion.files import (
    atomic_dir,
    read_checked,
    read_json,
    to_json,
    write_bytes,
    write_manifest,
)
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.muon import MuonAdamW
from viz_diffusion.training.processes import Processes
from viz_diffusion.training.train_config import TrainConfig

ADDED_LATER = ("processor", "gpu", "training_digits", "heldout_digits")
"""Entries that older checkpoints lack. A missing one counts as unchanged."""
_UNDIVIDED = {"processes": 1, "accumulate": 1}
"""How a batch is divided; checkpoints hold an entry only where it is another number."""


def environment_of(device: torch.device, processes: Processes) -> dict[str, str | int]:
    """Return everything besides config and state that the result of the next step depends on."""
    division = {"processes": processes.count, "accumulate": processes.accumulate}
    return environment(device) | {name: number for name, number in division.items() if number != _UNDIVIDED[name]}


def save_checkpoint(folder: Path, state: TrainState, metrics_bytes: int, conditions: Mapping[str, Any]) -> None:
    """Write everything that resuming needs to ``folder``, completely or not at all; the manifest is written last.

    Parameters
    ----------
    metrics_bytes
        Length of the run's metrics log at this step.
    conditions
        Everything besides the state that the next step depends on (:meth:`RunConfig.conditions`): JSON values by name.

    Raises
    ------
    VizdiffIOError
        If the system refuses to write; the message gives the folder and the bytes needed.
    """
    entries = {
        "step": state.step,
        "metrics_bytes": metrics_bytes,
        "environment": environment_of(state.device, state.processes),
        "recipe": dict(conditions),
    }
    files = {
        "model.safetensors": to_bytes(state.model.state_dict()),
        "ema.safetensors": to_bytes(state.ema.state_dict()),
        "optimizer.safetensors": to_bytes(_optimizer_tensors(state.optimizer)),
        "state.json": (to_json(entries, indent=2) + "\n").encode(),
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


@own_defaults()
def load_checkpoint(
    folder: Path,
    training: TrainConfig,
    model: ModelConfig,
    device: torch.device,
    conditions: Mapping[str, Any],
    processes: Processes | None = None,
) -> tuple[TrainState, int, dict[str, str]]:
    """Read a checkpoint.

    Returns
    -------
    The state; the length in bytes of the metrics log at its step; and a text, by name, for each entry of the
    environment or the conditions that has changed since it was written, such as ``threads 2 then, 1 now``.

    Raises
    ------
    VizdiffInputError
        If a file or an entry is missing, damaged, or of another shape than the configs require.
    """
    read_checked(folder, "state.json")
    entries = read_json(folder / "state.json")
    names = ("model.safetensors", "ema.safetensors", "optimizer.safetensors")
    weights, averages, moments = (read_tensors(folder, name)[0] for name in names)
    for key, kind in (("step", int), ("metrics_bytes", int), ("environment", dict), ("recipe", dict)):
        if type(entries.get(key)) is not kind:
            raise VizdiffInputError(f"{folder / 'state.json'} holds no {key}; choose another `resume`")
    require_fit(model, weights, folder / names[0])
    state = TrainState.create(training, model, device)
    state.processes = processes or Processes()
    load_weights(state.model, weights, folder / names[0])
    load_weights(state.ema, averages, folder / names[1])
    _load_optimizer(state.optimizer, moments, folder / names[2])
    state.step = entries["step"]
    saved = _UNDIVIDED | entries["environment"] | entries["recipe"]
    current = _UNDIVIDED | environment_of(device, state.processes) | dict(conditions)
    changes = {
        name: f"{name} {_short(saved.get(name))} then, {_short(value)} now"
        for name, value in current.items()
        if saved.get(name) != value and (name in saved or name not in ADDED_LATER)
    }
    return state, entries["metrics_bytes"], changes


def _short(value: object) -> object:
    """Return a SHA-256 shortened to 12 digits, and any other value as it is."""
    return f"{value[:12]}…" if isinstance(value, str) and re.fullmatch("[0-9a-f]{64}", value) else value


def to_bytes(tensors: Mapping[str, Tensor]) -> bytes:
    """Return tensors as the bytes of a safetensors file."""
    return save({name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()})


def read_tensors(folder: Path, name: str) -> tuple[dict[str, Tensor], str]:
    """Read a safetensors file and check it against its folder's manifest; return its tensors and SHA-256."""
    data, digest = read_checked(folder, name)
    return parse_tensors(folder / name, data), digest


@own_defaults()
def parse_tensors(path: Path, data: bytes) -> dict[str, Tensor]:
    """Return the tensors in the bytes of a safetensors file; ``path`` is only used in the error message."""
    try:
        return load(data)
    except (SafetensorError, ValueError) as error:
        raise VizdiffInputError(f"{path} is not a safetensors file: {error}") from error


def load_weights(module: nn.Module, weights: dict[str, Tensor], path: Path) -> None:
    """Copy weights into a network; names and shapes must match exactly, and every value must be finite."""
    expected = {name: tuple(tensor.shape) for name, tensor in module.state_dict().items()}
    found = {name: tuple(tensor.shape) for name, tensor in weights.items()}
    if expected != found:
        wrong = sorted(name for name in expected.keys() | found.keys() if expected.get(name) != found.get(name))
        name = wrong[0]
        raise VizdiffInputError(
            f"{path} does not fit the config: {name} should have shape {expected.get(name)}, "
            f"found {found.get(name)} ({len(wrong)} such)"
        )
    if not all(torch.isfinite(tensor).all() for tensor in weights.values()):
        raise VizdiffInputError(f"{path} holds numbers that are not finite; train again")
    module.load_state_dict({name: tensor.float() for name, tensor in weights.items()})


def least_parameters(config: ModelConfig) -> int:
    """Return a number of parameters that a config's network surely has: those of its largest layers."""
    outer, inner = config.channels
    convolutions = (
        2 * config.kernel_size**2 * (config.num_mid_blocks * inner**2 + config.num_blocks * (outer**2 + inner**2))
    )
    times = (config.time_dim + config.embedding_dim) * config.embedding_dim if config.use_time else 0
    labels = config.num_labels + 1 if config.text is None else config.text.width
    return convolutions + times + labels * config.embedding_dim


def require_fit(config: ModelConfig, weights: Mapping[str, Tensor], path: Path) -> None:
    """Refuse weights that are too few for a config, before there is memory for its network."""
    have, least = sum(tensor.numel() for tensor in weights.values()), least_parameters(config)
    if have < least:
        raise VizdiffInputError(f"{path} does not fit the config: it has {have:,} numbers, and {least:,} are needed")


def _optimizer_tensors(optimizer: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return the optimizer's tensors, named ``<index of the weight>.<name of the tensor>``."""
    states = optimizer.state_dict()["state"]
    return {f"{index}.{key}": value for index, entry in states.items() for key, value in entry.items()}


def _load_optimizer(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor], path: Path) -> None:
    """Restore the moments of each weight in the weight's own memory layout.

    The fused optimizer reads weight and moments element by element in memory order, so the layouts must agree.
    """
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]
    adamw = {"step": torch.Size(()), "exp_avg": None, "exp_avg_sq": None}  # None: the weight's shape
    muon = {"step": torch.Size(()), "momentum": None}
    is_matrix = optimizer.is_matrix if isinstance(optimizer, MuonAdamW) else lambda _: False
    expected = {
        f"{i}.{key}": shape
        for i, weight in enumerate(weights)
        for key, shape in (muon if is_matrix(weight) else adamw).items()
    }
    if wrong := sorted(expected.keys() ^ tensors.keys()):
        reason = "is missing" if wrong[0] in expected else "is unknown"
        raise VizdiffInputError(f"{path} does not fit the config: {wrong[0]} {reason} ({len(wrong)} such)")
    states: dict[int, dict[str, Tensor]] = {}
    for name, shape in expected.items():
        index, key = name.split(".")
        weight, tensor = weights[int(index)], tensors[name]
        if tensor.shape != (weight.shape if shape is None else shape):
            raise VizdiffInputError(f"{path} does not fit the config: {name} has the shape {tuple(tensor.shape)}")
        if shape is None:
            tensor = torch.empty_like(weight, dtype=tensor.dtype).copy_(tensor)
        states.setdefault(int(index), {})[key] = tensor
    optimizer.load_state_dict({"state": states, "param_groups": optimizer.state_dict()["param_groups"]})
