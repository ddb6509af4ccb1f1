"""Add to the built pages what the theme leaves out for keyboards and screen readers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sphinx.application import Sphinx

ADDED = {
    '<p class="caption" role="heading">': '<p class="caption" role="heading" aria-level="2">',
    '<aside class="sidebar-drawer">': '<aside class="sidebar-drawer" aria-label="Pages">',
    '<aside class="toc-drawer">': '<aside class="toc-drawer" aria-label="On this page">',
    "<pre>": '<pre tabindex="0">',  # what is too wide scrolls, also by keys
    '<div class="table-wrapper ': '<div tabindex="0" class="table-wrapper ',
}


def add_attributes(app: Sphinx, exception: Exception | None) -> None:
    """Rewrite the pages that lack an attribute."""
    if exception is None and app.builder.format == "html":
        for path in Path(app.outdir).rglob("*.html"):
            before = after = path.read_text("utf-8")
            for old, new in ADDED.items():
                after = after.replace(old, new)
            if after != before:
                path.write_text(after, encoding="utf-8")


def setup(app: Sphinx) -> dict[str, Any]:
    """Rewrite pages after every build."""
    app.connect("build-finished", add_attributes)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
