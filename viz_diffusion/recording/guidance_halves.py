"""The two halves of guidance, the conditional and the unconditional prediction, recognised among forward passes.

They are evaluated at the same states, in one batch that holds every image twice or in two passes. The null label, a
mask that drops the condition, or the order that is told says which is which. Knows nothing about steps or samplings.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.forward_pass import ForwardPass
from viz_diffusion.recording.trajectory import Float32

GUIDANCE_ORDERS = ("conditional_first", "unconditional_first")
"""Which half of a doubled batch, or which of two passes, comes first."""
_NULL_LABEL = "say which label stands for none: Recorder(…, null_label=…)"
_ORDER = f"say which half comes first: Recorder(…, guidance_order=…), {' or '.join(GUIDANCE_ORDERS)}"


@dataclass(frozen=True, eq=False)
class Halves:
    """One evaluation: a prediction, or under guidance both of them."""

    cond: ForwardPass
    """The conditional prediction; the only one without guidance."""
    uncond: ForwardPass | None
    """The unconditional one, of the same states."""


@dataclass(frozen=True)
class GuidanceHalves:
    """Splits the passes at one timestep into evaluations, and each under guidance into its halves."""

    null_label: int | None = None
    """The label of the unconditional prediction; None where the denoiser has none."""
    guidance_scale: float | None = None
    """s of ε_∅ + s (ε_y - ε_∅), where it is known; with one other than 1, a doubled batch is guidance."""
    order: str | None = None
    """One of :data:`GUIDANCE_ORDERS`; None where labels or masks tell the halves apart."""

    def __post_init__(self) -> None:
        if self.order is not None and self.order not in GUIDANCE_ORDERS:
            raise VizdiffUsageError(f"`guidance_order` must be {' or '.join(GUIDANCE_ORDERS)}, found {self.order!r}")

    @property
    def mend(self) -> str:
        """What to do about guidance that was not recognised."""
        return _NULL_LABEL

    def units(self, passes: Sequence[ForwardPass]) -> list[Halves]:
        """Return the evaluations among the passes at one timestep, in their order.

        Raises
        ------
        VizdiffUsageError
            Where two passes, or two halves of one, are the halves of guidance and nothing tells which is which.
        """
        found: list[Halves] = []
        rest = list(passes)
        while rest:
            one = rest.pop(0)
            if rest and self._are_pair(one, rest[0]):
                found.append(self._pair(one, rest.pop(0)))
            else:
                found.append(self._split(one) or Halves(one, None))
        return found

    def _split(self, one: ForwardPass) -> Halves | None:
        """Return the halves of a pass that holds every image twice; None where it does not."""
        count, null = len(one.x), self._null_rows(one)
        if count % 2:
            return None
        if null.sum() * 2 == count and np.array_equal(one.x[~null], one.x[null]):
            return Halves(rows(one, ~null), rows(one, null))
        first = np.arange(count) < count // 2
        if not np.array_equal(one.x[first], one.x[~first]) or not (null.all() or not null.any()):
            return None
        halves = (rows(one, first), rows(one, ~first))
        same_labels = np.array_equal(halves[0].labels, halves[1].labels)
        unknown_null = self.null_label is None and self.guidance_scale not in (None, 1.0)
        if self.order is not None:
            guided = conditions_differ(*halves) or not answers_agree(*halves)
        else:
            guided = conditions_differ(*halves) if same_labels else unknown_null
        return self._ordered(*halves) if guided else None

    def _are_pair(self, one: ForwardPass, other: ForwardPass) -> bool:
        """Return whether two passes are the halves of guidance: of the same states, under different conditions."""
        if one.x.shape != other.x.shape or not np.array_equal(one.x, other.x):
            return False
        labels_differ = not np.array_equal(one.labels, other.labels)
        if labels_differ or self._kind(one) != self._kind(other) or conditions_differ(one, other):
            return True
        if not answers_agree(one, other):  # a condition that is no argument
            return True
        return self.order is not None and self._split(one) is None  # however little it changes the answer

    def _pair(self, one: ForwardPass, other: ForwardPass) -> Halves:
        kinds = (self._kind(one), self._kind(other))
        if kinds == ("conditional", "unconditional"):
            return Halves(one, other)
        if kinds == ("unconditional", "conditional"):
            return Halves(other, one)
        return self._ordered(one, other)

    def _ordered(self, first: ForwardPass, second: ForwardPass) -> Halves:
        """Return the halves of guidance in the order that was told."""
        if self.order is not None:
            return Halves(first, second) if self.order == GUIDANCE_ORDERS[0] else Halves(second, first)
        labels = [", ".join(map(str, np.unique(one.labels))) for one in (first, second)]
        if labels[0] != labels[1]:
            raise VizdiffUsageError(
                f"t = {first.t:g} was evaluated for the same images under labels {labels[0]} and {labels[1]}; "
                f"under guidance, {_NULL_LABEL}"
            )
        names = ", ".join(name for name in first.conditions if _differ(first, second, name))
        why = f"with different {names}" if names else "with the same arguments and different answers"
        raise VizdiffUsageError(
            f"t = {first.t:g} was evaluated twice for the same images, {why}; under guidance, {_ORDER}"
        )

    def _kind(self, one: ForwardPass) -> str:
        null = self._null_rows(one)
        return "unconditional" if null.all() else "conditional" if not null.any() else "mixed"

    def _null_rows(self, one: ForwardPass) -> NDArray[np.bool_]:
        """Return where a pass has no condition, (n,) bool."""
        null = one.labels == -1 if one.dropped is None else one.dropped  # called without labels
        return null if self.null_label is None else null | (one.labels == self.null_label)


def answers_agree(one: ForwardPass, other: ForwardPass) -> bool:
    """Return whether two passes predicted the same, up to rounding in the precision that their numbers have."""
    scale = float(np.abs(one.prediction).max(initial=0))
    rounding = max(_rounding(one.prediction), _rounding(other.prediction))
    return bool(np.allclose(one.prediction, other.prediction, rtol=0, atol=rounding * scale, equal_nan=True))


def _rounding(values: Float32) -> float:
    """Return by how much of their largest two evaluations may differ: by more where a network answers in 16 bits."""
    bits = values.view(np.uint32)
    if not (bits & 0xFFFF).any():
        return 1e-2  # bfloat16
    return 1e-4 if (bits & 0x1FFF).any() else 2e-3  # float32, float16


def conditions_differ(one: ForwardPass, other: ForwardPass) -> bool:
    """Return whether two passes were given different values of an argument that is neither x, t, labels nor mask."""
    return any(_differ(one, other, name) for name in one.conditions)


def _differ(one: ForwardPass, other: ForwardPass, name: str) -> bool:
    return name in other.conditions and bool((one.conditions[name] != other.conditions[name]).any())


def rows(one: ForwardPass, chosen: NDArray[np.bool_]) -> ForwardPass:
    """Return a pass with some of its images only."""
    return ForwardPass(
        one.t,
        one.x[chosen],
        one.prediction[chosen],
        one.labels[chosen],
        {name: values[chosen] for name, values in one.activations.items()},
        one.alphas_cumprod,
        None if one.dropped is None else one.dropped[chosen],
        {name: values[chosen] for name, values in one.conditions.items()},
    )


def join(passes: Sequence[ForwardPass]) -> ForwardPass:
    """Return several passes at one timestep as one with the images of all."""
    first = passes[0]
    return ForwardPass(
        first.t,
        np.concatenate([one.x for one in passes]),
        np.concatenate([one.prediction for one in passes]),
        np.concatenate([one.labels for one in passes]),
        {name: np.concatenate([one.activations[name] for one in passes]) for name in first.activations},
        first.alphas_cumprod,
        _joined([one.dropped for one in passes]),
        {
            name: np.concatenate([one.conditions[name] for one in passes])
            for name in first.conditions
            if all(name in one.conditions for one in passes)
        },
    )


def _joined(masks: Sequence[NDArray[np.bool_] | None]) -> NDArray[np.bool_] | None:
    """Return the masks of several passes as one; None where a pass has none."""
    known = [mask for mask in masks if mask is not None]
    return np.concatenate(known) if len(known) == len(masks) else None
