"""The predicted x̂_0 compared with the ideal denoiser's, which knows the training digits and nothing else.

Takes any denoiser; knows nothing about recordings, figures or texts.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.latent_space import latent_space_of, pictures_of
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.prediction import predict_noise
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation.intervals import Z_95
from viz_diffusion.lessons.base import Claim
from viz_diffusion.lessons.context import Progress, silent, typical_image
from viz_diffusion.lessons.guess.figures import IdealFrames
from viz_diffusion.recording.latent_pictures import state_picture
from viz_diffusion.views.frames import pictures

Float64 = NDArray[np.float64]
COUNT = (100, 1000)
"""Held-out digits, quick and full."""
TIMESTEPS = (999, 850, 700, 600, 500, 400, 300, 200, 100)
"""Where x̂_0 is compared, for T = 1000."""
EARLY, LATE = 600, 200
"""Of T = 1000: from the first on a step is early, up to the second it is late."""
MARGIN = 1.1
"""An early x̂_0 is as good as possible where its squared error is less than this times the unavoidable one."""


@dataclass(frozen=True)
class IdealFacts:
    """What texts and JSON files say of x̂_0 and the ideal denoiser's, at K timesteps."""

    ideal_digit: int
    """Label of the digit that is drawn."""
    ideal_count: int
    """Held-out digits."""
    ideal_timesteps: tuple[int, ...]
    """(K,) falling."""
    gain: tuple[float, ...]
    """(K,) √((1-ᾱ)/ᾱ), the ratio of an error of x̂_0 to the error of ε̂ that causes it."""
    gain_first: float
    """The first one of these."""
    eps_error: tuple[float, ...]
    """(K,) RMS error of ε̂ per pixel."""
    eps_error_first: float
    """The first one."""
    guess_error: tuple[float, ...]
    """(K,) RMS error of x̂_0 per pixel, unclipped."""
    guess_error_first: float
    """The first one."""
    ideal_error: tuple[float, ...]
    """(K,) the same of the ideal denoiser."""
    ideal_error_first: float
    """The first one."""
    ideal_ratio: tuple[float, ...]
    """(K,) squared error of x̂_0 over the ideal denoiser's."""
    ideal_ratio_interval: tuple[float, ...]
    """(K,) half its 95% interval."""
    first_t: int
    """The first timestep."""


@dataclass(frozen=True, eq=False)
class IdealComparison:
    """Squared errors of x̂_0 on N held-out digits at K timesteps: of the denoiser, and of the ideal one."""

    timesteps: NDArray[np.int64]
    """(K,) int64, falling."""
    num_train_timesteps: int
    """T."""
    gain: Float64
    """(K,) float64: √((1-ᾱ)/ᾱ), the ratio of an error of x̂_0 to the error of ε̂ that causes it."""
    eps_error: Float64
    """(K,) float64: RMS error of ε̂ per pixel."""
    error: Float64
    """(K, N) float64: mean squared error of the denoiser's x̂_0 per number of x, unclipped."""
    ideal_error: Float64
    """(K, N) float64: of the mean of all training digits with that label, weighed by how well each explains x_t."""
    images: IdealFrames
    """One digit, its x̂_0 and the ideal denoiser's at each timestep."""
    digit: int
    """Its label."""

    def ratio(self, k: int) -> tuple[float, float]:
        """Return the denoiser's error over the ideal one at the k-th timestep, and half its 95% interval."""
        mean = self.ideal_error[k].mean()
        ratio = self.error[k].mean() / mean
        spread = (self.error[k] - ratio * self.ideal_error[k]).std(ddof=1) / mean
        return float(ratio), float(Z_95 * spread / np.sqrt(self.error.shape[1]))

    def facts(self) -> IdealFacts:
        """Return the numbers, by timestep."""
        ratios = [self.ratio(k) for k in range(len(self.timesteps))]
        error, ideal_error = np.sqrt(self.error.mean(axis=1)), np.sqrt(self.ideal_error.mean(axis=1))
        return IdealFacts(
            ideal_digit=self.digit,
            ideal_count=int(self.error.shape[1]),
            ideal_timesteps=tuple(self.timesteps.tolist()),
            gain=tuple(self.gain.tolist()),
            gain_first=float(self.gain[0]),
            eps_error=tuple(self.eps_error.tolist()),
            eps_error_first=float(self.eps_error[0]),
            guess_error=tuple(error.tolist()),
            guess_error_first=float(error[0]),
            ideal_error=tuple(ideal_error.tolist()),
            ideal_error_first=float(ideal_error[0]),
            ideal_ratio=tuple(ratio for ratio, _ in ratios),
            ideal_ratio_interval=tuple(half for _, half in ratios),
            first_t=int(self.timesteps[0]),
        )

    def claims(self) -> tuple[Claim, ...]:
        """Decide whether early x̂_0 are as good as possible, and whether late ones are better than the ideal's."""
        T = self.num_train_timesteps
        early = [k for k, t in enumerate(self.timesteps) if t >= EARLY * T // 1000]
        late = [k for k, t in enumerate(self.timesteps) if t <= LATE * T // 1000]
        worst = max(early, key=lambda k: self.ratio(k)[0])
        best = max(late, key=lambda k: self.ratio(k)[0])
        return (
            Claim("blur_is_right", self._below(worst, MARGIN), self._numbers(worst) | {"early": EARLY * T // 1000}),
            Claim("beats_memory", self._below(best, 1.0), self._numbers(best) | {"late": LATE * T // 1000}),
        )

    def _below(self, k: int, limit: float) -> bool | None:
        ratio, half = self.ratio(k)
        return None if abs(ratio - limit) <= half else ratio < limit

    def _numbers(self, k: int) -> dict[str, Any]:
        ratio, half = self.ratio(k)
        return {"at": int(self.timesteps[k]), "ratio": ratio, "half": half, "margin": MARGIN}


@torch.no_grad()
def compare_with_ideal(
    denoiser: nn.Module,
    schedule: NoiseSchedule,
    heldout: Digits,
    training: Digits,
    digit: int = 5,
    seed: int = 0,
    count: int = COUNT[0],
    progress: Progress = silent,
) -> IdealComparison:
    """Noise held-out digits, and compare x̂_0 under their labels with the ideal denoiser's.

    The ideal x̂_0 is E[x_0 | x_t, y] over the training digits (:class:`EmpiricalOracle`). While much noise is left,
    it is nearly that of all handwriting, and no denoiser can do better; later it is a copy of training digits.

    Parameters
    ----------
    digit, seed
        Of the one digit that is drawn, and of all noise.
    count
        N.
    """
    T = schedule.num_train_timesteps
    timesteps = np.unique(np.round(np.array(TIMESTEPS) * (T - 1) / 999).astype(np.int64))[::-1]
    oracle = EmpiricalOracle(schedule, training.images, training.labels, training.num_labels)
    # labels that no training image has, the oracle does not know
    heldout = heldout.take(torch.isin(heldout.labels, torch.tensor(training.present)))
    generator = torch.Generator().manual_seed(seed + 3001)
    rows = torch.randperm(len(heldout), generator=generator)[:count]
    x0 = torch.cat([typical_image(digit, heldout, training)[None], heldout.images[rows]])
    labels = torch.cat([torch.tensor([digit]), heldout.labels[rows]])
    noise = torch.randn(x0.shape, generator=generator)
    found: dict[str, list[NDArray[np.float32]]] = {"x_t": [], "x0_pred": [], "ideal": []}
    errors: dict[str, list[Float64]] = {"eps": [], "x0_pred": [], "ideal": []}
    for done, t in enumerate(timesteps.tolist()):
        x_t = schedule.add_noise(x0, noise, t)
        steps = torch.full((len(x0),), t)
        eps = predict_noise(denoiser, x_t, steps, labels)
        x0_pred, ideal = schedule.predict_x0(x_t, eps, t), oracle.predict_x0(x_t, steps, labels)
        for name, image in (("x_t", x_t), ("x0_pred", x0_pred), ("ideal", ideal)):
            found[name].append(_picture(denoiser, image[:1], name == "x_t"))
        for name, wrong in (("eps", eps - noise), ("x0_pred", x0_pred - x0), ("ideal", ideal - x0)):
            errors[name].append(wrong[1:].square().mean(dim=(1, 2, 3)).double().numpy())
        progress(done + 1, len(timesteps), "guesses beside a perfect memory's")
    share = schedule.alphas_cumprod[timesteps]
    frames = {name: np.stack(images) for name, images in found.items()}
    return IdealComparison(
        timesteps=timesteps,
        num_train_timesteps=T,
        gain=np.sqrt((1 - share) / share),
        eps_error=np.sqrt(np.stack(errors["eps"]).mean(axis=1)),
        error=np.stack(errors["x0_pred"]),
        ideal_error=np.stack(errors["ideal"]),
        images=IdealFrames(timesteps, x0=_picture(denoiser, x0[:1], False), **frames),
        digit=digit,
    )


def _picture(denoiser: nn.Module, x: Tensor, is_noised: bool) -> NDArray[np.float32]:
    """Return one x as it is drawn: of latents the channels side by side where it is noised, else decoded."""
    space = latent_space_of(denoiser)
    if space is None or not is_noised:
        return pictures(pictures_of(denoiser, x)[0].numpy())
    return pictures(state_picture(x[0].numpy(), space.image_shape))
