"""Check that built pages load nothing from the network: a link may lead there, a picture, style or script may not."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from sphinx.application import Sphinx
from sphinx.errors import ExtensionError

LOADED = re.compile(
    r"""<(?:img|script|iframe|source|video)\b[^>]*\bsrc=["'](?:https?:)?//[^"']+"""
    r"""|<link\b[^>]*\bhref=["'](?:https?:)?//[^"']+|(?:@import|url\()\s*["']?(?:https?:)?//[^"')]+""",
    re.IGNORECASE,
)


def check_pages(app: Sphinx, exception: Exception | None) -> None:
    """Stop the build where a page or a style sheet names something to load from the network."""
    if exception is None and app.builder.format == "html":
        for path in sorted(Path(app.outdir).rglob("*")):
            found = LOADED.search(path.read_text("utf-8")) if path.suffix in (".html", ".css") else None
            if found:
                raise ExtensionError(f"{path.relative_to(app.outdir)} would load from the network: {found[0]}")


def setup(app: Sphinx) -> dict[str, Any]:
    """Check after every build."""
    app.connect("build-finished", check_pages)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
