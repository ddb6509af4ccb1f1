"""A recorded generation: every state, every guess and every predicted noise, in memory or as a zarr store.

Knows nothing about networks or figures, and never imports torch.
"""

from __future__ import annotations

import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.diffusion.schedule import NoiseSchedule, predict_x0
from viz_diffusion.diffusion.timesteps import SAMPLERS
from viz_diffusion.errors import VizdiffError, VizdiffInputError
from viz_diffusion.files import atomic_dir, io_errors
from viz_diffusion.recording.store.fields import ACTIVATIONS, FIELDS, OPTIONAL_FIELDS, RecordingWriter
from viz_diffusion.recording.store.layout import CHUNK_STEPS, WIDE, partial_path
from viz_diffusion.recording.store.reader import Reach, StoreReader, pack
from viz_diffusion.recording.store.writer import StoreWriter, refuse_other_folders
from viz_diffusion.text.notebook_html import facts, picture, strip, whole

Float32 = NDArray[np.float32]
_FACTS = ("sampler", "variance", "eta", "guidance_scale", "clip", "weights_sha256", "interventions")
_LATER_FACTS: dict[str, Any] = {"eta": 0.0, "interventions": ""}
"""Facts that the first recordings lack, and what held for them."""
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
    step_alphas_cumprod: NDArray[np.float64] | None = None
    """(S,) float64: ᾱ at each step where it does not follow from timesteps and schedule, as with fractional
    timesteps or a sampler's own noise levels; ``x_t`` is scaled to unit power all the same."""
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
    stopped: str = ""
    """Where the recording was cut off, how far it got; nothing where it is complete."""
    interventions: str = ""
    """What stood between sampler and network; nothing where the network was told t and label as they were
    asked. ``timesteps`` and ``labels`` hold what was asked, ``eps_pred`` what came back."""

    def __post_init__(self) -> None:
        shape = self.x_t.shape
        if len(shape) != 5 or self.timesteps.shape != shape[1:2]:
            raise VizdiffInputError(
                f"a trajectory needs x_t of shape (B,S,C,H,W) and S timesteps, found {shape} and {self.timesteps.shape}"
            )
        expected: dict[str, tuple[int, ...]] = dict.fromkeys(FIELDS, shape)
        expected |= {"x0": shape[:1] + shape[2:], "labels": shape[:1], "seeds": shape[:1]}
        for name, want in expected.items():
            array = getattr(self, name)
            if array is None and name in OPTIONAL_FIELDS:
                continue
            if array.shape != want:
                raise VizdiffInputError(f"a trajectory's {name} must have shape {want}, found {array.shape}")
        if not np.all(np.diff(self.timesteps) < 0):
            raise VizdiffInputError("a trajectory's timesteps must fall strictly")
        self._check_extras(shape[0])
        if shape[1] and not 0 <= self.timesteps[-1] <= self.timesteps[0] < self.schedule.num_train_timesteps:
            raise VizdiffInputError(f"a trajectory's timesteps must lie below {self.schedule.num_train_timesteps}")
        if self.step_alphas_cumprod is None and self.timesteps.dtype.kind != "i":
            raise VizdiffInputError("a trajectory's fractional timesteps need step_alphas_cumprod")
        if self.step_alphas_cumprod is not None and self.step_alphas_cumprod.shape != self.timesteps.shape:
            raise VizdiffInputError(f"a trajectory's step_alphas_cumprod must have shape {self.timesteps.shape}")

    def _check_extras(self, samples: int) -> None:
        kept = [*self.activations.items(), *([] if self.decoded is None else [("decoded", self.decoded)])]
        for name, values in kept:
            steps = self.decoded_steps if name == "decoded" else self.activation_steps
            if steps is None or values.shape[:2] != (samples, len(steps)):
                raise VizdiffInputError(f"a trajectory's {name} must begin with its samples and its steps")

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
        if self.step_alphas_cumprod is not None:
            return self.step_alphas_cumprod / (1 - self.step_alphas_cumprod)
        return self.schedule.snr[self.timesteps]

    @property
    def alphas_cumprod(self) -> NDArray[np.float64]:
        """(S,) float64: ᾱ, the signal's share of power, at each recorded step."""
        if self.step_alphas_cumprod is not None:
            return self.step_alphas_cumprod
        return self.schedule.alphas_cumprod[self.timesteps]

    @property
    def log_snr(self) -> NDArray[np.float64]:
        """(S,) float64: ln SNR at each recorded step, in nats."""
        return np.log(self.snr)

    @property
    def x0_beyond_scale(self) -> NDArray[np.float64]:
        """(B, S) float64: the share of pixels of x̂_0, before any clipping, that lie beyond [-1, 1]."""
        shares = np.empty((self.num_images, self.num_steps))
        for step, share in enumerate(self.alphas_cumprod):
            x_t, eps = (values[:, step].astype(np.float64) for values in (self.x_t, self.eps_pred))
            shares[:, step] = (np.abs(predict_x0(x_t, eps, share)) > 1).mean(axis=(1, 2, 3))
        return shares

    @property
    def steps_left(self) -> NDArray[np.int64]:
        """(S,) int64: how many evaluations remain before each recorded state is finished, S .. 1."""
        return np.arange(self.num_steps, 0, -1)

    def __repr__(self) -> str:
        shape = " × ".join(map(str, self.x_t.shape[2:]))
        facts = [f"{self.num_images} × {self.num_steps} steps × ({shape})", SAMPLERS.get(self.sampler, self.sampler)]
        facts += [f"labels {_listed(self.labels)}", f"seeds {_listed(self.seeds)}", repr(self.schedule), self.stopped]
        return f"Trajectory({', '.join(fact for fact in facts if fact)})"

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

    def save(self, path: Path, *, dtype: str = WIDE, compress: bool = False) -> None:
        """Write a zarr v3 store: one array per field, with named dimensions; or a ``.zip`` of one.

        ``status: complete`` is part of what appears at ``path``; a store that was there before is
        replaced only when the new one is whole.

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
        path = Path(path)
        if path.suffix == ".zip":
            with io_errors("write", path), tempfile.TemporaryDirectory() as folder:
                self._write(StoreWriter(Path(folder), dtype=dtype, compress=compress))
                pack(Path(folder), path)
            return
        refuse_other_folders(path)
        with atomic_dir(path) as folder_path:
            self._write(StoreWriter(folder_path, dtype=dtype, compress=compress))

    def _write(self, store: StoreWriter) -> None:
        facts = facts_of(self.schedule, **{name: getattr(self, name) for name in _FACTS})
        writer = RecordingWriter(
            store, self.schedule.betas, facts, aim_samples=self.num_images, aim_steps=self.num_steps
        )
        fields = {name: getattr(self, name) for name in FIELDS if getattr(self, name) is not None}
        for first in range(0, max(1, self.num_steps), CHUNK_STEPS):
            part = slice(first, first + CHUNK_STEPS)
            writer.put_steps(
                {name: values[:, part] for name, values in fields.items()},
                self.timesteps[part],
                self.alphas_cumprod[part],
                own_alphas=self.step_alphas_cumprod is not None,
            )
        writer.put_labels(self.labels, self.seeds)
        if self.activation_steps is not None:
            for first in range(0, len(self.activation_steps), CHUNK_STEPS):
                part = slice(first, first + CHUNK_STEPS)
                kept = {name: values[:, part] for name, values in self.activations.items()}
                writer.put_activations(kept, self.activation_steps[part])
        if self.decoded is not None and self.decoded_steps is not None:
            writer.put_decoded(self.decoded, self.decoded_steps)
        writer.finish_batch(self.x0)
        writer.commit(complete=not self.stopped)

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
        path = Path(path)
        if not path.exists() and (partial_path(path) / "zarr.json").is_file():
            path = partial_path(path)
        if not (path / "zarr.json").is_file() and not zipfile.is_zipfile(path):
            raise VizdiffInputError(f"{path} is not a recording; make one with: vizdiff trajectory --digit 5")
        with io_errors("read", path):
            try:
                reader = StoreReader(path)
                try:
                    reach = reader.reach
                    if not reach.complete and not (allow_partial and reach.steps):
                        raise _CutOffError(reach.words)
                    return cls(**_fields(reader, reach, samples))
                finally:
                    reader.close()
            except _CutOffError as error:
                raise VizdiffInputError(
                    f"{path} was cut off after {error}; record it again, or open it with `allow_partial`"
                ) from None
            except (VizdiffError, KeyError, ValueError, TypeError, AttributeError, MemoryError, EOFError) as error:
                raise VizdiffInputError(f"{path} is damaged ({error}); record it again") from error


class _CutOffError(Exception):
    """A recording was never finished."""


def facts_of(schedule: NoiseSchedule, **facts: Any) -> dict[str, Any]:
    """Return the facts of a recording as its store keeps them; JSON has no NaN, so that is None."""
    scale = facts["guidance_scale"]
    return {"schedule": schedule.name, **facts, "guidance_scale": None if np.isnan(scale) else scale}


def _fields(reader: StoreReader, reach: Reach, samples: slice | None) -> dict[str, Any]:
    """Read all of a Trajectory's fields, as far as they reach."""
    rows = slice(*(samples or slice(None)).indices(reach.samples))
    spans = {"sample": rows, "step": slice(0, reach.steps)}
    names = reader.names()
    optional = (*OPTIONAL_FIELDS, "step_alphas_cumprod", "activation_steps", "decoded", "decoded_steps")
    wanted = (*FIELDS, "timesteps", "labels", "seeds", *optional[2:])
    arrays: dict[str, Any] = {
        name: reader.read(name, spans) for name in wanted if name in names or name not in optional
    }
    reader.read("snr", spans)  # follows from the rest; kept for other readers, and checked with it
    if reach.complete or reader.attrs["recorded"]["samples"]:
        arrays["x0"] = reader.read("x0", spans)
    else:
        arrays["x0"] = np.full_like(arrays["x_t"][:, 0], np.nan)
    steps = arrays.get("activation_steps")
    if steps is not None:
        arrays["activation_steps"] = steps = steps[steps < reach.steps]
        kept = spans | {"kept": slice(0, len(steps))}
        arrays["activations"] = {name: reader.read(f"{ACTIVATIONS}/{name}", kept) for name in reader.names(ACTIVATIONS)}
    stored = {name: reader.attrs[name] for name in _FACTS if name in reader.attrs or name not in _LATER_FACTS}
    facts = _LATER_FACTS | stored
    facts["guidance_scale"] = np.nan if facts["guidance_scale"] is None else facts["guidance_scale"]
    schedule = NoiseSchedule(reader.read("betas"), str(reader.attrs["schedule"]))
    return {"schedule": schedule, **arrays, **facts, "stopped": "" if reach.complete else reach.words}


def _listed(numbers: NDArray[np.int64], most: int = 10) -> str:
    """Return numbers as text, -1 as not known, the last ones left out where they are many."""
    words = ["not known" if n < 0 else str(n) for n in numbers[:most]]
    return ", ".join(words) + (" …" if len(numbers) > most else "")
