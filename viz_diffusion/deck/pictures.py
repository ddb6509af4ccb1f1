"""Pictures of a deck: figures without their margins, digits, and the film of a recording.

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

from viz_diffusion.plots.film import FILM_SIZES, film_bytes, film_frames, film_scale, page_frames, side_by_side
from viz_diffusion.plots.pixels import to_gray8
from viz_diffusion.plots.raster import enlarge
from viz_diffusion.plots.saving import figure_pixels, untitled
from viz_diffusion.plots.words import figure_words, use_texts
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.narrative import Drawing
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.views.frames import film_counts, pictures

FILM_FRAMES = 60
"""Largest number of frames of the film."""
FILM_SIZE = "720p"
"""The film's size, one of :data:`~viz_diffusion.plots.film.FILM_SIZES`, where none is asked for."""
_BORDER = 24
"""Pixels of white kept around a figure."""


@dataclass(frozen=True, eq=False)
class DeckPicture:
    """A picture file with its alt text."""

    name: str
    """``steps``, ``forward`` and so on."""
    data: bytes
    """The bytes of a PNG or GIF file."""
    width: int
    """Width in pixels."""
    height: int
    """Height in pixels."""
    alt: str
    """Alt text: a description for readers who cannot see the picture."""


@dataclass(frozen=True, eq=False)
class Film:
    """The recording as a film: x_t at the left, predicted x_0 at the right."""

    gif: DeckPicture
    """The film as a GIF, which starts by itself."""
    mp4: bytes | None
    """The film as an MP4, which can be paused; None where no encoder is installed."""
    poster: DeckPicture
    """The first frame as a PNG. It is noise, so it does not reveal the digit."""


def _slide_pixels(drawing: Drawing) -> NDArray[np.uint8]:
    """Return the (H, W, 3) pixels of a figure for a slide, whose title is the slide's: the figure shows none."""
    with untitled(drawing.figure):
        return figure_pixels(drawing.figure)


def render_picture(drawing: Drawing) -> DeckPicture:
    """Draw a figure without its white margins, so that it is larger on a slide."""
    return _without_margins(drawing, _slide_pixels(drawing))


def _without_margins(drawing: Drawing, pixels: NDArray[np.uint8]) -> DeckPicture:
    """Cut off the white margins of (H, W, 3) pixels, and encode the rest as PNG."""
    inked = np.minimum(np.minimum(pixels[..., 0], pixels[..., 1]), pixels[..., 2]) < 255
    rows, columns = np.flatnonzero(inked.any(axis=1)), np.flatnonzero(inked.any(axis=0))
    if len(rows):
        top, bottom = max(0, rows[0] - _BORDER), rows[-1] + 1 + _BORDER
        left, right = max(0, columns[0] - _BORDER), columns[-1] + 1 + _BORDER
        pixels = pixels[top:bottom, left:right]
    image = Image.fromarray(np.ascontiguousarray(pixels))
    return DeckPicture(drawing.name, _png(image), *image.size, drawing.alt)


class PictureRenderer:
    """Renders drawings; one picture is encoded in a thread while the next figure is drawn."""

    def __init__(self) -> None:
        self._worker = ThreadPoolExecutor(1)
        self._pending: dict[str, Future[DeckPicture]] = {}

    def draw(self, drawing: Drawing) -> int:
        """Draw a figure; return the number of figures drawn so far."""
        pixels = _slide_pixels(drawing).copy()
        self._pending[drawing.name] = self._worker.submit(_without_margins, drawing, pixels)
        return len(self._pending)

    def finish(self) -> dict[str, DeckPicture]:
        """Return every picture by name."""
        try:
            return {name: future.result() for name, future in self._pending.items()}
        finally:
            self._worker.shutdown()


def make_film(trajectory: Trajectory, texts: Texts, with_mp4: bool, sample: int = 0, size: str = FILM_SIZE) -> Film:
    """Make the film of one image of a recording, in one of :data:`~viz_diffusion.plots.film.FILM_SIZES`."""
    finished = trajectory.x0[sample]
    states = pictures(np.concatenate([trajectory.x_t[sample], finished[None]]))
    x0_pred = pictures(np.concatenate([trajectory.x0_pred[sample], finished[None]]))
    shown = film_frames(len(states), min(FILM_FRAMES, len(states)))
    frames = side_by_side(states[shown], x0_pred[shown])
    counts = film_counts(trajectory, shown)
    page = FILM_SIZES[size]
    scale = film_scale(frames.shape[1], frames.shape[2], page, strips=2)
    alt = texts("deck.film_alt", digit=texts.label(int(trajectory.labels[sample])), frames=len(shown))
    with use_texts(texts):
        words = figure_words("film")
        heads = [((words("noised_image_short"), False), (words("predicted_x0_short"), False))] * len(shown)
        poster = _as_picture("film", page_frames(frames[:1], counts[:1], scale, heads[:1], page)[0], alt)
        captions: dict[str, Any] = {"counts": counts, "heads": heads, "scale": scale, "size": page, "frame_ms": 80}
        gif = film_bytes(frames, "gif", **captions)
        mp4 = film_bytes(frames, "mp4", **captions) if with_mp4 else None
    return Film(DeckPicture("film", gif, poster.width, poster.height, alt), mp4, poster)


def _png(image: Image.Image) -> bytes:
    data = BytesIO()
    image.save(data, "PNG", compress_level=4)
    return data.getvalue()


def grey_picture(name: str, pixels: np.ndarray[Any, Any], scale: int, alt: str) -> DeckPicture:
    """Return a (H, W) or (H, W, 3) image of values in [-1, 1] as a PNG, enlarged by a whole factor."""
    return _as_picture(name, enlarge(to_gray8(pixels), scale), alt)


def _as_picture(name: str, pixels: NDArray[np.uint8], alt: str) -> DeckPicture:
    image = Image.fromarray(pixels)
    return DeckPicture(name, _png(image), *image.size, alt)
