"""A save that is killed at any of its system calls leaves the old checkpoint or the new one, complete."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
HELPERS = ROOT / "tests" / "helpers"


@pytest.fixture(scope="module")
def saves(tmp_path_factory: pytest.TempPathFactory) -> dict:
    if shutil.which("strace") is None:
        pytest.skip("strace is not installed")
    command = [sys.executable, str(HELPERS / "save_driver.py"), str(tmp_path_factory.mktemp("saves"))]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": os.pathsep.join([str(ROOT), *sys.path])}
    ended = subprocess.run(command, capture_output=True, text=True, timeout=280, env=environment, check=False)
    if "strace may not trace here" in ended.stderr:
        pytest.skip(ended.stderr.strip())
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout)


def test_a_kill_at_any_call_leaves_the_old_or_the_new_checkpoint(saves: dict) -> None:
    kills = saves["kills"]
    assert {kill["call"] for kill in kills} == {"write", "fsync", "rename", "remove"}
    assert len(kills) > 25
    assert [kill for kill in kills if kill["result"] not in ("old", "new")] == []
    assert {kill["result"] for kill in kills} == {"old", "new"}
    assert [kill for kill in kills if kill["leftovers"]] == []


def test_every_file_is_written_flushed_and_renamed_and_then_its_folder_flushed(saves: dict) -> None:
    """As the traced calls show, for every file and for the folder of the checkpoint."""
    calls: list[tuple[str, str]] = []
    for line in saves["trace"]:
        if call := re.search(r"\b(write|fsync)\(\d+<([^>]*)>", line):
            calls.append((call[1], call[2]))
        elif rename := re.search(r"\brename\w*\([^\"]*\"([^\"]*)\"[^\"]*\"([^\"]*)\"", line):
            calls += [("rename", rename[1]), ("renamed", rename[2])]
    moves = [index for index, (call, _) in enumerate(calls) if call == "rename" and calls[index][1].endswith(".tmp")]
    assert len(moves) == 6  # four files, the manifest, and the folder around them
    for index in moves:
        source, target = calls[index][1], calls[index + 1][1]
        before = [call for call, path in calls[:index] if path == source]
        if Path(target).name.startswith("step-"):
            inner = [path for call, path in calls[:index] if call == "renamed" and path.startswith(source)]
            assert [Path(path).name for path in inner][-1] == "manifest.json"
        else:
            assert set(before) == {"write", "fsync"}
            assert before[-1] == "fsync"
        assert ("fsync", str(Path(target).parent)) in calls[index:]
