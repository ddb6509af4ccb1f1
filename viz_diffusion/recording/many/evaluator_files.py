"""Samples of a store as the files that other programs' evaluators read, written chunk by chunk.

``.npz``: ``arr_0``, (N, H, W, 3) uint8, and ``arr_1``, (N,) int64 labels, as the evaluator of ADM (Dhariwal & Nichol
2021) reads them. ``.zip``: PNG files and ``dataset.json``, as the evaluators of EDM and EDM2 (Karras et al. 2022, 2024)
read them. Both want colours, so grey images are written as RGB.
"""

from __future__ import annotations

import io
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.files import atomic_write, to_json
from viz_diffusion.recording.many.samples import SampleStore

ENDINGS = (".npz", ".zip")
_IMAGES_A_FOLDER = 1000


def write_evaluator_file(store: SampleStore, path: Path) -> None:
    """Write the samples of a store; the name's ending says for which evaluator.

    Raises
    ------
    VizdiffInputError
        Where a chunk of the store is missing or damaged.
    VizdiffIOError
        Where the file cannot be written.
    """
    write = _write_arrays if path.suffix.lower() == ".npz" else _write_pictures
    with atomic_write(path) as handle:
        write(store, handle)


def _write_arrays(store: SampleStore, handle: IO[bytes]) -> None:
    labels: list[NDArray[np.int64]] = []
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_DEFLATED) as archive:
        with archive.open(_member("arr_0.npy"), "w", force_zip64=True) as member:
            for images, own in _colour(store):
                if not labels:
                    shape = (len(store), *images.shape[1:])
                    header = {"descr": "|u1", "fortran_order": False, "shape": shape}
                    np.lib.format.write_array_header_1_0(member, header)
                member.write(images.tobytes())
                labels.append(own)
        with archive.open(_member("arr_1.npy"), "w") as member:
            np.lib.format.write_array(member, np.concatenate(labels), version=(1, 0), allow_pickle=False)


def _write_pictures(store: SampleStore, handle: IO[bytes]) -> None:
    from PIL import Image

    listed: list[tuple[str, int]] = []
    with zipfile.ZipFile(handle, "w", zipfile.ZIP_STORED) as archive:
        for images, labels in _colour(store):
            for image, label in zip(images, labels.tolist(), strict=True):
                name = f"{len(listed) // _IMAGES_A_FOLDER:05d}/img{len(listed):08d}.png"
                data = io.BytesIO()
                Image.fromarray(image).save(data, "PNG")
                archive.writestr(_member(name), data.getvalue())
                listed.append((name, label))
        archive.writestr(_member("dataset.json"), to_json({"labels": listed}))


def _colour(store: SampleStore) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.int64]]]:
    """Yield (b, H, W, 3) images and (b,) labels, chunk after chunk."""
    for images, labels, _ in store.chunks():
        last = np.moveaxis(images, 1, -1)
        yield np.ascontiguousarray(last if last.shape[-1] == 3 else last.repeat(3, axis=-1)), labels


def _member(name: str) -> zipfile.ZipInfo:
    """Return a member whose time is fixed, so that the same samples make the same file."""
    info = zipfile.ZipInfo(name)
    info.compress_type = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
    return info
