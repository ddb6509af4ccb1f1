"""Pictures that tests encode again and again, as PNG or WebP in memory, encoded once in a process.

The same figure is drawn for reports, slides and pages in two languages: its images are the same pixels, and encoding
them takes a third of the time of a report. A picture is known by its pixels and by every option.
"""

from __future__ import annotations

import functools
import hashlib
import io
from collections import OrderedDict
from collections.abc import Iterator
from typing import Any

import pytest
from PIL import Image

MOST_BYTES = 100_000_000
"""What is kept in memory, at most."""


@pytest.fixture(autouse=True, scope="session")
def pictures_encoded_once() -> Iterator[None]:
    """Replace Pillow's saving of single pictures to memory; everything else is saved as ever."""
    kept: OrderedDict[object, bytes] = OrderedDict()
    save = Image.Image.save

    @functools.wraps(save)
    def saved(image: Image.Image, fp: Any, format: str | None = None, **options: Any) -> None:
        key = key_of(image, format, options) if isinstance(fp, io.BytesIO) else None
        if key is None:
            save(image, fp, format, **options)
            return
        if key not in kept:
            encoded = io.BytesIO()
            save(image, encoded, format, **options)
            kept[key] = encoded.getvalue()
            while sum(map(len, kept.values())) > MOST_BYTES:
                kept.popitem(last=False)
        fp.write(kept[key] if key in kept else encoded.getvalue())

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Image.Image, "save", saved)
        yield


def key_of(image: Image.Image, format: str | None, options: dict[str, Any]) -> object:
    """Return what the encoded bytes depend on; None where that is more than pixels and plain options."""
    plain = all(isinstance(value, int | float | str | bytes | tuple | None) for value in options.values())
    if str(format).upper() not in ("PNG", "WEBP") or not plain or options.get("save_all") or image.info:
        return None
    palette = None if image.palette is None else (image.palette.mode, bytes(image.palette.palette))
    pixels = hashlib.blake2b(image.tobytes()).digest()
    return str(format).upper(), image.mode, image.size, palette, pixels, tuple(sorted(options.items()))
