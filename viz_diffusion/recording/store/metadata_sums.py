"""SHA-256 of a store's metadata, in its root: of each array's ``zarr.json``, and of the root's own attributes.

The sums are of the JSON values and not of their bytes, so that another program may write them in another layout.
Recordings that were made before there were sums have none, and are read without that check.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import sha256_bytes

ATTRIBUTE = "metadata_sha256"
"""The root's attribute with the sums, JSON text: by array, and the root's own under an empty name."""


def sealed(root: dict[str, Any], read: Callable[[str], Mapping[str, Any]], names: Iterable[str]) -> dict[str, Any]:
    """Return a root's ``zarr.json`` with the sums of its arrays and of itself.

    Parameters
    ----------
    read
        Returns the ``zarr.json`` of an array, by its name.
    names
        The arrays; none while a recording grows.
    """
    attributes = {name: value for name, value in root["attributes"].items() if name != ATTRIBUTE}
    sums = {name: _digest(read(name)) for name in names}
    sums[""] = _digest({**root, "attributes": attributes, "arrays": sums})
    return {**root, "attributes": {**attributes, ATTRIBUTE: json.dumps(sums)}}


def checked_sums(root: Mapping[str, Any]) -> dict[str, str]:
    """Return the sums of the arrays in a root's ``zarr.json``; empty where it has none.

    Raises
    ------
    VizdiffInputError
        Where the root is not what was written.
    """
    attributes = dict(root["attributes"])
    text = attributes.pop(ATTRIBUTE, None)
    if text is None:
        return {}
    sums = json.loads(text)
    own = sums.pop("")
    if own != _digest({**root, "attributes": attributes, "arrays": sums}):
        raise VizdiffInputError("zarr.json is not what was written: its values have another SHA-256 than was noted")
    return dict(sums)


def check_metadata(name: str, meta: Mapping[str, Any], sums: Mapping[str, str]) -> None:
    """Refuse an array's ``zarr.json`` that is not what was written.

    Raises
    ------
    VizdiffInputError
        Where its values have another SHA-256.
    """
    if name in sums and sums[name] != _digest(meta):
        raise VizdiffInputError(f"{name}/zarr.json is not what was written: its values have another SHA-256")


def _digest(value: Mapping[str, Any]) -> str:
    return sha256_bytes(json.dumps(value, sort_keys=True, allow_nan=True).encode())
