"""A recorded generation in memory: every state, every predicted noise and every predicted x̂_0.

How it is written and read is in :mod:`viz_diffusion.recording.trajectory_files`. Never imports torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.scaling import scales
from viz_diffusion.diffusion.schedule import NoiseSchedule, predict_x0
from viz_diffusion.diffusion.timesteps import SAMPLERS, VARIANCES
from viz_diffusion.recording import trajectory_files
from viz_diffusion.recording.store.layout import WIDE
from viz_diffusion.recording.trajectory_checks import check_trajectory

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

Float32 = NDArray[np.float32]


@dataclass(frozen=True, eq=False)
class Trajectory:
    """What was recorded of B images over S network evaluations.

    S evaluations visit S+1 states: the S recorded ``x_t`` and the finished ``x0``. A field that could not
    be known (guidance unknown to a recorder, a sampling that was not finished) holds NaN throughout.

    Raises
    ------
    VizdiffInputError
        Where shapes disagree or the timesteps do not fall.
    """

    schedule: NoiseSchedule
    """The forward process whose ᾱ and SNR go with the timesteps."""
    timesteps: NDArray[Any]
    """(S,) int64, or float64 where a sampler asks between them; strictly falling, each in 0 .. T-1."""
    x_t: Float32
    """(B, S, C, H, W) float32: what entered the denoiser."""
    eps_pred: Float32
    """(B, S, C, H, W) float32: the predicted noise that was used, after guidance."""
    x0_pred: Float32
    """(B, S, C, H, W) float32: the finished image that prediction implies, clipped where ``clip``."""
    x0: Float32
    """(B, C, H, W) float32: the finished images."""
    labels: NDArray[np.int64]
    """(B,) int64: the label each image was sampled with; -1 without a label."""
    seeds: NDArray[np.int64]
    """(B,) int64: the seed of each image's noise; -1 where it is not known."""
    eps_cond: Float32 | None = None
    """(B, S, C, H, W) float32: the prediction under the label, where guidance mixed two."""
    eps_uncond: Float32 | None = None
    """(B, S, C, H, W) float32: the prediction under the null label, where guidance mixed two."""
    sampler: str = ""
    """ddpm, ddim, dpm-solver++, or the name that the Recorder was given."""
    variance: str = ""
    """Of the noise that DDPM injected: beta or beta_tilde; nothing where another sampler was used."""
    eta: float = 0.0
    """What DDIM injected: 0 none, 1 as much as DDPM with beta_tilde."""
    guidance_scale: float = 1.0
    """s in ε_∅ + s (ε_y - ε_∅); 1 means no guidance, NaN that it is not known."""
    clip: bool = True
    """Whether x̂_0 was clipped to [-1, 1]."""
    weights_sha256: str = ""
    """SHA-256 of the weights file, or nothing where it is not known."""
    step_alphas_cumprod: NDArray[np.float64] | None = None
    """(S,) float64: ᾱ at each step where it does not follow from timesteps and schedule, as with fractional
    timesteps or a sampler's own noise levels; ``x_t`` is scaled by :attr:`signal_scale` and :attr:`noise_scale`
    at that ᾱ, which gives unit power only where the schedule's ``scaling`` preserves variance."""
    activations: Mapping[str, Float32] = field(default_factory=dict)
    """What modules gave at K of the steps, by dotted name: (B, K, ...) float32, its axes after the first two
    those of the module's output after its batch; (B, K) where only norms were kept. Under guidance, the half
    under the label."""
    activation_steps: NDArray[np.int64] | None = None
    """(K,) int64: which of the steps 0 .. S-1 those are."""
    decoded: Float32 | None = None
    """(B, F, C, H, W) float32, about [-1, 1]: ``x0_pred`` as pictures at F steps, where x is a latent."""
    decoded_steps: NDArray[np.int64] | None = None
    """(F,) int64: which of the steps those are; S stands for the finished ``x0``."""
    inner_x_t: Float32 | None = None
    """(B, E, C, H, W) float32: the states of E further evaluations within steps, as samplers of order 2 make them."""
    inner_eps_pred: Float32 | None = None
    """(B, E, C, H, W) float32: the predicted noise at those states, after guidance."""
    inner_steps: NDArray[np.int64] | None = None
    """(E,) int64: which of the steps 0 .. S-1 each belongs to."""
    inner_timesteps: NDArray[np.float64] | None = None
    """(E,) float64: the timestep of each."""
    stopped: str = ""
    """Where the recording was cut off, how far it got; nothing where it is complete."""
    interventions: str = ""
    """Interventions between sampler and network, by name. ``timesteps`` and ``labels`` hold what the sampler gave."""
    prediction_type: str = "epsilon"
    """What the network predicts: epsilon, v_prediction, sample or flow. ``eps_pred`` and ``x0_pred`` are computed from
    it, whatever it is."""
    prompts: tuple[str, ...] = ()
    """(K,) the prompts that the labels stand for; empty where labels are classes."""
    conventions: Mapping[str, str] = field(default_factory=dict)
    """How a Recorder read the network's arguments, as text by role: ``x``, ``t``, ``labels``; ``timesteps``' count."""

    def __post_init__(self) -> None:
        check_trajectory(self)

    @property
    def num_images(self) -> int:
        """B, how many images were recorded together."""
        return self.x_t.shape[0]

    @property
    def num_steps(self) -> int:
        """S, how many network evaluations were recorded."""
        return self.x_t.shape[1]

    @property
    def snr(self) -> NDArray[np.float64]:
        """(S,) float64: the schedule's signal-to-noise ratio at each recorded step."""
        return self.alphas_cumprod / (1 - self.alphas_cumprod)

    @property
    def alphas_cumprod(self) -> NDArray[np.float64]:
        """(S,) float64: ᾱ, the signal's share of power, at each recorded step."""
        if self.step_alphas_cumprod is not None:
            return self.step_alphas_cumprod
        return self.schedule.alphas_cumprod[self.timesteps]

    @property
    def log_snr(self) -> NDArray[np.float64]:
        """(S,) float64: ln SNR at each recorded step, in nats; -inf where nothing of the image is left."""
        with np.errstate(divide="ignore"):
            return np.log(self.snr)

    @property
    def signal_scale(self) -> NDArray[np.float64]:
        """(S,) float64: a of x_t = a x_0 + b ε at each recorded step."""
        return scales(self.alphas_cumprod, self.schedule.scaling)[0]

    @property
    def noise_scale(self) -> NDArray[np.float64]:
        """(S,) float64: b of x_t = a x_0 + b ε at each recorded step."""
        return scales(self.alphas_cumprod, self.schedule.scaling)[1]

    def x0_unclipped(self, sample: int, step: int) -> NDArray[np.float64]:
        """Return (C, H, W) float64 x̂_0 before clipping, from ``x_t`` and ``eps_pred``.

        Where nothing of the image is left (a = 0), ε̂ implies no x̂_0, and ``x0_pred`` is returned as it was recorded.
        """
        share = self.alphas_cumprod[step]
        if share == 0:
            return self.x0_pred[sample, step].astype(np.float64)
        x_t, eps = (values[sample, step].astype(np.float64) for values in (self.x_t, self.eps_pred))
        return predict_x0(x_t, eps, share, self.schedule.scaling)

    @property
    def x0_beyond_scale(self) -> NDArray[np.float64]:
        """(B, S) float64: the share of pixels of x̂_0, before any clipping, that lie beyond [-1, 1]."""
        shares = np.empty((self.num_images, self.num_steps))
        for sample, step in np.ndindex(shares.shape):
            shares[sample, step] = (np.abs(self.x0_unclipped(sample, step)) > 1).mean()
        return shares

    @property
    def sampler_config(self) -> SamplerConfig:
        """How it was sampled. Which timesteps were visited is :attr:`timesteps`; their spacing is not recorded.

        Raises
        ------
        VizdiffUsageError
            Where another program sampled it, or its guidance scale is not known.
        """
        return SamplerConfig(
            self.sampler,
            self.num_steps,
            self.guidance_scale,
            variance=self.variance or VARIANCES[0],
            eta=self.eta,
            clip=self.clip,
        )

    @property
    def steps_left(self) -> NDArray[np.int64]:
        """(S,) int64: how many evaluations remain before each recorded state is finished, S .. 1."""
        return np.arange(self.num_steps, 0, -1)

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.x_t.shape[2:]))
        facts = [f"{self.num_images} × {self.num_steps} steps × ({shape})", SAMPLERS.get(self.sampler, self.sampler)]
        facts += [f"labels {listed(self.labels)}", f"seeds {listed(self.seeds)}", repr(self.schedule), self.stopped]
        return f"Trajectory({', '.join(fact for fact in facts if fact)})"

    def _repr_html_(self) -> str:
        """Return the first image's frames, and the facts, for a notebook."""
        from viz_diffusion.views.notebook import trajectory_html

        return trajectory_html(self)

    def plot_strip(
        self,
        ax: Axes | None = None,
        *,
        sample: int = 0,
        frames: int | Sequence[int] | str | None = None,
        spacing: str = "default",
    ) -> Figure:
        """Draw x_t, x̂_0 and ε̂ at chosen frames; see :func:`~viz_diffusion.views.strip.draw_strip`.

        Examples
        --------
        >>> trajectory.plot_strip().get_size_inches().round(2).tolist()
        [13.33, 7.5]
        """
        from viz_diffusion.views.strip import draw_strip

        return draw_strip(self, sample, frames, spacing, ax)

    def plot_decoded(self, ax: Axes | None = None, *, sample: int = 0) -> Figure:
        """Draw the pictures decoded from latents; see :func:`~viz_diffusion.views.decoded.draw_decoded`."""
        from viz_diffusion.views.decoded import draw_decoded

        return draw_decoded(self, sample, ax)

    def plot_feature_maps(
        self, ax: Axes | None = None, *, names: Sequence[str] | None = None, sample: int = 0
    ) -> Figure:
        """Draw recorded activations; see :func:`~viz_diffusion.views.feature_maps.draw_feature_maps`."""
        from viz_diffusion.views.feature_maps import draw_feature_maps

        return draw_feature_maps(self, names, sample, ax)

    def plot_comparison(
        self, changed: Trajectory, ax: Axes | None = None, *, sample: int = 0, frames: str | None = None
    ) -> Figure:
        """Draw another recording from the same noise beneath this one.

        See :func:`~viz_diffusion.views.comparison.draw_comparison`.
        """
        from viz_diffusion.views.comparison import draw_comparison

        return draw_comparison(self, changed, sample, frames, ax)

    def save(self, path: Path, *, dtype: str = WIDE, compress: bool = False) -> None:
        """Write a zarr v3 store: one array per field, with named dimensions; or a ``.zip`` of one.

        ``status: complete`` is part of what appears at ``path``; a store that was there before is
        replaced only when the new one is whole. One of float32 converts to netCDF with
        ``xarray.open_zarr(path, consolidated=False).to_netcdf("mine.nc")``; netCDF has no float16.

        Parameters
        ----------
        path
            A folder, or a file whose name ends in ``.zip``.
        dtype
            ``float32``, or ``float16`` for the fields over steps, which halves the size; values it cannot hold
            are kept as float32, and x̂_0, whose error would be multiplied, is stored and not derived.
        compress
            Whether chunks are compressed.

        Raises
        ------
        VizdiffInputError
            Where ``path`` is a folder of something else.
        VizdiffIOError
            Where the system refuses.
        """
        trajectory_files.write(self, Path(path), dtype=dtype, compress=compress)

    @classmethod
    def open(cls, path: Path, *, allow_partial: bool = False, samples: slice | None = None) -> Trajectory:
        """Read a store, folder or ``.zip``, written by :meth:`save` or by a Recorder; every chunk is checked.

        Parameters
        ----------
        path
            Where it is. Where nothing is and a recording to it was cut off, that one is meant.
        allow_partial
            Whether one that was cut off will do: what it had written is returned, and ``stopped`` says how far
            that is. Of several batches, the finished ones.
        samples
            Which images to read; all of them by default.

        Raises
        ------
        VizdiffInputError
            Where there is no store, it is cut off or damaged, or an unknown version wrote it.
        """
        return trajectory_files.opened(cls, Path(path), allow_partial, samples)


def listed(numbers: NDArray[np.int64], most: int = 10) -> str:
    """Return numbers as text, -1 as not known, the last ones left out where they are many."""
    words = ["not known" if n < 0 else str(n) for n in numbers[:most]]
    return ", ".join(words) + (" …" if len(numbers) > most else "")
