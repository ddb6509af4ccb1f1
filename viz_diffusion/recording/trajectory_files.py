"""A trajectory on disk: written as a zarr v3 store, folder or ``.zip``, and read back."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from viz_diffusion.diffusion.scaling import SCALINGS
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.errors import VizdiffError, VizdiffInputError
from viz_diffusion.files import atomic_dir, damage_named, io_errors
from viz_diffusion.recording.store.fields import ACTIVATIONS, FIELDS, INNER_FIELDS, OPTIONAL_FIELDS, RecordingWriter
from viz_diffusion.recording.store.layout import CHUNK_STEPS, partial_path
from viz_diffusion.recording.store.reader import Extent, StoreReader, pack
from viz_diffusion.recording.store.writer import StoreWriter, refuse_other_folders
from viz_diffusion.stopping import temporary

if TYPE_CHECKING:
    from viz_diffusion.recording.trajectory import Trajectory

_FACTS = (
    "sampler",
    "variance",
    "eta",
    "guidance_scale",
    "clip",
    "weights_sha256",
    "interventions",
    "prediction_type",
    "prompts",
    "conventions",
)
_LATER_FACTS: dict[str, Any] = {"eta": 0.0, "interventions": "", "prediction_type": "epsilon", "conventions": {}}
"""Facts that the first recordings lack, and what held for them. Prompts are only kept where there are any."""

_ALONE, _BLOCKS = (
    "record it again, or open it with `allow_partial`",
    "the command that began it makes the rest: `resume`",
)
"""What to do about a recording that was cut off: one of its own, and one that is made in blocks."""


def write(trajectory: Trajectory, path: Path, *, dtype: str, compress: bool) -> None:
    """Write a trajectory; see :meth:`Trajectory.save`."""
    if path.suffix == ".zip":
        with io_errors("write", path), tempfile.TemporaryDirectory() as folder, temporary(folder):
            write_to(trajectory, StoreWriter(Path(folder), dtype=dtype, compress=compress))
            pack(Path(folder), path)
        return
    refuse_other_folders(path)
    with atomic_dir(path) as folder_path:
        write_to(trajectory, StoreWriter(folder_path, dtype=dtype, compress=compress))


def write_to(trajectory: Trajectory, store: StoreWriter) -> None:
    """Write a trajectory to a store, as its only content."""
    facts = facts_of(trajectory.schedule, **{name: getattr(trajectory, name) for name in _FACTS})
    writer = RecordingWriter(
        store, trajectory.schedule.betas, facts, aim_samples=trajectory.num_images, aim_steps=trajectory.num_steps
    )
    fields = {name: getattr(trajectory, name) for name in FIELDS if getattr(trajectory, name) is not None}
    for first in range(0, max(1, trajectory.num_steps), CHUNK_STEPS):
        part = slice(first, first + CHUNK_STEPS)
        writer.put_steps(
            {name: values[:, part] for name, values in fields.items()},
            trajectory.timesteps[part],
            trajectory.alphas_cumprod[part],
            own_alphas=trajectory.step_alphas_cumprod is not None,
        )
    writer.put_labels(trajectory.labels, trajectory.seeds)
    if trajectory.activation_steps is not None:
        for first in range(0, len(trajectory.activation_steps), CHUNK_STEPS):
            part = slice(first, first + CHUNK_STEPS)
            kept = {name: values[:, part] for name, values in trajectory.activations.items()}
            writer.put_activations(kept, trajectory.activation_steps[part])
    if trajectory.decoded is not None and trajectory.decoded_steps is not None:
        writer.put_decoded(trajectory.decoded, trajectory.decoded_steps)
    inner = {name: getattr(trajectory, name) for name in INNER_FIELDS if getattr(trajectory, name) is not None}
    writer.put_inner(inner)
    writer.finish_batch(trajectory.x0)
    writer.commit(complete=not trajectory.stopped)


def opened(kind: type[Trajectory], path: Path, allow_partial: bool, samples: slice | None) -> Trajectory:
    """Return the trajectory in a file; see :meth:`Trajectory.open`."""
    fields = read(path, allow_partial, samples)
    try:
        return kind(**fields)
    except VizdiffError as error:  # arrays that do not fit each other
        raise VizdiffInputError(f"{path} is damaged ({error}); record it again") from error


def read(path: Path, allow_partial: bool, samples: slice | None) -> dict[str, Any]:
    """Read the fields of a trajectory; see :meth:`Trajectory.open`."""
    if not path.exists() and (partial_path(path) / "zarr.json").is_file():
        path = partial_path(path)
    if not path.exists():
        raise VizdiffInputError(f"{path}: there is no such recording; make one with: vizdiff trajectory --digit 5")
    if path.exists() and not path.is_dir() and not path.is_file():
        raise VizdiffInputError(f"{path} must be a folder or a file; it is a pipe or a device")
    if not (path / "zarr.json").is_file() and not zipfile.is_zipfile(path):
        raise VizdiffInputError(f"{path} is not a recording; make one with: vizdiff trajectory --digit 5")
    with io_errors("read", path), damage_named(path, "record it again"):
        try:
            reader = StoreReader(path)
            try:
                extent = reader.extent
                if not extent.complete and not (allow_partial and extent.steps):
                    raise _CutOffError(f"{extent.words}; {_BLOCKS if 'plan' in reader.attrs else _ALONE}")
                return read_fields(reader, extent, samples)
            finally:
                reader.close()
        except _CutOffError as error:
            raise VizdiffInputError(f"{path} was cut off after {error}") from None
        except VizdiffError as error:
            raise VizdiffInputError(f"{path} is damaged ({error}); record it again") from error


class _CutOffError(Exception):
    """A recording was never finished."""


def facts_of(schedule: NoiseSchedule, **facts: Any) -> dict[str, Any]:
    """Return the facts of a recording as its store keeps them; JSON has no NaN, so that is None."""
    scale = facts["guidance_scale"]
    about = {"schedule": schedule.name, "scaling": schedule.scaling}
    prompts = {"prompts": list(said)} if (said := facts.pop("prompts", ())) else {}
    return {**about, **_LATER_FACTS, **facts, **prompts, "guidance_scale": None if np.isnan(scale) else scale}


def read_fields(reader: StoreReader, extent: Extent, samples: slice | None) -> dict[str, Any]:
    """Read all of a Trajectory's fields, as far as they extend."""
    rows = slice(*(samples or slice(None)).indices(extent.samples))
    spans = {"sample": rows, "step": slice(0, extent.steps)}
    names = reader.names()
    optional = (*OPTIONAL_FIELDS, "step_alphas_cumprod", "activation_steps", "decoded", "decoded_steps", *INNER_FIELDS)
    wanted = (*FIELDS, "timesteps", "labels", "seeds", *optional[2:])
    arrays: dict[str, Any] = {
        name: reader.read(name, spans) for name in wanted if name in names or name not in optional
    }
    reader.read("snr", spans)  # follows from the rest; kept for other readers, and checked with it
    if extent.complete or reader.attrs["recorded"]["samples"]:
        arrays["x0"] = reader.read("x0", spans)
    else:
        arrays["x0"] = np.full_like(arrays["x_t"][:, 0], np.nan)
    steps = arrays.get("activation_steps")
    if steps is not None:
        arrays["activation_steps"] = steps = steps[steps < extent.steps]
        kept = spans | {"kept": slice(0, len(steps))}
        arrays["activations"] = {name: reader.read(f"{ACTIVATIONS}/{name}", kept) for name in reader.names(ACTIVATIONS)}
    later = {**_LATER_FACTS, "prompts": []}
    stored = {name: reader.attrs[name] for name in _FACTS if name in reader.attrs or name not in later}
    facts = later | stored
    facts["prompts"] = tuple(map(str, facts["prompts"]))
    facts["guidance_scale"] = np.nan if facts["guidance_scale"] is None else facts["guidance_scale"]
    scaling = reader.attrs.get("scaling", SCALINGS[0])  # the first recordings lack it
    schedule = NoiseSchedule(reader.read("betas"), str(reader.attrs["schedule"]), scaling)
    return {"schedule": schedule, **arrays, **facts, "stopped": "" if extent.complete else extent.words}
