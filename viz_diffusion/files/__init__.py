"""Files and folders: atomic writes, locks, checksums, strict JSON, the cache folder.

A file is either complete or absent. Knows nothing about what the files mean.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import suppress
from pathlib import Path

from viz_diffusion.files.boundary import (
    LARGEST_TEXT,
    damage_named,
    parse_json,
    read_arrays,
    read_regular,
    require_memory,
)
from viz_diffusion.files.checked import (
    MANIFEST_VERSION,
    read_checked,
    read_json,
    sha256_bytes,
    sha256_file,
    to_json,
    write_json,
    write_manifest,
)
from viz_diffusion.files.creating import (
    create_file,
)
from viz_diffusion.files.locking import (
    lock,
)
from viz_diffusion.files.writing import (
    append_bytes,
    atomic_dir,
    atomic_write,
    empty_dirs_removed,
    follow,
    io_errors,
    make_dir,
    make_parent,
    remove_dir,
    replace_dir,
    sweep,
    sync_dir,
    sync_file,
    write_bytes,
)

__all__ = [
    "LARGEST_TEXT",
    "MANIFEST_VERSION",
    "append_bytes",
    "atomic_dir",
    "atomic_write",
    "cache_dir",
    "create_file",
    "damage_named",
    "empty_dirs_removed",
    "follow",
    "io_errors",
    "lock",
    "make_dir",
    "make_parent",
    "parse_json",
    "read_arrays",
    "read_checked",
    "read_json",
    "read_regular",
    "remove_dir",
    "replace_dir",
    "require_memory",
    "sha256_bytes",
    "sha256_file",
    "sweep",
    "sync_dir",
    "sync_file",
    "to_json",
    "write_bytes",
    "write_json",
    "write_manifest",
]


def cache_dir() -> Path:
    """Return the folder for downloads, an absolute path: in ``XDG_CACHE_HOME``, or in the system's cache folder.

    A variable that is empty or holds a relative path counts as unset, as the XDG specification says. Where no home
    folder is known either, it is a folder of this user among the temporary files.
    """
    variables = ("XDG_CACHE_HOME", "LOCALAPPDATA") if sys.platform == "win32" else ("XDG_CACHE_HOME",)
    for name in variables:
        if (base := Path(os.environ.get(name, ""))).is_absolute():
            return base / "viz_diffusion"
    below = {"win32": ("AppData", "Local"), "darwin": ("Library", "Caches")}.get(sys.platform, (".cache",))
    with suppress(RuntimeError):
        if (home := Path.home()).is_absolute():
            return home.joinpath(*below, "viz_diffusion")
    user = os.getuid() if hasattr(os, "getuid") else os.environ.get("USERNAME", "")
    return Path(tempfile.gettempdir()).absolute() / f"viz_diffusion-{user}"
