"""A film of one image emerging: whole-factor enlarged frames as GIF, WebP or MP4.

Knows nothing about where the frames come from. An MP4 needs PyAV (the extra ``video``) or ffmpeg.
"""

from __future__ import annotations

import io
import shutil
import subprocess
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

FILM_FORMATS = ("gif", "webp", "mp4")


def film_frames(num: int, count: int) -> NDArray[np.int64]:
    """Choose which of ``num`` frames a film of about ``count`` frames shows.

    Parameters
    ----------
    num
        How many frames there are, at least 1.
    count
        How many are wanted, at least 1; where it exceeds ``num``, all are taken.

    Returns
    -------
    (min(num, count),) int64, rising without repeats, evenly spaced, with the first and the last frame
    among them (one frame alone is the last).
    """
    if num < 1 or count < 1:
        raise VizdiffUsageError(f"a film needs at least one frame, found num={num}, count={count}")
    if count == 1:
        return np.array([num - 1], dtype=np.int64)
    return np.rint(np.linspace(0, num - 1, min(num, count))).astype(np.int64)


def side_by_side(left: Array, right: Array, gap: int = 2) -> Array:
    """Return two films (F, H, W) of values in [-1, 1] as one, with a white gap of so many pixels between."""
    white = np.ones((*left.shape[:2], gap), dtype=left.dtype)
    return np.concatenate([left, white, right], axis=2)


def can_write_mp4() -> bool:
    """Return whether there is something that makes an MP4: PyAV, or ffmpeg on the PATH."""
    return find_spec("av") is not None or shutil.which("ffmpeg") is not None


def require_mp4() -> None:
    """Say how to get what makes an MP4, where it is missing.

    Raises
    ------
    VizdiffUsageError
        In one line, with the mend.
    """
    if not can_write_mp4():
        raise VizdiffUsageError(
            "an MP4 needs PyAV or ffmpeg, and neither is here: "
            "pip install 'viz-diffusion[video]', or choose gif or webp"
        )


Count = tuple[int, int | None]
"""What stands under a frame: the steps left, and t (None under the finished picture)."""
Heads = tuple[Head, ...]
"""What stands over a frame: some words over each of the pictures in it, from left to right."""


def film_bytes(
    frames: Array,
    format: str,
    *,
    counts: Sequence[Count] | None = None,
    heads: Sequence[Heads] | None = None,
    scale: int = 8,
    frame_ms: int = 60,
    hold_ms: int = 1000,
) -> bytes:
    """Return a film whose last frame is held, as the bytes of a file.

    Parameters
    ----------
    frames
        (F, H, W) float, in [-1, 1]: what is shown in grey, first to last; F at least 1. (F, H, W, 3) for colours,
        in a GIF or WebP.
    format
        ``gif`` and ``webp`` (lossless) loop, ``mp4`` (H.264) plays once.
    counts
        (F,) steps left and t, written on a strip beneath each frame; None for pictures alone.
    heads
        (F,) what is written on a strip above each frame; None for no such strip.
    scale
        Page pixels for each image pixel, a whole number, at least 1.
    frame_ms, hold_ms
        How long each frame and the last one stay, in milliseconds; GIF counts in steps of 10 ms, an MP4
        in whole frames. Frames that are equal one after another are stored once in a GIF, for their time
        together.

    Raises
    ------
    VizdiffUsageError
        Where the format is another, or nothing here can make an MP4.
    """
    colours = frames.ndim == 4 and frames.shape[-1] == 3 and format != "mp4"
    if (frames.ndim != 3 and not colours) or not frames.shape[0]:
        raise VizdiffInputError(f"a film needs frames of the shape (F, H, W), found {frames.shape}")
    if scale < 1 or frame_ms < 10 or hold_ms < 10:
        raise VizdiffUsageError("a film needs scale >= 1, frame_ms >= 10 and hold_ms >= 10")
    if format not in FILM_FORMATS:
        raise VizdiffUsageError(f"film format {format!r} is unknown; choose from {', '.join(FILM_FORMATS)}")
    large = page_frames(frames, counts, scale, heads)
    if format == "mp4":
        return _mp4(large + large[-1:] * (-(-hold_ms // frame_ms) - 1), frame_ms)
    first, *rest = (Image.fromarray(frame) for frame in large)
    durations = [frame_ms] * len(rest) + [hold_ms]
    buffer = io.BytesIO()
    if format == "webp":
        colour = [frame.convert("RGB") for frame in rest]  # WebP has no grey
        first.convert("RGB").save(
            buffer, "WEBP", save_all=True, append_images=colour, duration=durations, loop=0, lossless=True, method=3
        )
    else:
        first.save(buffer, "GIF", save_all=True, append_images=rest, duration=durations, loop=0, optimize=False)
    return buffer.getvalue()


def page_frames(
    frames: Array, counts: Sequence[Count] | None, scale: int, heads: Sequence[Heads] | None = None
) -> list[NDArray[np.uint8]]:
    """Return (F, H, W) or (F, H, W, 3) values in [-1, 1] as F pages, enlarged, heads above and counts beneath."""
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
        beneath = (counter_strip(width, high, *count) for count in counts)
        pages = [[*page, _coloured(strip, colours)] for strip, page in zip(beneath, pages, strict=True)]
    return [np.concatenate(page) for page in pages]


def _coloured(strip: NDArray[np.uint8], colours: list[int]) -> NDArray[np.uint8]:
    """Return a grey strip with as many channels as the frames have."""
    return np.repeat(strip[:, :, None], colours[0], axis=2) if colours else strip


def _mp4(frames: list[NDArray[np.uint8]], frame_ms: int) -> bytes:
    """Encode (H, W) grey frames as H.264, with even sides as it wants them."""
    even = [np.pad(frame, [(0, side % 2) for side in frame.shape], mode="edge") for frame in frames]
    require_mp4()
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        if find_spec("av") is not None:
            _mp4_by_av(path, even, frame_ms)
        else:
            _mp4_by_ffmpeg(path, even, frame_ms)
        return path.read_bytes()


def _mp4_by_av(path: Path, frames: list[NDArray[np.uint8]], frame_ms: int) -> None:
    import av

    height, width = frames[0].shape
    try:
        with av.open(str(path), "w", options={"movflags": "faststart"}) as container:
            stream = container.add_stream(
                "libx264", rate=Fraction(1000, frame_ms), options={"crf": "16", "preset": "fast"}
            )
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for frame in frames:
                picture = av.VideoFrame.from_ndarray(np.repeat(frame[..., None], 3, axis=2), format="rgb24")
                container.mux(stream.encode(picture))
            container.mux(stream.encode(None))
    except av.error.FFmpegError as error:
        raise VizdiffIOError(f"PyAV cannot make an MP4 here ({error}); choose gif or webp") from error


def _mp4_by_ffmpeg(path: Path, frames: list[NDArray[np.uint8]], frame_ms: int) -> None:
    height, width = frames[0].shape
    command = [
        "ffmpeg",
        "-v",
        "error",
        "-f",
        "rawvideo",
        "-pix_fmt",
        "gray",
        "-s",
        f"{width}x{height}",
        "-r",
        f"1000/{frame_ms}",
        "-i",
        "-",
        "-vf",
        "format=rgb24",
        "-c:v",
        "libx264",
        "-crf",
        "16",
        "-preset",
        "fast",
        "-pix_fmt",
        "yuv420p",
        "-movflags",
        "+faststart",
        str(path),
    ]
    done = subprocess.run(command, input=np.stack(frames).tobytes(), capture_output=True, check=False)
    if done.returncode or not path.is_file():
        said = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it said nothing"]
        raise VizdiffIOError(f"ffmpeg cannot make an MP4 here ({said[-1]}); choose gif or webp")


def write_gif(
    frames: Array,
    path: Path,
    *,
    counts: Sequence[Count] | None = None,
    heads: Sequence[Heads] | None = None,
    scale: int = 8,
    frame_ms: int = 60,
    hold_ms: int = 1000,
) -> None:
    """Write a looping GIF whose last frame is held, whole or not at all; see :func:`film_bytes`."""
    data = film_bytes(frames, "gif", counts=counts, heads=heads, scale=scale, frame_ms=frame_ms, hold_ms=hold_ms)
    write_bytes(Path(path), data)
