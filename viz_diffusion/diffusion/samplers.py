"""The samplers DDPM, DDIM and DPM-Solver++: generators of one :class:`Step` after another.

Each reads like the algorithm box of its paper. Recording, files, figures and progress bars belong to the caller.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.diffusion.finite import require_finite
from viz_diffusion.diffusion.latent_space import latent_space_of
from viz_diffusion.diffusion.parameterizations import convert, to_x0_and_eps
from viz_diffusion.diffusion.scaling import SCALINGS
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import VARIANCES
from viz_diffusion.errors import VizdiffUsageError

Denoiser = Callable[..., Tensor]
"""(x (B,C,H,W), timesteps (B,), labels (B,)) -> (B,C,H,W), ε̂ or what its ``prediction_type`` says; labels if given."""


@dataclass(frozen=True, eq=False)
class Step:
    """One denoising step with everything computed in it. Tensors are (B, C, H, W) float32."""

    t: int
    """The timestep at which the denoiser was evaluated, in 0 .. T-1."""
    x_t: Tensor
    """The images before the step."""
    eps_pred: Tensor
    """The predicted noise that was used, after guidance."""
    eps_cond: Tensor | None
    """The prediction under the label; None without guidance."""
    eps_uncond: Tensor | None
    """The prediction under the null label; None without guidance."""
    x0_raw: Tensor
    """Predicted x_0, as ``eps_pred`` implies it, before clipping."""
    x0_pred: Tensor
    """Predicted x_0 as used: clipped to [-1, 1], or equal to ``x0_raw`` where clipping is off."""
    noise: Tensor | None
    """The fresh noise that was injected (unit variance); None where there was none."""
    x_prev: Tensor
    """The images after the step."""

    @property
    def clipped_share(self) -> Tensor:
        """(B,) float32 on the images' device: the share of pixels of ``x0_raw`` that lie beyond [-1, 1]."""
        return (self.x0_raw.abs() > 1).flatten(1).float().mean(dim=1)


class Noise(Protocol):
    """Source of a sampler's noise: its first draw is x_T, the others are the noise that steps inject."""

    def draw(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the next (B, C, H, W) draw."""


class ImageNoise:
    """Standard normal noise, drawn on the CPU from one generator per image.

    Image k gets the same noise at any batch size, on any device, and whatever the other images are.

    Parameters
    ----------
    seeds
        One seed per image, each in 0 .. 2**63-1; those equal modulo 2**32 give the same noise.
    shape
        (C, H, W) of one image.
    """

    def __init__(self, seeds: Sequence[int], shape: tuple[int, ...] = (1, 28, 28)) -> None:
        self._generators = [torch.Generator().manual_seed(int(seed)) for seed in seeds]
        self._shape = shape

    def draw(self, device: torch.device | str = "cpu") -> Tensor:
        """Return the next (B, C, H, W) float32 draw."""
        rows = [torch.randn(self._shape, generator=g, dtype=torch.float32, device="cpu") for g in self._generators]
        return torch.stack(rows).to(device)


def guided_eps(
    denoiser: Denoiser, x_t: Tensor, t: int, labels: Tensor | None, guidance_scale: float | Tensor, null_label: int
) -> tuple[Tensor, Tensor | None, Tensor | None]:
    """Return ε̂ as used, and its conditional and unconditional halves where guidance mixes them.

    ε̂ = ε_∅ + s (ε_y - ε_∅), which is Ho & Salimans 2022, eq. 6 with s = 1 + w. With s = 1 the denoiser is
    evaluated on the batch, with any other s on a doubled batch. A (B, 1, 1, 1) tensor gives every image its own s.
    """
    unguided = not isinstance(guidance_scale, Tensor) and guidance_scale == 1
    if labels is None and not unguided:
        raise VizdiffUsageError(
            f"guidance needs labels; without them `guidance_scale` must be 1, found {guidance_scale}"
        )
    timesteps = torch.full((len(x_t),), t, device=x_t.device)
    if labels is None or unguided:
        eps = denoiser(x_t, timesteps) if labels is None else denoiser(x_t, timesteps, labels)
        return eps, None, None
    nulls = torch.full_like(labels, null_label)
    doubled = denoiser(torch.cat([x_t, x_t]), torch.cat([timesteps, timesteps]), torch.cat([labels, nulls]))
    eps_cond, eps_uncond = doubled.chunk(2)
    return eps_uncond + guidance_scale * (eps_cond - eps_uncond), eps_cond, eps_uncond


class Prediction(NamedTuple):
    """What one evaluation of the denoiser, or of both its halves, says about x_0 and ε; all (B, C, H, W)."""

    eps: Tensor
    """The predicted noise, after guidance."""
    eps_cond: Tensor | None
    """The predicted noise under the label; None without guidance."""
    eps_uncond: Tensor | None
    """The predicted noise under the null label; None without guidance."""
    x0_raw: Tensor
    """Predicted x_0."""
    x0: Tensor
    """Predicted x_0 as used: clipped to [-1, 1] where clipping is on."""


def predict(
    denoiser: Denoiser,
    spaced: NoiseSchedule,
    index: int,
    x_t: Tensor,
    t: int,
    labels: Tensor | None,
    guidance_scale: float | Tensor,
    null_label: int,
    clip: bool,
) -> Prediction:
    """Evaluate the denoiser at timestep t, which is ``index`` in the schedule of the visited timesteps.

    The denoiser predicts ε, or what its ``prediction_type`` says. Guidance mixes the predictions as they are: as ε,
    x_0, v and velocity are linear in each other at one x_t, the mix is the same in all. Latents are never clipped.
    """
    kind = getattr(denoiser, "prediction_type", "epsilon")
    mixed, cond, uncond = guided_eps(denoiser, x_t, t, labels, guidance_scale, null_label)
    if kind == "epsilon":
        # x̂_0 = (x_t - √(1-ᾱ) ε̂) / √ᾱ (Ho et al. 2020, eq. 15)
        eps, x0_raw = mixed, spaced.predict_x0(x_t, mixed, index)
    else:
        scales = spaced.signal_scale[index], spaced.noise_scale[index]
        x0_raw, eps = to_x0_and_eps(mixed, x_t, kind, *scales)
        cond, uncond = (None if p is None else convert(p, x_t, kind, "epsilon", *scales) for p in (cond, uncond))
    require_finite(x0_raw, f" at t = {t}")  # clipping would hide an infinity
    x0 = x0_raw.clamp(-1, 1) if clip and latent_space_of(denoiser) is None else x0_raw
    return Prediction(eps, cond, uncond, x0_raw, x0)


def visited_schedule(
    schedule: NoiseSchedule, timesteps: NDArray[np.int64] | None, needs: str = ""
) -> tuple[NDArray[np.int64], NoiseSchedule]:
    """Return the falling timesteps to visit, all by default, and the schedule that has only these.

    Raises
    ------
    VizdiffUsageError
        Where the schedule does not preserve variance, and the sampler ``needs``, by its name, that it does.
    """
    if needs and schedule.scaling != SCALINGS[0]:
        raise VizdiffUsageError(
            f"{needs} needs a variance-preserving schedule, found {schedule.name} ({schedule.scaling}); "
            f"`sampler` euler and heun take any"
        )
    visited = np.arange(schedule.num_train_timesteps)[::-1] if timesteps is None else timesteps
    return visited, schedule.respaced(visited[::-1])


@torch.no_grad()
def ddpm_steps(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    noise: Noise,
    labels: Tensor | None,
    *,
    timesteps: NDArray[np.int64] | None = None,
    variance: str = "beta",
    guidance_scale: float | Tensor = 1.0,
    clip: bool = True,
    null_label: int = 10,
) -> Iterator[Step]:
    """Sample by ancestral steps (Ho et al. 2020, algorithm 2), by default over t = T-1 .. 0.

    Parameters
    ----------
    labels
        (B,) int64 on the denoiser's device, or None for a denoiser that takes no labels.
    timesteps
        Falling timesteps to visit; all of them by default.
    variance
        Of the injected noise: ``beta`` (β_t) or ``beta_tilde`` (β̃_t), the two of section 3.2.
    clip
        Clip x̂_0 to [-1, 1] before it is used.
    """
    if variance not in VARIANCES:
        raise VizdiffUsageError(f"variance {variance!r} is unknown; choose from {', '.join(VARIANCES)}")
    visited, spaced = visited_schedule(schedule, timesteps, "DDPM")
    variances = spaced.betas if variance == "beta" else spaced.posterior_variance
    device = "cpu" if labels is None else labels.device
    # 1: x_T ~ N(0, I)
    x = noise.draw(device)
    # 2: for t = T, ..., 1
    for i, t in zip(reversed(range(len(visited))), visited.tolist(), strict=True):
        # x̂_0 = (x_t - √(1-ᾱ) ε̂) / √ᾱ (eq. 15)
        found = predict(denoiser, spaced, i, x, t, labels, guidance_scale, null_label, clip)
        # 3: z ~ N(0, I) if t > 1, else z = 0
        z = noise.draw(device) if i > 0 else None
        # 4: x_{t-1} = μ̃_t(x_t, x̂_0) + σ_t z (eq. 7)
        x_prev = spaced.posterior_mean(found.x0, x, i)
        if z is not None:
            x_prev = x_prev + float(np.sqrt(variances[i])) * z
        yield Step(t, x, *found, z, x_prev)
        x = x_prev


@torch.no_grad()
def ddim_steps(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    noise: Noise,
    labels: Tensor | None,
    *,
    timesteps: NDArray[np.int64] | None = None,
    eta: float = 0.0,
    guidance_scale: float | Tensor = 1.0,
    clip: bool = True,
    null_label: int = 10,
) -> Iterator[Step]:
    """Sample by DDIM (Song et al. 2021, eq. 12); parameters as in ddpm_steps.

    ``eta`` in 0 .. 1 scales the injected noise (eq. 16): 0, the default, injects none, and 1 is DDPM with the
    variance ``beta_tilde``.
    """
    visited, spaced = visited_schedule(schedule, timesteps, "DDIM")
    signal_prev = np.sqrt(spaced.alphas_cumprod_prev)
    # σ_t = η √((1-ᾱ_{t-1})/(1-ᾱ_t)) √(1-ᾱ_t/ᾱ_{t-1}) (eq. 16)
    sigma = eta * np.sqrt(spaced.posterior_variance)
    spread_prev = np.sqrt(1 - spaced.alphas_cumprod_prev - sigma**2)
    device = "cpu" if labels is None else labels.device
    x = noise.draw(device)  # x_T ~ N(0, I)
    for i, t in zip(reversed(range(len(visited))), visited.tolist(), strict=True):
        # "predicted x_0"
        found = predict(denoiser, spaced, i, x, t, labels, guidance_scale, null_label, clip)
        # the ε that the clipped x̂_0 implies: with the raw ε̂, too much noise would be left
        direction = spaced.predict_eps(x, found.x0, i) if clip else found.eps
        # √ᾱ_{t-1} "predicted x_0" + √(1-ᾱ_{t-1}-σ_t²) "direction pointing to x_t" + σ_t "random noise" (eq. 12)
        x_prev = float(signal_prev[i]) * found.x0 + float(spread_prev[i]) * direction
        z = noise.draw(device) if eta > 0 and i > 0 else None
        if z is not None:
            x_prev = x_prev + float(sigma[i]) * z
        yield Step(t, x, *found, z, x_prev)
        x = x_prev


@torch.no_grad()
def dpm_solver_steps(
    denoiser: Denoiser,
    schedule: NoiseSchedule,
    noise: Noise,
    labels: Tensor | None,
    *,
    timesteps: NDArray[np.int64] | None = None,
    order: int = 2,
    guidance_scale: float | Tensor = 1.0,
    clip: bool = True,
    null_label: int = 10,
) -> Iterator[Step]:
    """Sample by DPM-Solver++(2M) (Lu et al. 2022b, algorithm 2); parameters as in ddpm_steps.

    It solves the probability-flow equation in λ = ln(√ᾱ/√(1-ᾱ)) and extrapolates x̂_0 linearly from its last two
    values. The first step, which has one value only, and the last one, where λ is infinite, are of first order,
    which is DDIM; ``order`` 1 makes all of them so.
    """
    if order not in (1, 2):
        raise VizdiffUsageError(f"DPM-Solver++ has the orders 1 and 2 here, found {order}")
    visited, spaced = visited_schedule(schedule, timesteps, "DPM-Solver++")
    spread, spread_prev = np.sqrt(1 - spaced.alphas_cumprod), np.sqrt(1 - spaced.alphas_cumprod_prev)
    signal_prev = np.sqrt(spaced.alphas_cumprod_prev)
    lambdas = spaced.log_snr / 2
    h = np.concatenate([[np.inf], lambdas[:-1]]) - lambdas
    x0_previous: Tensor | None = None
    x = noise.draw("cpu" if labels is None else labels.device)  # x_T ~ N(0, I)
    for i, t in zip(reversed(range(len(visited))), visited.tolist(), strict=True):
        # x̂_0 = (x_t - σ_t ε̂) / α_t, the data prediction
        found = predict(denoiser, spaced, i, x, t, labels, guidance_scale, null_label, clip)
        # D_i = (1 + 1/(2 r_i)) x̂_0 - 1/(2 r_i) x̂_0 of the step before, with r_i = h_{i-1} / h_i
        direction = found.x0
        if order == 2 and x0_previous is not None and i > 0:
            weight = float(h[i] / (2 * h[i + 1]))  # 1/(2 r_i)
            direction = (1 + weight) * found.x0 - weight * x0_previous
        # x_{t_i} = σ_{t_i}/σ_{t_{i-1}} x_{t_{i-1}} - α_{t_i} (e^{-h_i} - 1) D_i
        x_prev = float(spread_prev[i] / spread[i]) * x - float(signal_prev[i] * np.expm1(-h[i])) * direction
        yield Step(t, x, *found, None, x_prev)
        x, x0_previous = x_prev, found.x0
