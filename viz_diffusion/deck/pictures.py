"""The pictures of a deck: figures without their margins, digits, and the film of a recording.

Knows nothing about slides.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from io import BytesIO
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viz_diffusion.plots.film import film_bytes, film_frames, page_frames, side_by_side
from viz_diffusion.plots.pixels import to_gray8
from viz_diffusion.plots.raster import enlarge
from viz_diffusion.plots.saving import figure_pixels
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.narrative import Drawing
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views.frames import film_counts

FILM_FRAMES = 60
FILM_SCALE = 12
_EDGE = 24
"""Page pixels of white kept around a figure."""


@dataclass(frozen=True, eq=False)
class Still:
    """A picture file with its words."""

    name: str
    """``steps``, ``forward`` and so on."""
    data: bytes
    """The file's bytes: PNG, or a film."""
    width: int
    """Pixels across."""
    height: int
    """Pixels downwards."""
    alt: str
    """What a reader who cannot see it needs to know."""


@dataclass(frozen=True, eq=False)
class Film:
    """The recording as a moving picture: the state at the left, the guess at the right."""

    gif: Still
    """Plays by itself wherever a GIF does."""
    mp4: bytes | None
    """The same, to pause and drag; None where nothing here can make one."""
    poster: Still
    """Its first frame, PNG: noise, so that it does not give the picture away."""


def draw_still(drawing: Drawing) -> Still:
    """Draw a figure, its white margins cut off, so that it can be larger on a slide."""
    return _develop(drawing, figure_pixels(drawing.figure))


def _develop(drawing: Drawing, pixels: NDArray[np.uint8]) -> Still:
    """Cut off what is white around (H, W, 3) pixels, and write the rest as PNG."""
    inked = np.minimum(np.minimum(pixels[..., 0], pixels[..., 1]), pixels[..., 2]) < 255
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if len(rows):
        top, bottom = max(0, rows[0] - _EDGE), rows[-1] + 1 + _EDGE
        left, right = max(0, columns[0] - _EDGE), columns[-1] + 1 + _EDGE
        pixels = pixels[top:bottom, left:right]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return Still(drawing.name, _png(image), *image.size, drawing.alt)


class Darkroom:
    """Turns drawings into pictures; a file is written while the next figure is drawn."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1)
        self._waiting: dict[str, Future[Still]] = {}

    def draw(self, drawing: Drawing) -> int:
        """Draw a figure; return how many there are by now."""
        pixels = figure_pixels(drawing.figure).copy()
        self._waiting[drawing.name] = self._worker.submit(_develop, drawing, pixels)
        return len(self._waiting)

    def finish(self) -> dict[str, Still]:
        """Return every picture by name."""
        try:
            return {name: future.result() for name, future in self._waiting.items()}
        finally:
            self._worker.shutdown()


def make_film(trajectory: Trajectory, texts: Texts, with_mp4: bool, sample: int = 0) -> Film:
    """Make the film of one image of a recording."""
    done = trajectory.x0[sample]
    states = np.concatenate([trajectory.x_t[sample, :, 0], done])
    guesses = np.concatenate([trajectory.x0_pred[sample, :, 0], done])
    shown = film_frames(len(states), min(FILM_FRAMES, len(states)))
    frames = side_by_side(states[shown], guesses[shown])
    counts = film_counts(trajectory, shown)
    alt = texts("deck.film_alt", digit=int(trajectory.labels[sample]), frames=len(shown))
    poster = _still("film", page_frames(frames[:1], counts[:1], FILM_SCALE)[0], alt)
    gif = film_bytes(frames, "gif", counts=counts, scale=FILM_SCALE, frame_ms=80)
    mp4 = film_bytes(frames, "mp4", counts=counts, scale=FILM_SCALE, frame_ms=80) if with_mp4 else None
    return Film(Still("film", gif, poster.width, poster.height, alt), mp4, poster)


def _png(image: Image.Image) -> bytes:
    data = BytesIO()
    image.save(data, "PNG", compress_level=4)
    return data.getvalue()


def grey_still(name: str, pixels: np.ndarray[Any, Any], scale: int, alt: str) -> Still:
    """Return a (H, W) image of values in [-1, 1] as a grey PNG, enlarged by a whole factor."""
    return _still(name, enlarge(to_gray8(pixels), scale), alt)


def _still(name: str, pixels: NDArray[np.uint8], alt: str) -> Still:
    image = Image.fromarray(pixels)
    return Still(name, _png(image), *image.size, alt)
