"""Versions of the package, Python and the main libraries, read without importing the libraries."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

from viz_diffusion import __version__

_LIBRARIES = ("torch", "numpy", "matplotlib", "scikit-learn", "zarr", "pillow")


def versions() -> str:
    """Return this package's, Python's and the main libraries' versions, as one line."""
    found = [f"viz_diffusion {__version__}", f"Python {platform.python_version()}"]
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:  # vendored or renamed: leave it out rather than guess
            continue
    return ", ".join(found)
