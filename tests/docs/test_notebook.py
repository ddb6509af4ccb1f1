"""The example notebook runs from top to bottom, and shows what it says it shows."""

from __future__ import annotations

import base64
import re
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

nbformat = pytest.importorskip("nbformat")
nbclient = pytest.importorskip("nbclient")
pytest.importorskip("ipykernel")

NOTEBOOK = Path(__file__).parents[2] / "examples" / "record_and_look.ipynb"


def test_the_committed_file_holds_no_outputs() -> None:
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(notebook)
    for cell in notebook.cells:
        assert not cell.get("outputs")
        assert cell.get("execution_count") is None


@pytest.fixture(scope="module")
def executed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[Any]]:
    """Return each code cell's outputs, by the cell's id, of a run in an empty folder."""
    folder = tmp_path_factory.mktemp("notebook")
    notebook = nbformat.read(NOTEBOOK, as_version=4)
    client = nbclient.NotebookClient(
        notebook, timeout=240, kernel_name="python3", resources={"metadata": {"path": str(folder)}}
    )
    client.execute()
    assert list(folder.iterdir()) == []
    return {cell.id: cell.outputs for cell in notebook.cells if cell.cell_type == "code"}


def data_of(outputs: list[Any], kind: str) -> str:
    (found,) = (output["data"][kind] for output in outputs if kind in output.get("data", {}))
    return found


def text_of(outputs: list[Any]) -> str:
    return "".join(output["text"] for output in outputs if output["output_type"] == "stream")


def test_nothing_is_said_on_stderr(executed: dict[str, list[Any]]) -> None:
    assert [o for outputs in executed.values() for o in outputs if o.get("name") == "stderr"] == []


def test_run_and_recording_show_themselves(executed: dict[str, list[Any]]) -> None:
    assert "Run bundled" in data_of(executed["run"], "text/html")
    shown = data_of(executed["record"], "text/html")
    assert "digit 5" in shown
    sources = re.findall(r"data:image/png;base64,([^\"]+)", shown)
    assert len(sources) == 7 + 6
    noise, finished = (np.asarray(Image.open(BytesIO(base64.b64decode(sources[k])))) for k in (0, 6))
    assert noise.shape == finished.shape == (28, 28)
    assert finished[:3].mean() < 10 < 60 < noise[:3].mean()  # a digit's border is black, noise has none


def test_the_strip_is_drawn_and_the_digits_part(executed: dict[str, list[Any]]) -> None:
    assert Image.open(BytesIO(base64.b64decode(data_of(executed["strip"], "image/png")))).size == (3200, 1800)
    told = re.findall(r"(\d+) steps left: pictures ([\d.]+) apart, guesses ([\d.]+)", text_of(executed["pair"]))
    assert [row[0] for row in told] == ["50", "40", "30", "20", "10", "1"]
    pictures, guesses = (np.array([float(row[k]) for row in told]) for k in (1, 2))
    assert pictures[0] == 0
    assert (np.diff(pictures) > 0).all()
    assert (guesses > 0.1).all()  # "apart from the first step"
    assert "t with an SNR below 1: 259" in text_of(executed["numbers"])
    assert data_of(executed["curves"], "image/png")
