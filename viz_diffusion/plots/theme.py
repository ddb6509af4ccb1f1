"""Page size, type, colours and drawing primitives shared by all figures.

Knows nothing about what a figure shows. The page is 3200x1800 page pixels with the origin at the top
left; every ``left``, ``top``, ``width``, ``height``, ``x`` and ``y`` below is in page pixels, and one page
pixel is one pixel of the PNG.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import lru_cache
from importlib import resources
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.text import Text
from numpy.typing import NDArray

Array = NDArray[Any]

DPI = 240
SHOWN_DPI = 72
"""CSS pixels of an inch of the page in a notebook."""
PAGE_WIDTH, PAGE_HEIGHT = 3200, 1800

INK = "#1d1a26"
"""Text and main lines."""
MUTED = "#63606e"
"""Secondary text; contrast 6:1 on white."""
FAINT = "#d8d6de"
"""Hairlines and empty gauges."""
PAPER = "#ffffff"
"""The page itself."""
ON_LIGHT, ON_DARK = "#1d1a27", "#fefefe"
"""Text on a light and on a dark part of an image, such as a cell of a heat map: the same on every page."""
PURPLE = "#542788"
"""First accent; also the dark purple of the noise map."""
ORANGE = "#b35806"
"""Second accent; lighter than the first, also in greyscale."""
QUARTERS = ("#35106b", "#6b469c", "#d9832b", "#f5c47a")
"""Four ordered colours whose lightness rises evenly, so that greyscale keeps their sequence."""

DARK = {
    PAPER: "#141518",
    INK: "#e9e8e4",
    MUTED: "#a9a7b4",
    FAINT: "#3a3844",
    PURPLE: "#bda6ea",
    ORANGE: "#f2a65a",
    QUARTERS[0]: "#d8c9fb",
    QUARTERS[1]: "#b094e0",
    QUARTERS[2]: "#e9963f",
    QUARTERS[3]: "#c9862f",
}
"""What a dark page shows instead of each colour; text keeps a contrast of at least 4.5:1 on :data:`PAPER`."""

TITLE_SIZE = 26
"""Points: the title of a figure."""
TITLE_LEFT = 90
"""Page pixels at the left of a title, and at least as many at its right."""
TITLE = "title"
"""The name (``gid``) of the title among a figure's parts, so that it can be left out."""
TEXT_SIZE = 18
"""Points: the smallest font size on the page."""
SYMBOL_SIZE = 28
"""Points: symbols with a subscript (drawn at 70%, which is still at least ``TEXT_SIZE``)."""
NUMBER_SIZE = 30
"""Points: the number that identifies a column or row."""

DIGIT_MAP, DIGIT_LIMIT = "gray", 1.0
NOISE_MAP, NOISE_LIMIT = "PuOr", 3.0
SIGNED_MAP = "RdBu"

X_T, X_0, X0_PRED = "$x_t$", "$x_0$", r"$\hat{x}_0$"
EPS, EPS_PRED, ALPHA_BAR = r"$\varepsilon$", r"$\hat{\varepsilon}$", r"$\bar{\alpha}$"
MEAN_SQUARE = r"$\langle(\hat{\varepsilon}-\varepsilon)^2\rangle$"
MINUS = "\N{MINUS SIGN}"

_STYLE: Any = {
    "font.family": ["DejaVu Sans", "VizdiffHan"],
    "font.size": TEXT_SIZE,
    "mathtext.fontset": "dejavusans",
    "text.color": INK,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "lines.solid_capstyle": "round",
    "image.composite_image": False,
    "image.interpolation": "none",
    "svg.fonttype": "path",
    "svg.hashsalt": "viz_diffusion",
    "pdf.fonttype": 42,
    "path.simplify": False,
}


@contextmanager
def use_theme() -> Iterator[None]:
    """Apply this package's matplotlib settings within the block; the user's settings are restored afterwards."""
    with mpl.rc_context():
        mpl.rcdefaults()
        register_han_font()
        mpl.rcParams.update(_STYLE)
        yield


@lru_cache(maxsize=1)
def register_han_font() -> str:
    """Make matplotlib know the bundled Chinese font, and return its path."""
    path = str(resources.files("viz_diffusion").joinpath("assets", "fonts", "vizdiff-han.ttf"))
    manager = font_manager.fontManager
    manager.addfont(path)
    manager.ttflist.append(replace(manager.ttflist[-1], weight=700))  # it has one weight, and stands for bold too
    return path


class Page(Figure):
    """A matplotlib figure that a notebook shows where it is the last line of a cell.

    pyplot's figures are shown by pyplot's backend; this one belongs to no backend, and shows itself once, whether
    pyplot is in use or not.
    """

    def _repr_png_(self) -> tuple[bytes, dict[str, int]]:
        """Return the PNG of the page, and its size in a notebook in CSS pixels."""
        from viz_diffusion.plots.saving import figure_bytes

        width, height = (round(inches * SHOWN_DPI) for inches in self.get_size_inches())
        return figure_bytes(self, "png"), {"width": width, "height": height}


def new_figure(title: str = "") -> Figure:
    """Return an empty white 16:9 page, 13.33 x 7.5 inches, with a title at the top left where one is given."""
    figure = Page(figsize=(PAGE_WIDTH / DPI, PAGE_HEIGHT / DPI), dpi=DPI, facecolor=PAPER)
    if title:
        write(figure, TITLE_LEFT, 120, title, TITLE_SIZE, ha="left", gid=TITLE)
    return figure


def add_axes(figure: Figure, left: float, top: float, width: float, height: float) -> Axes:
    """Add bare axes (no frame, no ticks) that cover the given page pixels."""
    box = (left / PAGE_WIDTH, 1 - (top + height) / PAGE_HEIGHT, width / PAGE_WIDTH, height / PAGE_HEIGHT)
    axes: Axes = figure.add_axes(box)
    axes.set_axis_off()
    return axes


def page_axes(figure: Figure) -> Axes:
    """Add axes over the whole page, behind all others, whose data units are page pixels."""
    axes = add_axes(figure, 0, 0, PAGE_WIDTH, PAGE_HEIGHT)
    axes.set(xlim=(0, PAGE_WIDTH), ylim=(PAGE_HEIGHT, 0), zorder=-1)
    axes.set_autoscale_on(False)
    return axes


def write(figure: Figure, x: float, y: float, text: str, size: float = TEXT_SIZE, **style: Any) -> Text:
    """Write ``text`` centred on ``x`` with its baseline at ``y``; ``size`` in points."""
    return figure.text(
        x / PAGE_WIDTH,
        1 - y / PAGE_HEIGHT,
        text,
        **{"fontsize": size, "ha": "center", "va": "baseline", "color": INK, **style},
    )


def arrow(axes: Axes, start: tuple[float, float], end: tuple[float, float], **style: Any) -> None:
    """Draw a thin arrow between two points of :func:`page_axes`."""
    head = "-|>,head_length=0.6,head_width=0.28"
    defaults = {"arrowstyle": head, "color": MUTED, "lw": 2.0, "mutation_scale": 26, "shrinkA": 0, "shrinkB": 0}
    axes.annotate("", xy=end, xytext=start, arrowprops=defaults | style)


def gauge(
    page: Axes, left: float, top: float, width: float, share: float, height: float = 10, colour: str = PURPLE
) -> None:
    """Draw a level bar on :func:`page_axes`: its whole width faint, and ``share`` (0 to 1) of it in ``colour``."""
    for part, fill in ((1.0, FAINT), (share, colour)):
        page.add_patch(Rectangle((left, top), width * part, height, color=fill, lw=0))


def primed(symbol: str) -> str:
    """Return a mathtext symbol such as ``$x_t$`` with a prime, ``$x_t'$``."""
    return f"{symbol[:-1]}'$"


def spread(wanted: Array, distance: float, low: float, high: float) -> NDArray[np.float64]:
    """Return rising positions near the rising ``wanted`` (N,), at least ``distance`` apart, within low .. high.

    Positions that cannot all fit at that distance are spaced evenly.
    """
    if len(wanted) * distance - distance > high - low:
        return np.linspace(low, high, len(wanted))
    places = np.array(wanted, dtype=np.float64)
    for index in range(1, len(places)):
        places[index] = max(places[index], places[index - 1] + distance)
    limit = high
    for index in reversed(range(len(places))):
        places[index] = limit = min(places[index], limit)
        limit -= distance
    return places


def number(value: float) -> str:
    """Return a number with three significant digits and a typographic minus sign."""
    return f"{value:.3g}".replace("-", MINUS)


def percent(share: float) -> str:
    """Return a share in [0, 1] as a percentage, with one decimal where it is below 1%: 13%, 0.2%, 0%."""
    digits = 1 if 0.0005 <= share < 0.00995 else 0
    return f"{100 * share:.{digits}f}%"


def colour_bar(
    figure: Figure,
    box: tuple[float, float, int, int],
    colours: str,
    limit: float,
    symbol: str = "",
    ticks: Sequence[float] | None = None,
) -> Axes:
    """Draw a horizontal colour bar in ``box`` (left, top, width, height): numbers beneath, symbol at the left."""
    left, top, width, height = box
    axes = add_axes(figure, round(left), round(top), width, height)
    ramp = np.tile(np.linspace(-limit, limit, width), (height, 1))
    axes.imshow(ramp, cmap=colours, vmin=-limit, vmax=limit, interpolation="none", aspect="auto")
    for tick in (-limit, 0.0, limit) if ticks is None else ticks:
        x = left + (tick + limit) / (2 * limit) * width
        write(figure, x, top + height + 62, number(tick), color=MUTED)
    if symbol:
        write(figure, left - 60, top + height, symbol, SYMBOL_SIZE, ha="right")
    return axes
