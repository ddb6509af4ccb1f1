"""Fill the generated pages while the site is built; see ``package_text``."""

from __future__ import annotations

from typing import Any

from package_text import MARKER, fill, gallery_figures
from sphinx.application import Sphinx
from sphinx.environment import BuildEnvironment
from sphinx.util import logging

LOGGER = logging.getLogger(__name__)


def outdated(_app: Sphinx, env: BuildEnvironment, *_: set[str]) -> list[str]:
    """Return the pages with a marker: they are read in every build, since what they come from may have changed."""
    return [name for name in env.found_docs if MARKER.search(env.doc2path(name).read_text("utf-8"))]


def read(_app: Sphinx, name: str, source: list[str]) -> None:
    """Replace the markers of a page."""
    source[0] = fill(source[0])
    if name == "gallery":
        for figure in gallery_figures():
            if figure.picture is None:
                LOGGER.warning("figure %s has no picture: run python scripts/draw_docs_pictures.py", figure.name)


def setup(app: Sphinx) -> dict[str, Any]:
    """Fill pages when they are read."""
    app.connect("env-get-outdated", outdated)
    app.connect("source-read", read)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
