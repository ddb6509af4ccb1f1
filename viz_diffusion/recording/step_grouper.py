"""Forward passes of a denoiser, grouped into denoising steps and samplings.

It knows nothing about hooks, files or samplers.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from viz_diffusion.diffusion.scaling import SCALINGS
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.forward_pass import FinishedImages, ForwardPass
from viz_diffusion.recording.guidance_halves import GuidanceHalves, Halves, answers_agree, conditions_differ, join
from viz_diffusion.recording.state_checks import ChainCheck, check_next_state, check_one_by_one


@dataclass(frozen=True, eq=False)
class RecordedStep:
    """The evaluation of one denoising step, split into the conditional and the unconditional prediction."""

    sampling: int
    """Number of the sampling within the Recorder's block, from 0."""
    cond: ForwardPass
    """The pass with the labels; the only one where the step has no guidance."""
    uncond: ForwardPass | None
    """The pass with the null label, where the step has both."""


@dataclass(frozen=True, eq=False)
class InnerEvaluation:
    """A further evaluation within a step, as samplers of order 2 make it: its state is none of the trajectory's."""

    sampling: int
    """Number of the sampling within the Recorder's block, from 0."""
    step: int
    """Number of the step within its sampling, from 0."""
    cond: ForwardPass
    """The pass with the labels; the only one without guidance."""
    uncond: ForwardPass | None
    """The pass with the null label, under guidance."""


NOTHING_RECORDED = (
    "nothing was recorded: the sampling loop has to call the denoiser itself, inside the block, "
    "and not a copy of it or a compiled one"
)
"""The error message for a Recorder's block without a forward pass."""
_OF_MORE_THAN_TWO = (
    "a recording holds a conditional and an unconditional prediction: of more than two, record an nn.Module whose "
    "forward mixes them"
)


@dataclass
class _Sampling:
    """What is known of the current sampling."""

    number: int = 0
    steps: int = 0
    units: int = 1  # evaluations that make one batch: 1, or as many as there are images in an image-by-image loop
    shape: tuple[int, ...] = ()
    last: ForwardPass | None = None
    finished: bool = False
    evaluations: int = 0
    chains: ChainCheck = field(default_factory=ChainCheck)
    rose: list[int] = field(default_factory=list)  # numbers of steps of the samplings that ended because t rose


class StepGrouper:
    """Groups forward passes into steps, one pass after another.

    Consecutive passes at one timestep belong together: the two halves of guidance where x is the same; where x
    differs, the images of a loop that takes them one by one, or the inner evaluation of Heun's method before the step's
    own. A new sampling begins where t rises, or repeats after a sampling of one step.

    Parameters
    ----------
    halves
        Recognises the two halves of guidance.
    evaluations_per_step
        How often the sampler evaluates the denoiser in a step, of which the first is the step's own; None where the
        passes show it.
    scaling
        How the forward process scales its noise, one of ``SCALINGS``.
    """

    def __init__(
        self, halves: GuidanceHalves, evaluations_per_step: int | None = None, scaling: str = SCALINGS[0]
    ) -> None:
        self._halves = halves
        self._scaling = scaling
        self._per_step = evaluations_per_step
        self._passes: list[ForwardPass] = []  # at the current timestep
        self._now = _Sampling()

    def group(
        self, events: Iterable[ForwardPass | FinishedImages]
    ) -> Iterator[RecordedStep | InnerEvaluation | FinishedImages]:
        """Yield each step once the next event shows that it is complete, and finished images in their place.

        Raises
        ------
        VizdiffUsageError
            Where the passes do not form steps: the batch changes within a sampling, t rises at each step, or the
            finished images differ in number from the step's.
        """
        for event in events:
            if isinstance(event, FinishedImages):
                yield from self._end_timestep(None)
                self._check_count(len(event.x0))
                self._now.finished = True
                yield event
                continue
            if self._passes and event.t != self._passes[0].t:
                yield from self._end_timestep(event.t)
            self._passes.append(event)
        yield from self._end_timestep(None)

    def _end_timestep(self, next_t: float | None) -> Iterator[RecordedStep | InnerEvaluation]:
        """Yield what the passes at one timestep are; ``next_t`` is the timestep that follows, None at the end."""
        if not self._passes:
            return
        units = self._halves.units(self._passes)
        self._passes = []
        t, now = units[0].cond.t, self._now
        if self._per_step is not None:
            for unit in units:
                yield self._counted(unit)
            return
        begins = now.last is None or t >= now.last.t
        if begins and len(units) > 1 and (next_t is None or next_t > t):  # samplings of one step each
            for unit in units:
                self._begin_sampling(unit)
                yield self._step(unit)
            return
        repeated, units = _repeated(units)
        if begins:
            check_one_by_one(units, self._scaling)
            self._begin_sampling(units[0])
            self._now.units = len(units)
        elif len(units) > 1 and self._now.units == 1:  # Heun: evaluated at the next state first guessed, then at it
            for unit in units[:-1]:
                yield InnerEvaluation(now.number, now.steps - 1, unit.cond, unit.uncond)
            units = units[-1:]
        if len(units) != self._now.units:
            raise VizdiffUsageError(
                f"t = {t:g} was evaluated {len(units)} times, and the timesteps before it {self._now.units} times; use "
                "one Recorder for each sampling"
            )
        self._now.chains.add(units)
        for unit in repeated:
            yield InnerEvaluation(self._now.number, self._now.steps, unit.cond, unit.uncond)
        yield self._step(units[0] if len(units) == 1 else _stacked(units))

    def _counted(self, unit: Halves) -> RecordedStep | InnerEvaluation:
        """Return an evaluation where it is known how many a step has."""
        now, per_step, t = self._now, self._per_step or 1, unit.cond.t
        ended = now.finished or now.evaluations % per_step == 0
        if now.last is None or t > now.last.t or (ended and t == now.last.t):  # the last step of dpm_2 may be shorter
            self._begin_sampling(unit)
        own = self._now.evaluations % per_step == 0
        self._now.evaluations += 1
        if own:
            return self._step(unit)
        return InnerEvaluation(self._now.number, self._now.steps - 1, unit.cond, unit.uncond)

    def _begin_sampling(self, first: Halves) -> None:
        now = self._now
        if now.last is None:
            return
        rose = [] if now.finished or first.cond.t == now.last.t else [*now.rose, now.steps]
        if len(rose) > 2 and set(rose[1:]) == {1}:
            raise VizdiffUsageError(
                f"t rises at every step ({now.last.t:g}, then {first.cond.t:g}): this loop adds noise (an inversion), "
                "and a recording holds a sampling, whose t falls; if its timesteps are counted otherwise, say how: "
                "Recorder(…, timesteps=…)"
            )
        self._now = _Sampling(now.number + 1, rose=rose)

    def _step(self, unit: Halves) -> RecordedStep:
        """Return an evaluation as the next step of the current sampling."""
        now = self._now
        if now.steps and unit.cond.x.shape != now.shape:
            raise VizdiffUsageError("the batch changed during sampling; use one Recorder for each sampling")
        if now.steps == 1 and now.last is not None:
            check_next_state(now.last, unit.cond)
        now.shape, now.last, now.finished = unit.cond.x.shape, unit.cond, False
        now.steps += 1
        return RecordedStep(now.number, unit.cond, unit.uncond)

    def _check_count(self, finished: int) -> None:
        """Refuse a number of finished images that differs from the last step's number of images."""
        rows = finished if self._now.last is None else len(self._now.last.x)
        if finished != rows:
            doubled = f"; if a pass holds both halves of guidance, {self._halves.mend}" if rows == 2 * finished else ""
            raise VizdiffUsageError(f"{finished} images were finished, and a forward pass had {rows}{doubled}")


def _repeated(units: Sequence[Halves]) -> tuple[list[Halves], list[Halves]]:
    """Split evaluations into those that a later one repeats, at the same states and labels, and the others.

    Raises
    ------
    VizdiffUsageError
        Where the states and labels are the same and conditions or answers are not: more than two conditions.
    """
    last = units[-1].cond
    same = [
        np.array_equal(unit.cond.x, last.x) and np.array_equal(unit.cond.labels, last.labels) for unit in units[:-1]
    ]
    if not all(same):
        return [], list(units)
    if not all(_are_the_same(unit, units[-1]) for unit in units[:-1]):
        raise VizdiffUsageError(
            f"t = {last.t:g} was evaluated more than twice for the same images, in different ways; {_OF_MORE_THAN_TWO}"
        )
    return list(units[:-1]), [units[-1]]


def _are_the_same(one: Halves, other: Halves) -> bool:
    """Return whether one evaluation of the same states repeats another: the same conditions, the same answers."""
    if (one.uncond is None) != (other.uncond is None):
        return False
    pairs = [(one.cond, other.cond)]
    if one.uncond is not None and other.uncond is not None:
        pairs.append((one.uncond, other.uncond))
    return all(answers_agree(*pair) and not conditions_differ(*pair) for pair in pairs)


def _stacked(units: Sequence[Halves]) -> Halves:
    """Return the evaluations of single images at one timestep as one of a batch."""
    unconds = [unit.uncond for unit in units if unit.uncond is not None]
    if unconds and len(unconds) != len(units):
        raise VizdiffUsageError(
            f"t = {units[0].cond.t:g} was evaluated {len(units)} times, with guidance and without; {_OF_MORE_THAN_TWO}"
        )
    return Halves(join([unit.cond for unit in units]), join(unconds) if unconds else None)
