"""The folders of all studies: how many are kept, and what is removed."""

from __future__ import annotations

import os
from pathlib import Path

from viz_diffusion.files import lock
from viz_diffusion.study.study_folders import kept_studies, studies_dir, trim


def folder_of(name: str, size: int, used: int) -> Path:
    folder = studies_dir() / name
    folder.mkdir(parents=True)
    (folder / "recording.zip").write_bytes(bytes(size))
    os.utime(folder, (used, used))
    return folder


def test_studies_that_were_not_used_for_longest_make_room() -> None:
    folders = [folder_of(name, 1000, used) for name, used in (("old", 10), ("older", 5), ("new", 30), ("newer", 40))]
    assert kept_studies() == (4, 4000)
    trim(folders[0], 3000)
    assert {path.name for path in folders if path.exists()} == {"old", "newer", "new"}
    trim(folders[0], 2500)
    assert {path.name for path in folders if path.exists()} == {"old", "newer"}
    trim(folders[0], 10)
    assert [path.name for path in folders if path.exists()] == ["old"], "the study that is used now stays"


def test_what_a_killed_process_left_is_swept() -> None:
    newest = folder_of("new", 10, 20)
    left = folder_of(".gone.0123abcd.old", 10, 10)
    trim(newest)
    assert not left.exists()
    assert newest.exists()


def test_nothing_is_removed_while_another_process_removes() -> None:
    newest, old = folder_of("new", 10, 20), folder_of("old", 10, 10)
    with lock(studies_dir() / ".lock"):
        trim(newest, 0)
    assert old.exists()
    trim(newest, 0)
    assert not old.exists()
