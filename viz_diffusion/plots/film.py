"""Animations as GIF, WebP or MP4, with captions above and beneath each frame.

Knows nothing about where the frames come from. An MP4 needs PyAV (the extra ``video``).
"""

from __future__ import annotations

import io
import tempfile
from collections.abc import Sequence
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffUsageError
from viz_diffusion.files import write_bytes
from viz_diffusion.plots.film_captions import Head, counter_strip, head_strip, strip_height
from viz_diffusion.plots.pixels import to_gray8
from viz_diffusion.plots.raster import enlarge
from viz_diffusion.plots.theme import Array
from viz_diffusion.plots.words import figure_words
from viz_diffusion.stopping import temporary

FILM_FORMATS = ("gif", "webp", "mp4")
FILM_SIZES = {"360p": (640, 360), "480p": (854, 480), "720p": (1280, 720), "1080p": (1920, 1080)}
"""Width and height of a film in pixels, by name."""


def film_frames(num: int, count: int) -> NDArray[np.int64]:
    """Select the frames of a film: about ``count`` of ``num``, evenly spaced.

    Parameters
    ----------
    num
        The number of frames there are, at least 1.
    count
        The number of frames to show, at least 1; where it exceeds ``num``, all are shown.

    Returns
    -------
    (min(num, count),) int64 indices, strictly rising, the first and the last frame among them (a single frame is
    the last).
    """
    if num < 1 or count < 1:
        raise VizdiffUsageError(f"a film needs at least one frame, found num={num}, count={count}")
    if count == 1:
        return np.array([num - 1], dtype=np.int64)
    return np.rint(np.linspace(0, num - 1, min(num, count))).astype(np.int64)


def side_by_side(left: Array, right: Array, gap: int = 2) -> Array:
    """Return two films (F, H, W[, 3]) of values in [-1, 1] as one, with a white gap of ``gap`` pixels between."""
    white = np.ones((*left.shape[:2], gap, *left.shape[3:]), dtype=left.dtype)
    return np.concatenate([left, white, right], axis=2)


def film_scale(height: int, width: int, size: tuple[int, int], strips: int = 1) -> int:
    """Return the largest whole factor at which a frame fits into a film of ``size`` (width, height), at least 1.

    Parameters
    ----------
    height, width
        Size of a frame before it is enlarged, in pixels.
    strips
        How many caption strips are above and beneath it.
    """
    scale = min(size[0] // width, size[1] // height)
    while scale > 1 and height * scale + strips * strip_height(height * scale) > size[1]:
        scale -= 1
    return max(1, scale)


def film_page(
    height: int, width: int, name: str | None, scale: int, strips: int = 1
) -> tuple[int, tuple[int, int] | None]:
    """Return the scale of a film's frames and its size, for one of :data:`FILM_SIZES` by ``name``.

    Without a name, ``scale`` and None: the film is as large as its frames and captions.
    """
    if name is None:
        return scale, None
    return film_scale(height, width, FILM_SIZES[name], strips), FILM_SIZES[name]


def can_write_mp4() -> bool:
    """Return whether PyAV, which encodes an MP4, is installed."""
    return find_spec("av") is not None


def require_mp4() -> None:
    """Check that an MP4 can be encoded.

    Raises
    ------
    VizdiffUsageError
        Where PyAV is not installed; the message gives the command that installs it.
    """
    if not can_write_mp4():
        raise VizdiffUsageError("an MP4 needs PyAV: pip install 'viz-diffusion[video]', or choose gif or webp")


Count = tuple[int, int | None]
"""The caption beneath a frame: (steps left, t), with t None for the finished image."""
Heads = tuple[Head, ...]
"""The captions above a frame: one for each image in it, from left to right."""


def film_bytes(
    frames: Array,
    format: str,
    *,
    counts: Sequence[Count] | None = None,
    heads: Sequence[Heads] | None = None,
    scale: int = 8,
    size: tuple[int, int] | None = None,
    frame_ms: int = 60,
    hold_ms: int = 1000,
) -> bytes:
    """Return the bytes of a film file; its last frame is held.

    Parameters
    ----------
    frames
        (F, H, W) float, in [-1, 1]: grey frames, F at least 1; or (F, H, W, 3) colour frames.
    format
        ``gif`` and ``webp`` (lossless) loop, ``mp4`` (H.264) plays once.
    counts
        (F,) captions beneath the frames: steps left and t; None for no captions.
    heads
        (F,) captions above the frames; None for no captions.
    scale
        Film pixels for each pixel of a frame, along each side; a whole number, at least 1.
    size
        Width and height of the film; a frame is centred on white. None for the frame's own.
    frame_ms, hold_ms
        Milliseconds that each frame, and the last one, are shown; a GIF rounds to steps of 10 ms, an MP4 to whole
        frames. A GIF stores successive equal frames once, with their total duration.

    Raises
    ------
    VizdiffUsageError
        Where the format is unknown, or PyAV is not installed for an MP4.
    """
    is_colour = frames.ndim == 4 and frames.shape[-1] == 3
    if (frames.ndim != 3 and not is_colour) or not frames.shape[0]:
        raise VizdiffInputError(f"a film needs frames of the shape (F, H, W), found {frames.shape}")
    if scale < 1 or frame_ms < 10 or hold_ms < 10:
        raise VizdiffUsageError("a film needs scale >= 1, frame_ms >= 10 and hold_ms >= 10")
    if format not in FILM_FORMATS:
        raise VizdiffUsageError(f"film format {format!r} is unknown; choose from {', '.join(FILM_FORMATS)}")
    large = page_frames(frames, counts, scale, heads, size)
    if format == "mp4":
        return _mp4(large + large[-1:] * (-(-hold_ms // frame_ms) - 1), frame_ms)
    first, *rest = (Image.fromarray(frame) for frame in large)
    durations = [frame_ms] * len(rest) + [hold_ms]
    buffer = io.BytesIO()
    if format == "webp":
        rest_rgb = [frame.convert("RGB") for frame in rest]  # WebP has no greyscale
        first.convert("RGB").save(
            buffer, "WEBP", save_all=True, append_images=rest_rgb, duration=durations, loop=0, lossless=True, method=3
        )
    else:
        first.save(buffer, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)
    return buffer.getvalue()


def page_frames(
    frames: Array,
    counts: Sequence[Count] | None,
    scale: int,
    heads: Sequence[Heads] | None = None,
    size: tuple[int, int] | None = None,
) -> list[NDArray[np.uint8]]:
    """Return (F, H, W) or (F, H, W, 3) values in [-1, 1] as F pages, enlarged, heads above and counts beneath.

    The counts are in words of the language in use (:func:`~viz_diffusion.plots.words.use_texts`). With ``size`` (width,
    height) a page that is smaller is centred on white.
    """
    large = [enlarge(frame, scale) for frame in to_gray8(frames)]
    for name, given in (("counts", counts), ("heads", heads)):
        if given is not None and len(given) != len(large):
            raise VizdiffInputError(f"{len(large)} frames need as many {name}, found {len(given)}")
    height, width, *colours = large[0].shape
    high = strip_height(height)
    pages = [[frame] for frame in large]
    if heads is not None:
        above = (head_strip(width, high, head) for head in heads)
        pages = [[_coloured(strip, colours), *page] for strip, page in zip(above, pages, strict=True)]
    if counts is not None:
        beneath = (counter_strip(width, high, *count, _around(count[0])) for count in counts)
        pages = [[*page, _coloured(strip, colours)] for strip, page in zip(beneath, pages, strict=True)]
    joined = [np.concatenate(page) for page in pages]
    return joined if size is None else [_centred(page, size) for page in joined]


def _around(steps_left: int) -> tuple[str, str]:
    """Return the words before and after the number of steps left."""
    before, _, after = figure_words("film")("steps_left", count=steps_left).partition(str(steps_left))
    return before.strip(), after.strip()


def _centred(page: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a page in the middle of a white one of ``size`` (width, height), where it is smaller."""
    spare = [max(0, size[1] - page.shape[0]), max(0, size[0] - page.shape[1])]
    edges = [(rest // 2, rest - rest // 2) for rest in spare] + [(0, 0)] * (page.ndim - 2)
    return np.pad(page, edges, constant_values=255)


def _coloured(strip: NDArray[np.uint8], colours: list[int]) -> NDArray[np.uint8]:
    """Return a grey (H, W) strip with as many channels as the frames have, ``colours`` being [C], or [] for grey."""
    return np.repeat(strip[:, :, None], colours[0], axis=2) if colours else strip


def _mp4(frames: list[NDArray[np.uint8]], frame_ms: int) -> bytes:
    """Encode (H, W) grey or (H, W, 3) frames as H.264, padded to the even sides that it needs."""
    require_mp4()
    import av

    even = [
        np.pad(frame, [(0, side % 2) for side in frame.shape[:2]] + [(0, 0)] * (frame.ndim - 2), mode="edge")
        for frame in frames
    ]
    height, width = even[0].shape[:2]
    with tempfile.TemporaryDirectory() as folder, temporary(folder):
        path = Path(folder) / "film.mp4"
        try:
            with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
                stream = container.add_stream(
                    "libx264", rate=Fraction(1000, frame_ms), options={"crf": "16", "preset": "veryfast"}
                )
                stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
                for frame in even:
                    rgb = frame if frame.ndim == 3 else np.repeat(frame[..., None], 3, axis=2)
                    video_frame = av.VideoFrame.from_ndarray(rgb, format="rgb24")
                    container.mux(stream.encode(video_frame))
                container.mux(stream.encode(None))
        except av.error.FFmpegError as error:
            raise VizdiffIOError(f"PyAV cannot make an MP4 here ({error}); choose gif or webp") from error
        return path.read_bytes()


def write_gif(
    frames: Array,
    path: Path,
    *,
    counts: Sequence[Count] | None = None,
    heads: Sequence[Heads] | None = None,
    scale: int = 8,
    size: tuple[int, int] | None = None,
    frame_ms: int = 60,
    hold_ms: int = 1000,
) -> None:
    """Write a looping GIF atomically; its last frame is held; see :func:`film_bytes`."""
    times = {"frame_ms": frame_ms, "hold_ms": hold_ms}
    data = film_bytes(frames, "gif", counts=counts, heads=heads, scale=scale, size=size, **times)
    write_bytes(Path(path), data)
