"""How every picture looks: the page, its type, its colours, and how pixels are put on it.

Knows nothing about what a picture shows. The page is 3200x1800 page pixels with the origin at the top
left; every ``left``, ``top``, ``width``, ``height``, ``x`` and ``y`` below is in page pixels, and one page
pixel is one pixel of the PNG.
"""

from __future__ import annotations

import io
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg, RendererAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.text import Text
from matplotlib.transforms import Affine2D
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffInputError, VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.files import atomic_write

Array = NDArray[Any]

DPI = 240
PAGE_WIDTH, PAGE_HEIGHT = 3200, 1800

INK = "#1d1a26"
"""Type and main lines."""
MUTED = "#63606e"
"""Second-rank type, 6:1 on white."""
FAINT = "#d8d6de"
"""Hairlines and empty gauges."""
PURPLE = "#542788"
"""First accent; also the dark end of the noise map."""
ORANGE = "#d9730d"
"""Second accent; lighter than the first also in grey."""
QUARTERS = ("#35106b", "#6b469c", "#d9832b", "#f5c47a")
"""Four ordered colours whose lightness rises evenly, so that grey keeps the order."""

TEXT_SIZE = 18
"""Points: the smallest type on the page."""
SYMBOL_SIZE = 28
"""Points: symbols with a subscript (which is drawn at 70%, still above the smallest)."""
NUMBER_SIZE = 30
"""Points: the number a column or row is known by."""

DIGIT_MAP, DIGIT_LIMIT = "gray", 1.0
NOISE_MAP, NOISE_LIMIT = "PuOr", 3.0
SIGNED_MAP = "RdBu"

X_T, X_0, X0_PRED = "$x_t$", "$x_0$", r"$\hat{x}_0$"
EPS, EPS_PRED, ALPHA_BAR = r"$\varepsilon$", r"$\hat{\varepsilon}$", r"$\bar{\alpha}$"
MEAN_SQUARE = r"$\langle(\hat{\varepsilon}-\varepsilon)^2\rangle$"
MINUS = "\N{MINUS SIGN}"
PICTURES = "pictures"
"""Names the axes that hold the placed pictures."""

_STYLE: Any = {
    "font.family": ["DejaVu Sans"],
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
    """Draw and save under the house's settings; outside the block matplotlib is as it was."""
    with mpl.rc_context():
        mpl.rcdefaults()
        mpl.rcParams.update(_STYLE)
        yield


def new_figure() -> Figure:
    """Return an empty white 16:9 page, 13.33 x 7.5 inches."""
    return Figure(figsize=(PAGE_WIDTH / DPI, PAGE_HEIGHT / DPI), dpi=DPI, facecolor="white")


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
    look = {"arrowstyle": head, "color": MUTED, "lw": 2.0, "mutation_scale": 26, "shrinkA": 0, "shrinkB": 0}
    look.update(style)
    axes.annotate("", xy=end, xytext=start, arrowprops=look)


def enlarge(image: Array, factor: int) -> Array:
    """Return a (H, W) image as (factor*H, factor*W), each pixel a block: sharp in every viewer."""
    return np.repeat(np.repeat(image, factor, axis=0), factor, axis=1)


class BlockImage(AxesImage):
    """An image whose pixels are blocks of a whole number of page pixels, at whole page pixels.

    On a page of its own size it is painted as it is, which takes a tenth of the time of resampling it.
    """

    def __init__(self, axes: Axes, image: Array, place: tuple[int, int, int], colours: str, limit: float) -> None:
        left, top, factor = place
        height, width = (factor * length for length in image.shape[:2])
        extent = (left, left + width, top + height, top)
        super().__init__(axes, cmap=colours, norm=Normalize(-limit, limit), interpolation="none", extent=extent)
        self._small, self._factor = image, factor
        self._corner = left, PAGE_HEIGHT - top - height
        self.set_data(enlarge(image, factor))

    def make_image(self, renderer: Any, magnification: float = 1.0, unsampled: bool = False) -> tuple[Any, ...]:
        """Return (H, W, 4) uint8 pixels, where they stand from the bottom left, and how they are moved there."""
        if unsampled or magnification != 1 or renderer.dpi != DPI or not isinstance(renderer, RendererAgg):
            return super().make_image(renderer, magnification, unsampled)
        pixels = self.to_rgba(self._small, bytes=True)
        return enlarge(pixels, self._factor)[::-1], *self._corner, Affine2D().translate(*self._corner)


def _show(
    axes: Axes, image: Array, colours: str, limit: float, box: tuple[float, float, int] | None = None
) -> AxesImage:
    """Show a (H, W) image on a fixed scale, each pixel enlarged to a block of a whole number of page pixels.

    One of colours is (H, W, 3). It fills ``axes``, or stands where ``box`` says (left, top, factor), whose units are
    those of :func:`page_axes`.
    """
    if image.ndim != 2 and (image.ndim, image.shape[-1]) != (3, 3):
        raise VizdiffInputError(f"an image must have the shape (H, W) or (H, W, 3), found {image.shape}")
    if not np.all(np.isfinite(image)):
        raise VizdiffNonFiniteError("an image holds NaN or infinity; it cannot be drawn")
    axes.set_axis_off()
    if image.ndim == 3:
        image = np.rint(255 * (np.clip(image / limit, -1, 1) + 1) / 2).astype(np.uint8)
    if box is not None:
        left, top, factor = box
        placed = BlockImage(axes, image, (round(left), round(top), factor), colours, limit)
        axes.add_image(placed)
        return placed
    factor = max(1, round(axes.get_position().width * PAGE_WIDTH / image.shape[1]))
    return axes.imshow(
        enlarge(image, factor), cmap=colours, vmin=-limit, vmax=limit, interpolation="none", aspect="auto",
        origin="upper",
    )  # fmt: skip


def show_digit(axes: Axes, image: Array) -> AxesImage:
    """Show an x_t or x̂_0 in grey, (H, W), or colours, (H, W, 3), -1 black to 1 white; values beyond are clipped."""
    return _show(axes, image, DIGIT_MAP, DIGIT_LIMIT)


def show_noise(axes: Axes, image: Array) -> AxesImage:
    """Show an ε or ε̂ of shape (H, W) in purple and orange, fixed at -3 to 3; values beyond are clipped."""
    return _show(axes, image, NOISE_MAP, NOISE_LIMIT)


def show_signed(axes: Axes, image: Array, limit: float = 1.0) -> AxesImage:
    """Show a signed table of shape (H, W) in red (negative) and blue, fixed at -limit to limit."""
    return _show(axes, image, SIGNED_MAP, limit)


def fit_nearest(table: Array, height: int, width: int) -> Array:
    """Return a (H, W) table as (height, width), each value repeated or skipped, none blended."""
    rows = np.arange(height) * table.shape[0] // height
    columns = np.arange(width) * table.shape[1] // width
    return np.asarray(table[np.ix_(rows, columns)])


def place_digit(figure: Figure, left: float, top: float, factor: int, image: Array) -> AxesImage:
    """Put a digit on the page at ``factor`` page pixels for each of its own."""
    return _show(_picture_axes(figure), image, DIGIT_MAP, DIGIT_LIMIT, (left, top, factor))


def place_noise(figure: Figure, left: float, top: float, factor: int, image: Array) -> AxesImage:
    """Put a noise image on the page at ``factor`` page pixels for each of its own."""
    return _show(_picture_axes(figure), image, NOISE_MAP, NOISE_LIMIT, (left, top, factor))


def place_signed(figure: Figure, left: float, top: float, factor: int, image: Array, limit: float) -> AxesImage:
    """Put a signed table on the page at ``factor`` page pixels for each of its own; see :func:`show_signed`."""
    return _show(_picture_axes(figure), image, SIGNED_MAP, limit, (left, top, factor))


def _picture_axes(figure: Figure) -> Axes:
    """Return the axes that all placed pictures share: axes for each would take most of the time of drawing."""
    for axes in figure.axes:
        if axes.get_gid() == PICTURES:
            return axes
    axes = page_axes(figure)
    axes.set(gid=PICTURES, zorder=0)
    return axes


def spread(wanted: Array, distance: float, low: float, high: float) -> NDArray[np.float64]:
    """Return rising places near the rising ``wanted`` (N,), at least ``distance`` apart, in low .. high.

    Where they cannot all fit, they are set evenly.
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
    """Return a number in three significant digits with a true minus sign."""
    return f"{value:.3g}".replace("-", MINUS)


def percent(share: float) -> str:
    """Return a share in [0, 1] as a short percentage: 13%, 0.2%, 0%."""
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
    """Draw a level colour bar in ``box`` (left, top, width, height), its numbers beneath, its symbol left."""
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


def figure_bytes(
    figure: Figure, format: str, *, description: str = "", dpi: float = DPI, transparent: bool = False
) -> bytes:
    """Return a figure as the bytes of a file: the same bytes every time.

    Parameters
    ----------
    figure
        What is drawn.
    format
        ``png`` (3200x1800), ``svg`` or ``pdf`` (one page, its fonts embedded).
    description
        Stored inside the file.
    dpi
        Pixels per inch of a PNG, 13.33 inches wide.
    transparent
        Whether the page is left out, so that what lies under the picture shows.

    Raises
    ------
    VizdiffUsageError
        Where ``format`` is another.
    """
    metadata: dict[str, str | None]
    if format == "png":
        metadata = {"Software": None, **({"Description": description} if description else {})}
    elif format == "svg":
        metadata = {"Date": None, "Creator": None, **({"Description": description} if description else {})}
    elif format == "pdf":
        metadata = {"CreationDate": None, "Creator": "viz_diffusion", "Producer": None, "Subject": description or None}
    else:
        raise VizdiffUsageError(f"picture format {format!r} is unknown; choose png, svg or pdf")
    buffer = io.BytesIO()
    with use_theme():
        figure.savefig(buffer, format=format, dpi=dpi, metadata=metadata, transparent=transparent)
    return buffer.getvalue()


def figure_pixels(figure: Figure) -> NDArray[np.uint8]:
    """Return a figure as (1800, 3200, 3) bytes: the pixels of its PNG, without the time a file takes."""
    canvas: Any = FigureCanvasAgg(figure)
    with use_theme():
        canvas.draw()
    return np.array(canvas.buffer_rgba())[..., :3]  # a copy: the canvas paints its next file over its buffer


def save_figure(figure: Figure, path: Path, *, description: str = "") -> None:
    """Write a figure to ``path`` whole or not at all; the suffix (.png, .svg, .pdf) says the format.

    ``description`` is stored inside the file: PNG text, or the SVG's metadata.
    """
    data = figure_bytes(figure, Path(path).suffix.lower().lstrip("."), description=description)
    with atomic_write(Path(path)) as handle:
        handle.write(data)
