"""The noise schedule of the forward process: β_t, ᾱ_t, SNR, and the formulas made of them.

Its tables are NumPy float64, and its formulas work on NumPy arrays and on tensors alike. Knows nothing about
networks, images or devices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.scaling import SCALINGS, ArrayT, Float64, alphas_cumprod_of, broadcast_factor, scales
from viz_diffusion.errors import VizdiffUsageError


def linear_betas(num_train_timesteps: int = 1000, start: float = 1e-4, end: float = 0.02) -> Float64:
    """Return betas rising in a straight line from ``start`` to ``end`` (Ho et al. 2020, section 4)."""
    return np.linspace(start, end, num_train_timesteps, dtype=np.float64)


def cosine_betas(num_train_timesteps: int = 1000, offset: float = 0.008, largest: float = 0.999) -> Float64:
    """Return the betas of the squared-cosine schedule (Nichol & Dhariwal 2021, eq. 17), at most ``largest``."""
    grid = np.arange(num_train_timesteps + 1, dtype=np.float64) / num_train_timesteps
    signal = np.cos((grid + offset) / (1 + offset) * np.pi / 2) ** 2
    return np.minimum(1 - signal[1:] / signal[:-1], largest)


def zero_snr_betas(num_train_timesteps: int = 1000) -> Float64:
    """Return the linear schedule's betas rescaled so that no signal is left at its end (Lin et al. 2023, alg. 1).

    √ᾱ is shifted until it ends at 0, and stretched until it begins where it was; the last beta is 1. For
    models that predict v: where ᾱ is 0, ε̂ implies no x̂_0.
    """
    if num_train_timesteps < 2:
        raise VizdiffUsageError(f"a zero-terminal-SNR schedule needs at least 2 timesteps, found {num_train_timesteps}")
    signal = np.sqrt(np.cumprod(1 - linear_betas(num_train_timesteps)))
    shares = ((signal - signal[-1]) * signal[0] / (signal[0] - signal[-1])) ** 2
    return 1 - shares / np.concatenate([[1.0], shares[:-1]])


_BETAS = {"linear": linear_betas, "cosine": cosine_betas, "zero-snr": zero_snr_betas}
SCHEDULE_NAMES = tuple(_BETAS)
MAX_TIMESTEPS = 100_000
"""The largest T of a schedule that is made by name."""


def predict_x0(
    x_t: ArrayT, eps: ArrayT, alphas_cumprod: float | Float64, scaling: str = "variance_preserving"
) -> ArrayT:
    """Return x̂_0 = (x_t - b ε̂) / a, unclipped, for ᾱ of any schedule (Ho et al. 2020, eq. 15).

    Parameters
    ----------
    x_t, eps
        (B, ...) floating point, in whose dtype and on whose device x̂_0 is computed.
    alphas_cumprod
        ᾱ, float64 in (0, 1]: one number, or an array whose axes are the first ones of ``x_t``, such as (B,).
    scaling
        One of :data:`SCALINGS`; by default a and b are √ᾱ and √(1-ᾱ).
    """
    signal, noise = scales(alphas_cumprod, scaling)
    x0 = x_t - broadcast_factor(noise, x_t) * eps
    x0 /= broadcast_factor(signal, x_t)
    return x0


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """The variances of the forward process; everything else follows from them.

    Raises
    ------
    VizdiffUsageError
        Where ``betas`` is not one-dimensional, is empty, or leaves the open interval (0, 1); only the last may be 1.
    """

    betas: Float64
    """(T,) float64, unitless: the share of variance replaced by noise at each timestep, in (0, 1); the last one
    may be 1, and then nothing of the image is left at the end (zero terminal SNR)."""
    name: str = "custom"
    """Its name in captions: linear, cosine, zero-snr, flow or custom."""
    scaling: str = SCALINGS[0]
    """How x_t = a x_0 + b ε is scaled, one of :data:`SCALINGS`. ᾱ and SNR are the same in all of them."""

    def __post_init__(self) -> None:
        betas = np.array(self.betas, dtype=np.float64)
        if betas.ndim != 1 or betas.size == 0:
            raise VizdiffUsageError(f"betas must be a non-empty row of numbers, found the shape {betas.shape}")
        ends_in_noise = betas[-1] == 1
        below_one = betas[:-1] if ends_in_noise else betas
        if not np.all((below_one > 0) & (below_one < 1)):
            raise VizdiffUsageError("betas must lie strictly between 0 and 1; only the last may be 1")
        if np.prod(1 - below_one) == 0:
            raise VizdiffUsageError("betas are so large that nothing of the image is left: ᾱ underflows to 0")
        if self.scaling not in SCALINGS:
            raise VizdiffUsageError(f"`scaling` must be one of {', '.join(SCALINGS)}, found {self.scaling!r}")
        if ends_in_noise and self.scaling == "variance_exploding":
            raise VizdiffUsageError("a variance-exploding schedule cannot end without signal: its σ would be infinite")
        betas.flags.writeable = False
        object.__setattr__(self, "betas", betas)

    def __repr__(self) -> str:
        return f"NoiseSchedule({self.name}, T = {self.num_train_timesteps})"

    @classmethod
    def named(cls, name: str = "linear", num_train_timesteps: int = 1000) -> NoiseSchedule:
        """Build the ``linear`` (1e-4 to 0.02), ``cosine``, ``zero-snr`` or ``flow`` schedule with T timesteps.

        ``flow`` is the straight line from data to noise, σ_t = (t+1)/T (Liu et al. 2023): at t = T-1 all is noise.
        """
        if num_train_timesteps > MAX_TIMESTEPS:
            raise VizdiffUsageError(f"a schedule has at most {MAX_TIMESTEPS:,} timesteps, found {num_train_timesteps}")
        if name == "flow" and num_train_timesteps > 1:
            sigmas = np.arange(1, num_train_timesteps + 1) / num_train_timesteps
            return cls.from_sigmas(sigmas, "flow", name="flow")
        if name not in _BETAS:
            raise VizdiffUsageError(f"schedule {name!r} is unknown; choose from {', '.join((*SCHEDULE_NAMES, 'flow'))}")
        if num_train_timesteps < 1:
            raise VizdiffUsageError(f"a schedule needs at least 1 timestep, found {num_train_timesteps}")
        return cls(_BETAS[name](num_train_timesteps), name)

    @classmethod
    def from_sigmas(
        cls, sigmas: Float64, scaling: str = "variance_exploding", *, name: str = "custom"
    ) -> NoiseSchedule:
        """Build the schedule whose noise levels are ``sigmas``, (T,) rising: b of x_t = a x_0 + b ε.

        Parameters
        ----------
        scaling
            ``variance_exploding``, x_t = x_0 + σ ε; or ``flow``, x_t = (1-σ) x_0 + σ ε, where σ may end at 1.

        Raises
        ------
        VizdiffUsageError
            Where they do not rise from above 0, or the scaling is neither of the two.
        """
        values = np.asarray(sigmas, dtype=np.float64)
        if scaling not in SCALINGS[1:]:
            raise VizdiffUsageError(f"`scaling` must be one of {', '.join(SCALINGS[1:])}, found {scaling!r}")
        most = 1.0 if scaling == "flow" else np.inf
        if values.ndim != 1 or not values.size or values[0] <= 0 or np.any(np.diff(values) <= 0) or values[-1] > most:
            raise VizdiffUsageError(
                "`sigmas` must be a row of numbers above 0 that rise, in flow matching to 1 at most"
            )
        shares = alphas_cumprod_of(values, scaling)
        return cls(1 - shares / np.concatenate([[1.0], shares[:-1]]), name, scaling)

    def respaced(self, timesteps: NDArray[np.integer[Any]]) -> NoiseSchedule:
        """Return the schedule that visits only ``timesteps`` (rising), with the same ᾱ at each of them.

        Its own index runs over 0 .. len(timesteps)-1 (Nichol & Dhariwal 2021, section 4).
        """
        kept = np.asarray(timesteps)
        if kept.size == 0 or np.any(np.diff(kept) <= 0) or not 0 <= kept[0] <= kept[-1] < self.num_train_timesteps:
            raise VizdiffUsageError(f"timesteps must rise within 0..{self.num_train_timesteps - 1}, found {kept}")
        if kept.size == self.num_train_timesteps:
            return self
        alphas_cumprod = self.alphas_cumprod[kept]
        betas = 1 - alphas_cumprod / np.concatenate([[1.0], alphas_cumprod[:-1]])
        return NoiseSchedule(betas, self.name, self.scaling)

    @property
    def num_train_timesteps(self) -> int:
        """T, the number of timesteps; t runs over 0 .. T-1."""
        return int(self.betas.size)

    @cached_property
    def alphas(self) -> Float64:
        """(T,) α_t = 1 - β_t."""
        return 1 - self.betas

    @cached_property
    def alphas_cumprod(self) -> Float64:
        """(T,) ᾱ_t, the signal's share of power, falling (Ho et al. 2020, eq. 4)."""
        return np.cumprod(self.alphas, dtype=np.float64)

    @cached_property
    def alphas_cumprod_prev(self) -> Float64:
        """(T,) ᾱ_{t-1}, with 1 before the first timestep."""
        return np.concatenate([[1.0], self.alphas_cumprod[:-1]])

    @cached_property
    def signal_scale(self) -> Float64:
        """(T,) a of x_t = a x_0 + b ε: √ᾱ_t where the schedule preserves variance."""
        return scales(self.alphas_cumprod, self.scaling)[0]

    @cached_property
    def noise_scale(self) -> Float64:
        """(T,) b of x_t = a x_0 + b ε: √(1-ᾱ_t) where the schedule preserves variance, else σ_t."""
        return scales(self.alphas_cumprod, self.scaling)[1]

    @cached_property
    def snr(self) -> Float64:
        """(T,) ᾱ_t / (1 - ᾱ_t): signal-to-noise power ratio for a signal of unit power."""
        return self.alphas_cumprod / (1 - self.alphas_cumprod)

    @cached_property
    def log_snr(self) -> Float64:
        """(T,) ln SNR, in nats (twice DPM-Solver's λ); -inf where ᾱ is 0."""
        with np.errstate(divide="ignore"):
            return np.log(self.snr)

    @cached_property
    def snr_db(self) -> Float64:
        """(T,) 10 log10 SNR, in decibels; -inf where ᾱ is 0."""
        return 10 / np.log(10) * self.log_snr

    @cached_property
    def posterior_variance(self) -> Float64:
        """(T,) β̃_t, the variance of q(x_{t-1} | x_t, x_0); 0 at t = 0 (Ho et al. 2020, eq. 7)."""
        return (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod) * self.betas

    @cached_property
    def snr_below_one(self) -> int | None:
        """The first t whose SNR is below 1, or None where none is."""
        below = np.flatnonzero(self.snr < 1)
        return int(below[0]) if below.size else None

    def require_signal(self) -> None:
        """Refuse zero terminal SNR, where ε̂ implies no x̂_0 (Lin et al. 2023, section 3.3).

        Raises
        ------
        VizdiffUsageError
            Where ᾱ is 0 at the last timestep.
        """
        if self.betas[-1] == 1:
            raise VizdiffUsageError(
                f"the {self.name} schedule leaves no signal at t = {self.num_train_timesteps - 1} (ᾱ = 0), and with "
                "ε-prediction x̂_0 = (x_t - √(1-ᾱ) ε̂)/√ᾱ is undefined there; choose linear or cosine"
            )

    def add_noise(self, x0: ArrayT, noise: ArrayT, t: Any) -> ArrayT:
        """Return x_t = a x_0 + b ε, which is √ᾱ_t x_0 + √(1-ᾱ_t) ε where variance is preserved (Ho et al. 2020, eq. 4).

        ``x0`` and ``noise`` are (B, ...); ``t`` is one index or B of them, each in 0 .. T-1.
        """
        return self._at(self.signal_scale, t, x0) * x0 + self._at(self.noise_scale, t, x0) * noise

    def predict_x0(self, x_t: ArrayT, eps: ArrayT, t: Any) -> ArrayT:
        """Return x̂_0 = (x_t - √(1-ᾱ_t) ε̂) / √ᾱ_t, unclipped (Ho et al. 2020, eq. 15).

        Raises
        ------
        VizdiffUsageError
            Where the schedule has zero terminal SNR; see :meth:`require_signal`.
        """
        self.require_signal()
        return predict_x0(x_t, eps, self.alphas_cumprod[self._index(t)], self.scaling)

    def predict_eps(self, x_t: ArrayT, x0: ArrayT, t: Any) -> ArrayT:
        """Return the ε that turns ``x0`` into ``x_t``: the inverse of :meth:`predict_x0`."""
        return (x_t - self._at(self.signal_scale, t, x_t) * x0) / self._at(self.noise_scale, t, x_t)

    def posterior_mean(self, x0: ArrayT, x_t: ArrayT, t: Any) -> ArrayT:
        """Return the mean of q(x_{t-1} | x_t, x_0) (Ho et al. 2020, eq. 7).

        Raises
        ------
        VizdiffUsageError
            Where the schedule does not preserve variance.
        """
        if self.scaling != SCALINGS[0]:
            raise VizdiffUsageError(f"DDPM's posterior needs a variance-preserving schedule, found {self.scaling}")
        to_x0 = np.sqrt(self.alphas_cumprod_prev) * self.betas / (1 - self.alphas_cumprod)
        to_x_t = np.sqrt(self.alphas) * (1 - self.alphas_cumprod_prev) / (1 - self.alphas_cumprod)
        return self._at(to_x0, t, x_t) * x0 + self._at(to_x_t, t, x_t) * x_t

    def _at(self, table: Float64, t: Any, like: ArrayT) -> ArrayT:
        """Return ``table[t]`` in the kind, dtype and device of ``like``, shaped to multiply (B, ...)."""
        return broadcast_factor(table[self._index(t)], like)

    def _index(self, t: Any) -> NDArray[np.integer[Any]]:
        """Return t as an array of whole numbers, each in 0 .. T-1."""
        index = np.asarray(t.cpu() if hasattr(t, "cpu") else t)
        if index.dtype.kind not in "iu":
            raise VizdiffUsageError(f"t must be whole numbers, found {index.dtype}")
        if index.size and (index.min() < 0 or index.max() >= self.num_train_timesteps):
            raise VizdiffUsageError(
                f"t must lie in 0..{self.num_train_timesteps - 1}, found {index.min()}..{index.max()}"
            )
        return index
