"""Timesteps as loops count them, read as places on the schedule: 0 .. T-1, 1 .. T, t/T, noise levels σ, ln SNR.

Knows nothing about networks or hooks.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf, log, log1p
from typing import NamedTuple

import numpy as np
from torch import Tensor

from viz_diffusion.diffusion.scaling import SCALINGS, alphas_cumprod_of
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.argument_values import check_format, common_value

TIMESTEP_CONVENTIONS = ("index", "count", "fraction", "sigma", "one_minus_sigma", "log_snr")
"""How a loop may count time: 0 .. T-1; 1 .. T; as a share of T; by the noise level σ; in a flow by 1-σ, which is 0 at
the noise; by ln SNR in nats."""
_WHOLE = 1e-3
"""Timesteps this near to a whole number are whole: t/T in float32 is off by about 1e-4 at T = 1000."""


class Timestep(NamedTuple):
    """A place on the schedule."""

    t: float
    """On the scale 0 .. T-1; whole where it is one of the schedule's timesteps."""
    alphas_cumprod: float
    """ᾱ there."""


@dataclass(frozen=True)
class _Convention:
    words: str
    to_index: Callable[[float], float]


class TimestepReader:
    """Reads the timesteps of a loop's forward passes, one after another.

    Parameters
    ----------
    schedule
        The forward process.
    convention
        One of :data:`TIMESTEP_CONVENTIONS`, or None: then the values decide, the first of them before all.

    Raises
    ------
    VizdiffUsageError
        Where the convention is unknown, or σ is given with a variance-preserving schedule.
    """

    def __init__(self, schedule: NoiseSchedule, convention: str | None = None) -> None:
        if convention is not None and convention not in TIMESTEP_CONVENTIONS:
            raise VizdiffUsageError(
                f"`timesteps` must be one of {', '.join(TIMESTEP_CONVENTIONS)}, found {convention!r}"
            )
        if convention == "sigma" and schedule.scaling == SCALINGS[0]:
            raise VizdiffUsageError(
                "`timesteps` sigma needs a schedule whose x_t grows with σ, such as NoiseSchedule.from_sigmas(sigmas)"
            )
        if convention == "one_minus_sigma" and schedule.scaling != "flow":
            raise VizdiffUsageError('`timesteps` one_minus_sigma needs the schedule NoiseSchedule.named("flow")')
        self._schedule = schedule
        self._convention = convention
        self._candidates: list[_Convention] = []  # from the first value on
        self._used: list[float] = []
        self._first: float | None = None  # of a flow, until the next value shows where it runs
        self._floating = False
        self._moved = False  # whether a flow's time has left 0, so that its scale is known
        self.noise_at_zero = False
        """Whether a flow's time is 0 at the noise and 1 at the data, so that its velocity is x_0 - ε."""
        self.words = ""
        """The convention in words, from the first value on."""

    def read(self, values: Tensor) -> Timestep:
        """Return the timestep that all images of a pass share.

        Parameters
        ----------
        values
            () or (m,): one timestep, or one for each image.

        Raises
        ------
        VizdiffUsageError
            Where the images have different timesteps, the number format cannot tell timesteps apart, or the value
            fits no convention.
        """
        check_format(values)
        self._floating = values.is_floating_point()
        return self.place(common_value(values))

    def place(self, value: float) -> Timestep:
        """Return the place of the timestep ``value``, as the loop counts it.

        Raises
        ------
        VizdiffUsageError
            Where it fits no convention.
        """
        if self._schedule.scaling == "flow":
            return self._flow(value)
        if self._schedule.scaling == "variance_exploding" and self._convention in (None, "sigma"):
            self.words = self.words or "noise levels σ"
            if value <= 0:
                raise VizdiffUsageError(
                    f"a forward pass was given t = {value:g}, and noise levels σ are above 0; if t is a function of σ, "
                    "record the module around this one that is called with σ itself"
                )
            return self._at_share(alphas_cumprod_of(value, self._schedule.scaling), "σ", value)
        if self._convention == "log_snr":
            self.words = "ln SNR, in nats"
            return self._at_share(1 / (1 + float(np.exp(-value))), "ln SNR", value)
        return self._counted(value)

    def _counted(self, value: float) -> Timestep:
        """Return the place of a value that counts timesteps."""
        if not self._candidates:
            self._candidates = self._fitting(value)
        last = self._schedule.num_train_timesteps - 1
        if len(self._candidates) == 1 and self.words:
            index = self._candidates[0].to_index(value)
            if -_WHOLE <= index <= last + _WHOLE:
                return self._place(index)
        self._candidates = [
            one for one in self._candidates if -_WHOLE <= one.to_index(value) <= last + _WHOLE and self._agrees(one)
        ]
        # of several that remain, one that gives whole timesteps comes first
        self._candidates.sort(key=lambda one: abs(one.to_index(value) - round(one.to_index(value))) > _WHOLE)
        if not self._candidates:
            raise VizdiffUsageError(
                f"a forward pass was given t = {value:g}, which does not lie on the schedule's 0..{last}, counted as "
                f"{self.words or 'it may be'}; say how the loop counts: Recorder(…, timesteps=…), one of "
                f"{', '.join(TIMESTEP_CONVENTIONS)}"
            )
        index = self._candidates[0].to_index(value)
        self.words = self._candidates[0].words
        self._used.append(value)
        return self._place(index)

    def _place(self, index: float) -> Timestep:
        """Return the place of an index, which may be off by rounding."""
        if abs(index - round(index)) <= _WHOLE:
            whole = min(max(round(index), 0), self._schedule.num_train_timesteps - 1)
            return Timestep(whole, float(self._schedule.alphas_cumprod[whole]))
        return Timestep(index, self._between(index))

    def _agrees(self, one: _Convention) -> bool:
        """Return whether a convention gives the earlier values the places that they were given."""
        if len(self._candidates) == 1:
            return True
        current = next((c for c in self._candidates if c.words == self.words), None)
        return current is None or all(abs(one.to_index(v) - current.to_index(v)) < _WHOLE for v in self._used)

    def _fitting(self, first: float) -> list[_Convention]:
        """Return the conventions in which a loop may have begun with the value ``first``, the likeliest first."""
        count = self._schedule.num_train_timesteps
        index = _Convention(f"0 .. {count - 1}", lambda v: v)
        counted = _Convention(f"1 .. {count}", lambda v: v - 1)
        share = _Convention(f"t/{count}, t = 0 .. {count - 1}", lambda v: v * count)
        counted_share = _Convention(f"t/{count}, t = 1 .. {count}", lambda v: v * count - 1)
        stretched = _Convention(f"t/{count - 1}, t = 0 .. {count - 1}", lambda v: v * (count - 1))
        if self._convention == "index":
            return [index]
        if self._convention == "count":
            return [counted]
        shares = [counted_share, stretched] if first == 1 else [share, counted_share]
        if self._convention == "fraction":
            return shares
        if self._floating and 0 < first <= 1:
            return shares if first == 1 else [*shares, stretched]
        return [counted] if first == count else [index]

    def _between(self, index: float) -> float:
        """Return ᾱ between two timesteps, where ln SNR is interpolated linearly."""
        log_snr = np.interp(index, np.arange(self._schedule.num_train_timesteps), self._schedule.log_snr)
        return float(1 / (1 + np.exp(-log_snr)))

    @cached_property
    def _noisiness(self) -> list[float]:
        """-ln SNR of each timestep, (T,) rising."""
        found: list[float] = (-self._schedule.log_snr).tolist()
        return found

    def _at_share(self, share: float, name: str, value: float) -> Timestep:
        """Return the place of an ᾱ, given as ``name = value``; whole where a timestep has it up to rounding."""
        noisiness = log1p(-share) - log(share) if 0 < share < 1 else (inf if share == 0 else -inf)  # -ln SNR
        table = self._noisiness
        if not table[0] - _WHOLE <= noisiness <= table[-1] + _WHOLE:
            raise VizdiffUsageError(
                f"a forward pass was given {name} = {value:g}, beyond the schedule's ln SNR of "
                f"{-table[-1]:.4g}..{-table[0]:.4g}; give the Recorder the schedule of this loop"
            )
        index = _interpolated_index(noisiness, table)
        if abs(index - round(index)) <= _WHOLE:
            return Timestep(round(index), float(self._schedule.alphas_cumprod[round(index)]))
        return Timestep(index, share)

    def _flow(self, value: float) -> Timestep:
        """Return the place of a flow's time: σ or 1-σ in 0 .. 1, or T σ; sampling begins at the noise."""
        count = self._schedule.num_train_timesteps
        if self._convention == "index":  # the schedule's own timesteps, σ = (t + 1)/T
            self.words = f"0 .. {count - 1}, the last of which is noise"
            self._used, value = [float(count)], value + 1
        elif not self.words:
            self._first = value
            self.noise_at_zero = self._runs_from_zero(value)
        if not self._used or (self._used == [1.0] and not self._moved):
            scaled = self._convention == "count" or (self._convention is None and value > 1)
            self._used = [float(count if scaled else 1)]
            ends = (0, round(self._used[0])) if self.noise_at_zero else (round(self._used[0]), 0)
            self.words = f"{ends[0]} is noise, {ends[1]} is data"
        self._moved = self._moved or value != 0
        share = value / self._used[0]
        sigma = 1 - share if self.noise_at_zero else share
        if not 0 <= sigma <= 1:
            counted = value > 1 and self._used[0] == 1
            mend = (
                f", which the times before it showed; where they run through 0 .. {count}, say so: "
                'Recorder(…, timesteps="count")'
            )
            raise VizdiffUsageError(
                f"a forward pass was given t = {value:g}, outside of 0..{self._used[0]:g}{mend if counted else ''}"
            )
        self._check_direction(value)
        t = count * sigma - 1
        whole = round(t) if abs(t - round(t)) < _WHOLE * 1e-3 and t > -0.5 else t
        return Timestep(whole, alphas_cumprod_of(sigma, "flow"))

    def _runs_from_zero(self, first: float) -> bool:
        """Return whether a flow's time is 0 at the noise, by what was said or by the end near which it begins."""
        if self._convention in ("sigma", "one_minus_sigma"):
            return self._convention == "one_minus_sigma"
        scaled = first > 1 or self._convention == "count"
        return first < (self._schedule.num_train_timesteps if scaled else 1) / 2

    def _check_direction(self, value: float) -> None:
        """Refuse a flow's time that begins between its ends and then runs towards what was taken for the noise."""
        first = self._first
        if first is None or value == first:
            return
        self._first = None
        away = (value < first) == self.noise_at_zero
        if away and 0.05 < first / self._used[0] < 0.95 and self._convention not in ("sigma", "one_minus_sigma"):
            raise VizdiffUsageError(
                f"a flow's time begins with t = {first:g} and goes on to {value:g}: say which end is noise, "
                'Recorder(…, timesteps="sigma") where it is 1, timesteps="one_minus_sigma" where it is 0'
            )


def _interpolated_index(value: float, rising: list[float]) -> float:
    """Return the place of a value among rising ones, linear between two of them and at most at the ends."""
    at = min(max(bisect_right(rising, value) - 1, 0), len(rising) - 1)
    if at == len(rising) - 1 or value <= rising[at]:
        return float(at)
    return at + (value - rising[at]) / (rising[at + 1] - rising[at])
