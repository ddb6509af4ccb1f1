"""A file that is created where there is none: by one process of several, whole, also without hard links."""

from __future__ import annotations

import errno
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from viz_diffusion.errors import VizdiffIOError
from viz_diffusion.files import create_file


@pytest.mark.parametrize("has_links", [True, False])
def test_one_of_several_creates_the_file(has_links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any) -> None:
        raise OSError(errno.EPERM, "no hard links here")

    if not has_links:
        monkeypatch.setattr(os, "link", refused)
    path = tmp_path / "a.json"
    with ThreadPoolExecutor(8) as pool:
        made = list(pool.map(lambda number: create_file(path, b"%d" % number * 1000), range(8)))
    assert sum(made) == 1
    assert path.read_bytes() == b"%d" % made.index(True) * 1000
    assert not create_file(path, b"late")
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]


def test_a_refusal_of_the_system_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(VizdiffIOError, match=r"cannot write .*nowhere"):
        create_file(tmp_path / "nowhere" / "a.json", b"")
