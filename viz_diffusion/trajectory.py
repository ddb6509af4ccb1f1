"""A recorded generation: every state, every guess and every predicted noise, in memory or as a zarr store.

Knows nothing about networks or figures, and never imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffError, VizdiffInputError
from viz_diffusion.files import atomic_dir, io_errors
from viz_diffusion.fragments import facts, picture, strip, whole
from viz_diffusion.schedule import NoiseSchedule
from viz_diffusion.timesteps import SAMPLERS

Float32 = NDArray[np.float32]
SCHEMA_VERSION = 1
_FIELDS = ("x_t", "eps_pred", "x0_pred", "eps_cond", "eps_uncond")
_OPTIONAL = ("eps_cond", "eps_uncond")
_FACTS = ("sampler", "variance", "eta", "guidance_scale", "clip", "weights_sha256", "interventions")
_LATER_FACTS: dict[str, Any] = {"eta": 0.0, "interventions": ""}
"""Facts that the first recordings lack, and what held for them."""
_CHUNK = (16, 50)
"""Samples and steps per chunk."""
_SHOWN_SHARES = (1.0, 0.65, 0.5, 0.35, 0.2, 0.1)
"""Shares of the steps that are left at the frames a notebook shows."""


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
    timesteps: NDArray[np.int64]
    """(S,) int64, strictly falling, each in 0 .. T-1."""
    x_t: Float32
    """(B, S, C, H, W) float32: what entered the denoiser."""
    eps_pred: Float32
    """(B, S, C, H, W) float32: the predicted noise that was used, after guidance."""
    x0_pred: Float32
    """(B, S, C, H, W) float32: the finished image that prediction implies, clipped where ``clip``."""
    x0: Float32
    """(B, C, H, W) float32: the finished images."""
    labels: NDArray[np.int64]
    """(B,) int64: the digit that was asked for; -1 where there was no label."""
    seeds: NDArray[np.int64]
    """(B,) int64: the seed of each image's noise; -1 where it is not known."""
    eps_cond: Float32 | None = None
    """(B, S, C, H, W) float32: the prediction under the label, where guidance mixed two."""
    eps_uncond: Float32 | None = None
    """(B, S, C, H, W) float32: the prediction under the null label, where guidance mixed two."""
    sampler: str = ""
    """ddpm, ddim, dpm-solver++, or what the recorder was told."""
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
    interventions: str = ""
    """What stood between sampler and network; nothing where the network was told t and label as they were
    asked. ``timesteps`` and ``labels`` hold what was asked, ``eps_pred`` what came back."""

    def __post_init__(self) -> None:
        shape = self.x_t.shape
        if len(shape) != 5 or self.timesteps.shape != shape[1:2]:
            raise VizdiffInputError(
                f"a trajectory needs x_t of shape (B,S,C,H,W) and S timesteps, found {shape} and {self.timesteps.shape}"
            )
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(_FIELDS, shape)
        expected |= {"x0": shape[:1] + shape[2:], "labels": shape[:1], "seeds": shape[:1]}
        for name, want in expected.items():
            array = getattr(self, name)
            if array is None and name in _OPTIONAL:
                continue
            if array.shape != want:
                raise VizdiffInputError(f"a trajectory's {name} must have shape {want}, found {array.shape}")
        if not np.all(np.diff(self.timesteps) < 0):
            raise VizdiffInputError("a trajectory's timesteps must fall strictly")
        if shape[1] and not 0 <= self.timesteps[-1] <= self.timesteps[0] < self.schedule.num_train_timesteps:
            raise VizdiffInputError(f"a trajectory's timesteps must lie below {self.schedule.num_train_timesteps}")

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
        return self.schedule.snr[self.timesteps]

    @property
    def alphas_cumprod(self) -> NDArray[np.float64]:
        """(S,) float64: ᾱ, the signal's share of power, at each recorded step."""
        return self.schedule.alphas_cumprod[self.timesteps]

    @property
    def x0_beyond_scale(self) -> NDArray[np.float64]:
        """(B, S) float64: the share of pixels of x̂_0, before any clipping, that lie beyond [-1, 1]."""
        shares = np.empty((self.num_images, self.num_steps))
        for step, t in enumerate(self.timesteps):
            raw = self.schedule.predict_x0(self.x_t[:, step], self.eps_pred[:, step], int(t))
            shares[:, step] = (np.abs(raw) > 1).mean(axis=(1, 2, 3))
        return shares

    @property
    def steps_left(self) -> NDArray[np.int64]:
        """(S,) int64: how many evaluations remain before each recorded state is finished, S .. 1."""
        return np.arange(self.num_steps, 0, -1)

    def _repr_html_(self) -> str:
        """Show the first image's frames, and the facts, in a notebook."""
        title = f"Trajectory of {self.num_images} image{'s' if self.num_images != 1 else ''}"
        left = np.round(np.array(_SHOWN_SHARES) * self.num_steps).astype(np.int64)
        frames = [(int(n), self.num_steps - int(n)) for n in np.unique(left[left > 0])[::-1]]
        strips = []
        if self.num_images:
            x_t = [(f"{n}", picture(self.x_t[0, k], f"x_t with {n} steps left")) for n, k in frames]
            x_t.append(("finished", picture(self.x0[0], "the finished image")))
            guess = [(f"{n}", picture(self.x0_pred[0, k], f"guess with {n} steps left")) for n, k in frames]
            strips = [strip("x_t, by steps left", x_t), strip("the guess of the finished image", guess)]
        label = f", digit {self.labels[0]}" if self.num_images and self.labels[0] >= 0 else ""
        sampler = SAMPLERS.get(self.sampler, self.sampler) or "unknown sampler"
        first = "the first is shown: " if self.num_images > 1 else ""
        note = f"({first}{self.num_steps} steps{label}, {sampler})"
        known = {True: f"{self.guidance_scale:g}", False: "not known"}
        pairs = (
            ("images × steps × image", " × ".join(map(str, self.x_t.shape))),
            ("labels", _listed(self.labels)),
            ("seeds", _listed(self.seeds)),
            ("sampler", sampler),
            ("variance", self.variance or "none"),
            ("guidance", known[bool(np.isfinite(self.guidance_scale))]),
            ("x̂_0 clipped", "yes" if self.clip else "no"),
            ("schedule", f"{self.schedule.name}, T = {self.schedule.num_train_timesteps}"),
            ("weights", self.weights_sha256 or "not known"),
        )
        return whole(title, note, *strips, facts("facts", pairs))

    def save(self, path: Path) -> None:
        """Write a zarr v3 store: one uncompressed array per field, with named dimensions.

        ``status: complete`` is part of what appears at ``path``; a store that was there before is
        replaced only when the new one is whole.

        Raises
        ------
        VizdiffIOError
            Where the system refuses.
        """
        import zarr

        path = Path(path)
        if path.is_dir() and any(path.iterdir()) and not (path / "zarr.json").is_file():
            raise VizdiffInputError(f"{path} is a folder of something else; choose another place for the recording")
        with atomic_dir(path) as folder:
            group = zarr.create_group(str(folder))
            images = ("sample", "step", "channel", "y", "x")
            dimensions = dict.fromkeys(_FIELDS, images) | {
                "x0": ("sample", "channel", "y", "x"),
                "timesteps": ("step",),
                "snr": ("step",),
                "labels": ("sample",),
                "seeds": ("sample",),
                "betas": ("timestep",),
            }
            for name, axes in dimensions.items():
                data = self.schedule.betas if name == "betas" else getattr(self, name)
                if data is None:
                    continue
                sizes = (*_CHUNK, *data.shape[2:]) if axes is images else data.shape
                chunks = tuple(max(1, min(want, have)) for want, have in zip(sizes, data.shape, strict=True))
                array = group.create_array(
                    name, shape=data.shape, dtype=data.dtype, chunks=chunks,
                    compressors=None, fill_value=np.nan if data.dtype.kind == "f" else 0, dimension_names=axes,
                    config={"write_empty_chunks": True},  # else a chunk of zeros looks like a missing one
                )  # fmt: skip
                array[...] = data
            facts = {name: getattr(self, name) for name in _FACTS}
            if np.isnan(self.guidance_scale):
                facts["guidance_scale"] = None  # JSON has no NaN
            group.attrs.update({"schema_version": SCHEMA_VERSION, "schedule": self.schedule.name, **facts})
            group.attrs["status"] = "complete"

    @classmethod
    def open(cls, path: Path) -> Trajectory:
        """Read a store written by :meth:`save`.

        Raises
        ------
        VizdiffInputError
            Where there is no store, it is incomplete or damaged, or another version wrote it.
        """
        import zarr

        path = Path(path)
        if not (path / "zarr.json").is_file():
            raise VizdiffInputError(f"{path} is not a recording; make one with: vizdiff trajectory --digit 5")
        with io_errors("read", path):
            try:
                group = zarr.open_group(str(path), mode="r")
                attrs: dict[str, Any] = dict(group.attrs)
                if attrs.get("schema_version") != SCHEMA_VERSION or attrs.get("status") != "complete":
                    raise VizdiffInputError(f"not a complete recording of schema {SCHEMA_VERSION}")
                arrays = {name: _read(group, name, path) for name in (*_FIELDS, "x0", "betas")}
                arrays |= {name: _read(group, name, path) for name in ("timesteps", "labels", "seeds")}
                stored = {name: attrs[name] for name in _FACTS if name in attrs or name not in _LATER_FACTS}
                facts = _LATER_FACTS | stored
                facts["guidance_scale"] = np.nan if facts["guidance_scale"] is None else facts["guidance_scale"]
                schedule = NoiseSchedule(arrays.pop("betas"), str(attrs["schedule"]))
                return cls(schedule=schedule, **arrays, **facts)
            except (VizdiffError, KeyError, ValueError, TypeError, AttributeError) as error:
                raise VizdiffInputError(f"{path} is damaged ({error}); record it again") from error


def _listed(numbers: NDArray[np.int64], most: int = 10) -> str:
    """Return numbers as text, -1 as not known, the last ones left out where they are many."""
    words = ["not known" if n < 0 else str(n) for n in numbers[:most]]
    return ", ".join(words) + (" …" if len(numbers) > most else "")


def _read(group: Any, name: str, path: Path) -> Any:
    """Return one array; None for an optional one that is not there. A missing chunk is named."""
    if name in _OPTIONAL and name not in group:
        return None
    array = group[name]
    missing = array.nchunks - array.nchunks_initialized
    if missing:
        raise VizdiffInputError(f"{path / name}: {missing} of {array.nchunks} chunks are missing")
    return array[...]
