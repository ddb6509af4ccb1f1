"""Forward passes of a denoiser, grouped into denoising steps and samplings.

It knows nothing about hooks, files or samplers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.forward_pass import FinishedImages, ForwardPass


@dataclass(frozen=True, eq=False)
class RecordedStep:
    """All forward passes of one denoising step, split into the conditional and the unconditional one."""

    sampling: int
    """Number of the sampling within the Recorder's block, from 0."""
    cond: ForwardPass
    """The pass with the labels; the only one where the step has no guidance."""
    uncond: ForwardPass | None
    """The pass with the null label, where the step has both."""


NULL_LABEL = "say which label stands for none: Recorder(…, null_label=…)"
"""What to do about guidance that cannot be recognised; the end of several error messages."""
NOTHING_RECORDED = (
    "nothing was recorded: the sampling loop has to call the denoiser itself, inside the block, "
    "and not .forward() or a compiled copy of it, which go past hooks"
)
"""The error message for a Recorder's block without a forward pass."""


class StepGrouper:
    """Groups forward passes into steps, one pass after another.

    Consecutive passes at one timestep are one step. Under guidance they are a batch that holds every image twice,
    or two calls; the rows with the null label are the unconditional half. A new sampling begins where t rises, or
    repeats after a sampling of one step.

    Parameters
    ----------
    null_label
        The label of the unconditional prediction; None where the denoiser has none.
    """

    def __init__(self, null_label: int | None) -> None:
        self._null_label = null_label
        self._passes: list[ForwardPass] = []  # of the step that is not complete yet
        self._sampling = 0
        self._last: RecordedStep | None = None
        self._num_steps = 0  # of the current sampling
        self._finished = False

    def group(self, events: Iterable[ForwardPass | FinishedImages]) -> Iterator[RecordedStep | FinishedImages]:
        """Yield each step once the next event shows that it is complete, and finished images in their place.

        Raises
        ------
        VizdiffUsageError
            Where the passes do not form steps: a timestep is visited twice, the batch changes within a sampling,
            the conditional and unconditional rows differ in number, or the finished images differ in number from
            the step's.
        """
        for event in events:
            if isinstance(event, FinishedImages):
                yield from self._end_step()
                self._check_count(len(event.x0))
                self._finished = True
                yield event
                continue
            if self._passes and (event.t != self._passes[0].t or self._starts_step(event)):
                yield from self._end_step()
            self._passes.append(event)
        yield from self._end_step()

    def _check_count(self, finished: int) -> None:
        """Refuse a number of finished images that differs from the last step's number of images."""
        rows = finished if self._last is None else len(self._last.cond.x)
        if finished != rows:
            doubled = f"; if a pass holds both halves of guidance, {NULL_LABEL}" if rows == 2 * finished else ""
            raise VizdiffUsageError(f"{finished} images were finished, and a forward pass had {rows}{doubled}")

    def _starts_step(self, event: ForwardPass) -> bool:
        """Return whether a pass at the current step's t cannot be its other half, and so begins another step."""
        kinds = [self._kind(one) for one in self._passes]
        return self._kind(event) in kinds or "both" in kinds or len(kinds) > 1

    def _kind(self, one: ForwardPass) -> str:
        null = self._null_rows(one)
        return "null" if null.all() else "both" if null.any() else "labelled"

    def _null_rows(self, one: ForwardPass) -> NDArray[np.bool_]:
        null = one.labels == -1  # called without labels
        return null if self._null_label is None else null | (one.labels == self._null_label)

    def _end_step(self) -> Iterator[RecordedStep]:
        if not self._passes:
            return
        passes, self._passes = self._passes, []
        t, last = passes[0].t, self._last
        if last is not None and t >= last.cond.t:
            if t == last.cond.t and self._num_steps > 1 and not self._finished:
                raise VizdiffUsageError(f"t = {t} was visited 2 times under {_label_difference(last.cond, passes[0])}")
            self._sampling, self._num_steps, last = self._sampling + 1, 0, None
        step = self._split(passes)
        if last is not None and step.cond.x.shape != last.cond.x.shape:
            raise VizdiffUsageError("the batch changed during sampling; use one Recorder for each sampling")
        self._last, self._finished = step, False
        self._num_steps += 1
        yield step

    def _split(self, passes: Sequence[ForwardPass]) -> RecordedStep:
        """Split the rows of one step's passes by whether they have the null label."""
        joined = passes[0] if len(passes) == 1 else _join(passes)
        null = self._null_rows(joined)
        if not null.any() or null.all():
            return RecordedStep(self._sampling, joined, None)
        if null.sum() * 2 != null.size:
            raise VizdiffUsageError(f"t = {joined.t}: labelled and unlabelled predictions are not as many")
        return RecordedStep(self._sampling, _rows(joined, ~null), _rows(joined, null))


def _label_difference(first: ForwardPass, second: ForwardPass) -> str:
    """Return the labels of two passes in words and, where they differ, what to do."""
    labels = [", ".join(map(str, np.unique(one.labels))) for one in (first, second)]
    if labels[0] == labels[1]:
        return "the same labels"
    return f"labels {labels[0]} and {labels[1]}; under guidance, {NULL_LABEL}"


def _join(passes: Sequence[ForwardPass]) -> ForwardPass:
    return ForwardPass(
        passes[0].t,
        np.concatenate([one.x for one in passes]),
        np.concatenate([one.eps for one in passes]),
        np.concatenate([one.labels for one in passes]),
        {name: np.concatenate([one.activations[name] for one in passes]) for name in passes[0].activations},
    )


def _rows(one: ForwardPass, rows: NDArray[np.bool_]) -> ForwardPass:
    return ForwardPass(
        one.t,
        one.x[rows],
        one.eps[rows],
        one.labels[rows],
        {name: values[rows] for name, values in one.activations.items()},
    )
