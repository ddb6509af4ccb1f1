"""Roles of a denoiser's arguments: which of them is x, which t, which the labels, and what the others are.

They are found by name and by shape, or chosen by the caller; what was found is stated in the recording. Knows nothing
about hooks.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.diffusion.torch_defaults import tensor_of
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.argument_values import (
    as_tensor,
    describe,
    is_bool,
    is_number_each,
    mask_row,
    quick_value,
    timestep_row,
    timesteps,
)
from viz_diffusion.recording.conditions import condition_numbers
from viz_diffusion.recording.known_calls import KnownCalls
from viz_diffusion.recording.tensor_values import is_plain

ROLES = ("x", "t", "labels", "drop", "keep")
"""The image, the timestep, the labels; a mask that is true where the condition is dropped, or is kept."""
_X_NAMES = ("x", "x_t", "xt", "sample", "img", "image", "hidden_states", "z", "z_t", "x_noisy", "noisy_images")
_X_OR_CONDITION_NAMES = ("img", "image")
"""Those that also name a condition: an image to restore or to edit."""
_T_NAMES = (
    "t",
    "timestep",
    "timesteps",
    "time",
    "times",
    "ts",
    "sigma",
    "sigmas",
    "noise_level",
    "noise_labels",
    "log_snr",
    "s",
)
_LABEL_NAMES = ("labels", "label", "y", "class_labels", "class_label", "classes", "class_idx", "cls", "c")
_NO_LABEL_WORDS = ("mask", "batch", "edge", "length", "size", "frame", "position", "drop", "uncond", "keep")
"""An argument of whole numbers whose name has one of these words is no label."""
_DROP_WORDS = ("drop", "uncond", "null", "context_mask")


@dataclass(frozen=True, eq=False)
class Conditioning:
    """What a forward pass is given apart from x and t, which most loops leave unchanged from pass to pass."""

    labels: NDArray[np.int64]
    """(n,) int64; -1 for each image where the pass has none."""
    dropped: NDArray[np.bool_] | None
    """(n,) bool: where a mask says that the condition is dropped; None where the pass has no such mask."""
    conditions: Mapping[str, NDArray[Any]]
    """(n,) for each other argument; see :func:`condition_numbers`."""
    names: Mapping[str, str]
    """The name of the argument of each role that was found."""
    places: tuple[int, int]
    """Where x and t stand among the positional arguments and, after them, those passed by name."""
    are_quick: bool
    """Whether x is recorded without a conversion, and t is found fast; see :func:`quick_value`."""


class PassArguments(NamedTuple):
    """The arguments of one forward pass, by role."""

    x: Tensor
    """(n, ...) floating point, as it was passed."""
    t: Tensor
    """() or (m,): the timesteps as they were passed, one or n of them."""
    given: Conditioning
    """All else."""


class ArgumentReader:
    """Reads the arguments of a denoiser's forward passes.

    Parameters
    ----------
    denoiser
        The network; its ``forward`` gives the arguments' names.
    chosen
        From a role in :data:`ROLES` to the name or the position of its argument, for those that the caller chooses.

    Raises
    ------
    VizdiffUsageError
        Where a role is unknown.
    """

    def __init__(self, denoiser: nn.Module, chosen: Mapping[str, int | str] | None = None) -> None:
        self._chosen = dict(chosen or {})
        unknown = sorted(set(self._chosen) - set(ROLES))
        if unknown:
            raise VizdiffUsageError(f"`arguments` has the roles {', '.join(ROLES)}, found {unknown[0]!r}")
        self._positional = [
            name
            for name, one in inspect.signature(_named_forward(denoiser).forward).parameters.items()
            if one.kind in (one.POSITIONAL_ONLY, one.POSITIONAL_OR_KEYWORD)
        ]
        self.known: KnownCalls[Conditioning] = KnownCalls()

    def read(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> PassArguments:
        """Return the arguments of one pass by role.

        Raises
        ------
        VizdiffUsageError
            Where x or t is not found, or an argument has a role that its type or shape does not allow.
        """
        known = self.known.find(args, kwargs)
        if known is None:
            return self._read_anew(args, kwargs)
        values, (x, t) = (*args, *kwargs.values()), known.places
        return PassArguments(values[x], timestep_row(values[t]), known)

    def end_block(self) -> None:
        """Let go of the copies of arguments that later passes were compared with."""
        self.known.clear()

    def _read_anew(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> PassArguments:
        """Return the arguments of a call like which there was none before."""
        given = self._given(args, kwargs)
        names = {role: self._chosen_name(role, given) for role in self._chosen}
        if "x" not in names:
            names["x"] = _find_x(given, names)
        x = given[names["x"]]
        if not isinstance(x, Tensor) or not x.is_floating_point() or x.ndim < 2:
            raise VizdiffUsageError(
                f"the argument {names['x']} was taken for x and is {describe(x)}; say which one is x: "
                'Recorder(…, arguments={"x": …})'
            )
        if "t" not in names:
            names["t"] = _find_t(given, names, x)
        t = timesteps(given[names["t"]], names["t"], x)
        if "labels" not in names:
            found = _find_labels(given, names, x)
            if found is not None:
                names["labels"] = found
        labels = np.full(len(x), -1)
        if "labels" in names:
            labels = _label_row(given[names["labels"]], names["labels"], x)
        dropped = self._dropped(given, names, x)
        others = {name: value for name, value in given.items() if name not in names.values()}
        places = [*self._positional_names(args), *kwargs]
        read = Conditioning(
            labels,
            dropped,
            condition_numbers(others, len(x)),
            names,
            (places.index(names["x"]), places.index(names["t"])),
            is_plain(x) and quick_value((*args, *kwargs.values())[places.index(names["t"])]) is not None,
        )
        if len(set(names.values())) == len(names):  # else x or t has a further role, for which its values matter
            self.known.add(args, kwargs, read.places, read)
        return PassArguments(x, t, read)

    def _given(self, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> dict[str, Any]:
        """Return all arguments of a call by name."""
        positional = dict(zip(self._positional_names(args), args, strict=True))
        given = {**positional, **{name: value for name, value in kwargs.items() if value is not None}}
        return {name: as_tensor(value) for name, value in given.items()}

    def _positional_names(self, args: tuple[Any, ...]) -> list[str]:
        """Return the names of positional arguments; those without one are called ``args[0]``, ``args[1]`` and so on."""
        return [*self._positional[: len(args)], *(f"args[{i}]" for i in range(len(self._positional), len(args)))]

    def _chosen_name(self, role: str, given: Mapping[str, Any]) -> str:
        wanted = self._chosen[role]
        names = list(given)
        if isinstance(wanted, int) and -len(names) <= wanted < len(names):
            return names[wanted]
        if isinstance(wanted, str) and wanted in given:
            return wanted
        raise VizdiffUsageError(
            f"`arguments` says that {role} is {wanted!r}, and the denoiser was called with {', '.join(names)}"
        )

    def _dropped(self, given: Mapping[str, Any], names: dict[str, str], x: Tensor) -> NDArray[np.bool_] | None:
        """Return where a mask drops the condition, (n,) bool."""
        for role, is_dropped in (("drop", True), ("keep", False)):
            if role in names:
                mask = mask_row(given[names[role]], x)
                if mask is None:
                    raise VizdiffUsageError(
                        f"the argument {names[role]} was said to be a mask and is {describe(given[names[role]])}"
                    )
                return mask if is_dropped else ~mask
        for name, value in given.items():
            if name not in names.values() and any(word in name for word in _DROP_WORDS):
                mask = mask_row(value, x)
                if mask is not None:
                    names["drop"] = name
                    return mask
        return None


def _named_forward(denoiser: nn.Module) -> nn.Module:
    """Return the module whose ``forward`` names the arguments: behind torch.compile and parallel wrappers."""
    inner = getattr(denoiser, "_orig_mod", denoiser)
    while isinstance(inner, (nn.DataParallel, nn.parallel.DistributedDataParallel)):
        inner = inner.module
    return inner


def _find_x(given: Mapping[str, Any], names: Mapping[str, str]) -> str:
    """Return the name of the image's argument: one that is called so, else the first tensor that may be one.

    An ``image`` behind the timesteps is a condition where another tensor with as many axes stands before them.
    """
    images = [
        name
        for name, value in given.items()
        if name not in names.values() and isinstance(value, Tensor) and value.is_floating_point() and value.ndim >= 2
    ]
    if not images:
        raise VizdiffUsageError("the Recorder needs a denoiser that is called with (x, t) or (x, t, labels)")
    places, first = list(given), given[images[0]]
    times = [
        place
        for place, (name, value) in enumerate(given.items())
        if name not in images and (name in _T_NAMES or is_number_each(value, len(first)))
    ]
    if times and places.index(images[0]) < times[0]:
        own = [name for name in images if places.index(name) < times[0] or given[name].ndim != first.ndim]
        images = [name for name in images if name not in _X_OR_CONDITION_NAMES or name in own]
    named = [name for name in images if name in _X_NAMES]
    return (named or images)[0]


def _find_t(given: Mapping[str, Any], names: Mapping[str, str], x: Tensor) -> str:
    """Return the name of the timestep's argument: the first that is called so, else the first of its shape."""
    rest = {name: value for name, value in given.items() if name not in names.values()}
    named = [name for name in _T_NAMES if name in rest]
    if named:
        return named[0]
    fitting = [
        name
        for name, value in rest.items()
        if name not in _LABEL_NAMES and not is_bool(value) and is_number_each(value, len(x))
    ]
    if not fitting:
        raise VizdiffUsageError(
            f"none of the arguments {', '.join(given)} looks like timesteps; say which one is t: "
            'Recorder(…, arguments={"t": …})'
        )
    return fitting[0]


def _find_labels(given: Mapping[str, Any], names: Mapping[str, str], x: Tensor) -> str | None:
    """Return the name of the labels' argument, or None: one that is called so, else one of whole numbers."""
    rest = {name: value for name, value in given.items() if name not in names.values()}
    named = [name for name in _LABEL_NAMES if name in rest and _are_labels(rest[name], len(x), one_hot=True)]
    if named:
        return named[0]
    fitting = [
        name
        for name, value in rest.items()
        if not any(word in name for word in _NO_LABEL_WORDS) and _are_labels(value, len(x), one_hot=False)
    ]
    return fitting[0] if fitting else None


def _are_labels(value: Any, count: int, *, one_hot: bool) -> bool:
    if isinstance(value, bool) or not isinstance(value, (int, Tensor)):
        return False
    if isinstance(value, int):
        return one_hot  # a bare number is a label only where its name says so
    if value.is_floating_point():
        rows = one_hot and value.ndim == 2 and len(value) == count and value.shape[1] > 1
        return rows and bool(((value == 0) | (value == 1)).all() & (value.sum(dim=1) <= 1).all())
    if one_hot and value.shape == (count, 1):
        return not is_bool(value)
    return not is_bool(value) and value.ndim <= 1 and value.numel() in (1, count)


def _label_row(value: Any, name: str, x: Tensor) -> NDArray[np.int64]:
    """Return one label an image, (n,) int64; of one-hot rows, where the 1 is, and -1 for a row of zeros."""
    if not _are_labels(value, len(x), one_hot=True):
        raise VizdiffUsageError(f"the argument {name} was said to be the labels and is {describe(value)}")
    labels = tensor_of(value).detach().cpu()
    if labels.is_floating_point():
        row = torch.where(labels.sum(dim=1) > 0, labels.argmax(dim=1), -1)
        return np.asarray(row.numpy(), dtype=np.int64)
    return np.broadcast_to(labels.to(torch.int64).numpy().reshape(-1), len(x)).copy()
