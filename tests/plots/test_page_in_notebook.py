"""A returned figure as a notebook cell's last line shows itself, once, and is a matplotlib figure in all else."""

from __future__ import annotations

import io
import pickle
from collections.abc import Callable
from pathlib import Path

import nbclient
import nbformat
import numpy as np
import pytest
from IPython.core.formatters import DisplayFormatter
from matplotlib.figure import Figure
from PIL import Image
from small_trajectory import make_trajectory

from viz_diffusion import draw_feature_maps, draw_strip
from viz_diffusion.plots.saving import figure_bytes
from viz_diffusion.plots.theme import PAGE_HEIGHT, PAGE_WIDTH
from viz_diffusion.views.comparison import draw_comparison

T = make_trajectory()
ACTIVE = make_trajectory(
    activations={"mid": np.random.default_rng(0).standard_normal((3, 2, 4, 5, 5)).astype(np.float32)},
    activation_steps=np.array([0, 3]),
)
PUBLIC: dict[str, Callable[[], Figure]] = {
    "draw_strip": lambda: draw_strip(T),
    "draw_feature_maps": lambda: draw_feature_maps(ACTIVE),
    "draw_comparison": lambda: draw_comparison(T, T),
    "plot_strip": T.plot_strip,
    "plot_feature_maps": ACTIVE.plot_feature_maps,
    "plot_comparison": lambda: T.plot_comparison(T),
}


@pytest.mark.parametrize("draw", PUBLIC.values(), ids=PUBLIC.keys())
def test_every_returned_figure_shows_itself(draw: Callable[[], Figure]) -> None:
    figure = draw()
    data, metadata = DisplayFormatter().format(figure)
    assert set(data) == {"text/plain", "image/png"}
    assert data["image/png"] == figure_bytes(figure, "png")
    with Image.open(io.BytesIO(data["image/png"])) as shown:
        assert shown.size == (PAGE_WIDTH, PAGE_HEIGHT)
    size = metadata["image/png"]
    assert size["width"] / size["height"] == pytest.approx(PAGE_WIDTH / PAGE_HEIGHT, abs=0.01)
    assert set(DisplayFormatter().format(Figure())[0]) == {"text/plain"}  # a control: matplotlib's own does not


def test_it_is_shown_once_where_a_backend_shows_figures_too() -> None:
    """As pyplot's inline backend does: it registers a formatter for figures, which goes before an object's own."""
    formatter = DisplayFormatter()
    formatter.formatters["image/png"].for_type(Figure, lambda _: b"\x89PNG of the backend")
    data, _ = formatter.format(draw_strip(T))
    assert data["image/png"] == b"\x89PNG of the backend"
    assert list(data).count("image/png") == 1
    assert "text/html" not in data


def test_it_is_saved_pickled_and_sized_as_any_figure(tmp_path: Path) -> None:
    figure = draw_strip(T)
    figure.savefig(tmp_path / "a.png", dpi=60)
    with Image.open(tmp_path / "a.png") as saved:
        assert saved.size == (800, 450)
    figure.savefig(tmp_path / "a.svg")
    again = pickle.loads(pickle.dumps(figure))
    assert figure_bytes(again, "png") == figure_bytes(figure, "png")
    assert isinstance(again, Figure)
    figure.set_size_inches(5, 2)
    assert figure._repr_png_()[1] == {"width": 360, "height": 144}


def test_one_picture_a_cell_with_and_without_pyplot(tmp_path: Path) -> None:
    start = (
        "import numpy as np\nfrom viz_diffusion import NoiseSchedule, Trajectory, draw_strip\n"
        "f = np.zeros((1, 3, 1, 28, 28), np.float32)\n"
        "t = Trajectory(schedule=NoiseSchedule.named('linear', 3), timesteps=np.array([2, 1, 0]), x_t=f, eps_pred=f,\n"
        "    x0_pred=f, x0=f[:, 0], labels=np.array([3]), seeds=np.array([1]))"
    )
    cells = (
        start,
        "draw_strip(t)",
        "t.plot_strip()",
        "import matplotlib.pyplot as plt\nplt.plot([1, 2])\ndraw_strip(t)",
        "draw_strip(t);",
    )
    book = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(cell) for cell in cells])
    resources = {"metadata": {"path": str(tmp_path)}}
    nbclient.NotebookClient(book, timeout=240, kernel_name="python3", resources=resources).execute()
    pictures = [sum("image/png" in output.get("data", {}) for output in cell.outputs) for cell in book.cells]
    assert pictures == [0, 1, 1, 2, 0]  # the fourth cell has a plot of pyplot's own too
