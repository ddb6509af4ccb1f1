"""Strict JSON, checksums, and the manifest of a folder whose files are checked when they are read."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files.boundary import LARGEST_TEXT, parse_json, read_regular
from viz_diffusion.files.writing import write_bytes

MANIFEST_VERSION = 1


def sha256_bytes(data: bytes) -> str:
    """Return the SHA-256 of ``data`` as 64 hexadecimal digits."""
    return hashlib.sha256(data).hexdigest()


def sha256_file(path: Path) -> str:
    """Return the SHA-256 of a file's bytes as 64 hexadecimal digits."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


def to_json(value: Any, *, indent: int | None = None, ascii_only: bool = False) -> str:
    """Return strict JSON: NaN and infinity raise ``ValueError``, lone surrogates are escaped.

    All other Unicode is kept, or escaped too with ``ascii_only``.
    """
    text = json.dumps(value, indent=indent, allow_nan=False, ensure_ascii=ascii_only)
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def write_json(path: Path, value: Any) -> None:
    """Write ``value`` as indented JSON, atomically."""
    write_bytes(path, (to_json(value, indent=2) + "\n").encode())


def read_json(path: Path) -> dict[str, Any]:
    """Read one JSON object.

    Raises
    ------
    VizdiffInputError
        Where the file is missing, is not JSON, or is not an object.
    VizdiffIOError
        Where the system refuses to read it.
    """
    data = read_regular(path, LARGEST_TEXT)
    try:
        value = parse_json(data)
    except (ValueError, RecursionError, MemoryError) as error:
        raise VizdiffInputError(f"{path} is not readable JSON: {error}") from error
    if not isinstance(value, dict):
        raise VizdiffInputError(f"{path} must hold a JSON object, found {type(value).__name__}")
    return value


def write_manifest(folder: Path, names: list[str]) -> dict[str, str]:
    """Write ``manifest.json``, the SHA-256 of each named file; written last, it marks a folder as complete."""
    digests = {name: sha256_file(folder / name) for name in names}
    write_json(folder / "manifest.json", {"format_version": MANIFEST_VERSION, "sha256": digests})
    return digests


def read_checked(folder: Path, name: str) -> tuple[bytes, str]:
    """Read a file of a folder with a manifest; return its bytes and SHA-256.

    Raises
    ------
    VizdiffInputError
        Where the file is missing or is not what was written.
    """
    path, manifest_path = folder / name, folder / "manifest.json"
    manifest = read_json(manifest_path)
    version = manifest.get("format_version")
    if version != MANIFEST_VERSION:
        raise VizdiffInputError(f"{manifest_path}: expected format_version {MANIFEST_VERSION}, found {version}")
    digests = manifest.get("sha256")
    expected = digests.get(name) if isinstance(digests, dict) else None
    if not isinstance(expected, str):
        raise VizdiffInputError(f"{manifest_path} holds no SHA-256 of {name}; choose another `run`")
    if not path.exists():
        raise VizdiffInputError(f"{path} is missing: the run is half-written; train again or choose another `run`")
    data = read_regular(path)
    digest = sha256_bytes(data)
    if digest != expected:
        raise VizdiffInputError(
            f"{path} is not what was written: SHA-256 {digest[:12]}…, expected {expected[:12]}…; "
            "restore it or choose another `run`"
        )
    return data, digest
