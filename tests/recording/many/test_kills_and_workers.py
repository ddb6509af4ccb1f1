"""Two worker processes fill one store, and a store survives any number of kills."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from viz_diffusion.recording.store.places import StorePlace

DRIVER = Path(__file__).parents[2] / "helpers" / "many_driver.py"


def test_two_processes_and_ten_kills_leave_one_root_hash(tmp_path: Path) -> None:
    said = subprocess.run(
        [sys.executable, str(DRIVER), str(tmp_path), "10", "3"], capture_output=True, text=True, check=False
    )
    assert said.returncode == 0, said.stderr
    found = json.loads(said.stdout)
    assert found["one"] == found["two"] == found["killed"]
    assert found["blocks"] == sorted(found["blocks"]), "what was written stays"
    assert any(0 < count < 13 for count in found["blocks"]), "kills came while the store was being filled"
    assert found["left"] == [], "what killed processes left is removed"


def test_a_running_workers_block_is_not_swept(tmp_path: Path) -> None:
    place = StorePlace(tmp_path / "a.zarr")
    with place.block_folder() as folder:
        (tmp_path / "a.zarr" / ".block-dead").mkdir()
        place.sweep()
        assert folder.is_dir()
    assert list((tmp_path / "a.zarr").iterdir()) == []
