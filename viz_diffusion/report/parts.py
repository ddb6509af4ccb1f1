"""What a report page is made of, checked: recorded runs, pictures, tables, charts, chapters, the page.

Knows nothing about HTML, sampling or drawing.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.errors import VizdiffNonFiniteError, VizdiffUsageError
from viz_diffusion.report import sprites

Float32 = NDArray[np.float32]
Float64 = NDArray[np.float64]
Int64 = NDArray[np.int64]

MIMES = ("image/png", "image/svg+xml", "image/webp")
_ANCHOR = re.compile(r"[a-z][a-z0-9_-]*")
_NUMBER = re.compile(r"[<>≤≥≈±+−–—-]?|[<>≤≥≈±+−\s-]*\d[\d.,\s+−–±%()\[\]-]*(\s?[a-zA-Z]{1,4})?")


@dataclass(frozen=True, eq=False)
class Player:
    """One recorded run that the page can play.

    Raises
    ------
    VizdiffUsageError
        Where shapes, timesteps or the schedule do not fit together.
    VizdiffNonFiniteError
        Where a frame holds NaN or infinity.
    """

    digit: int | None
    """The digit that was asked for, 0..9; None where it is not known to be one."""
    x_t: Float32
    """(S+1, H, W) float32, or (S+1, H, W, 3) of three colours, nominally -1..1: the picture entering each step, and
    last the finished one."""
    x0_pred: Float32
    """(S, H, W) or (S, H, W, 3) float32, -1..1: the guess of the finished picture at each step."""
    eps_pred: Float32 | None
    """(S, H, W) float32, standard deviations: the predicted noise at each step; None where not kept."""
    timesteps: Int64 | Float64
    """(S,) int or float, strictly falling: t of each step, in 0..T-1."""
    alphas_cumprod: Float64
    """(T,) float64, unitless, 0..1: the signal's share of power at every timestep of the schedule."""
    steps_left: Int64 | None = None
    """(S,) int, strictly falling, last >= 1: steps left before each step. None means t + 1."""
    sampler: str = "ddpm"
    """ddpm, ddim, dpm-solver++, or another program's."""
    guidance_scale: float = 1.0
    """s; 1 is none, NaN not known."""
    step_alphas_cumprod: Float64 | None = None
    """(S,) float64: ᾱ at each step, where it does not follow from timesteps and ``alphas_cumprod``."""

    def __post_init__(self) -> None:
        count, shape = len(self.timesteps), np.shape(self.x0_pred)
        run = "the recording" if self.digit is None else f"digit {self.digit}"
        pictures = len(shape) == 3 or (len(shape) == 4 and shape[3] == 3)
        if count == 0 or not pictures or shape[0] != count or np.shape(self.x_t) != (count + 1, *shape[1:]):
            raise VizdiffUsageError(
                f"{run}: {count} timesteps need x0_pred ({count}, H, W) and x_t ({count + 1}, H, W), "
                f"found {shape} and {np.shape(self.x_t)}"
            )
        if self.eps_pred is not None and np.shape(self.eps_pred) != shape[:3]:
            raise VizdiffUsageError(f"{run}: eps_pred must be {shape[:3]}, found {np.shape(self.eps_pred)}")
        for name, row in (("timesteps", self.timesteps), ("steps_left", self.left)):
            if np.shape(row) != (count,) or not (np.diff(row) < 0).all() or np.min(row) < 0:
                raise VizdiffUsageError(f"{run}: {name} must be {count} strictly falling numbers >= 0")
        if np.ndim(self.alphas_cumprod) != 1 or np.max(self.timesteps) >= len(self.alphas_cumprod):
            raise VizdiffUsageError(f"{run}: alphas_cumprod must be (T,) and hold every timestep")
        if np.shape(self.shares) != (count,):
            raise VizdiffUsageError(f"{run}: step_alphas_cumprod must be {count} numbers")
        for shares in (self.alphas_cumprod, self.shares):
            if not ((shares >= 0) & (shares <= 1)).all():
                raise VizdiffUsageError(f"{run}: alphas_cumprod must lie in 0..1")
        for name in ("x_t", "x0_pred", "eps_pred"):
            field = getattr(self, name)
            if field is not None and not np.isfinite(field).all():
                raise VizdiffNonFiniteError(f"{run}: {name} holds NaN or infinity; it is not usable")

    @property
    def shares(self) -> Float64:
        """(S,) float64: ᾱ, the signal's share of power, at each step."""
        if self.step_alphas_cumprod is not None:
            return self.step_alphas_cumprod
        return self.alphas_cumprod[self.timesteps.astype(np.int64)]

    @property
    def left(self) -> Int64:
        """(S,) steps left before each step: ``steps_left``, or t + 1."""
        return np.floor(self.timesteps).astype(np.int64) + 1 if self.steps_left is None else np.asarray(self.steps_left)

    @property
    def total(self) -> int:
        """Steps of the whole run, of which S were kept."""
        return max(int(self.left[0]), len(self.timesteps))

    @cached_property
    def sheets(self) -> dict[str, sprites.Sprite | None]:
        """All frames of ``x_t``, ``x0_pred`` and, where kept, ``eps_pred``, as one sprite sheet each.

        This takes long and leaves the interpreter to others: ask for it in a thread before it is needed.
        """
        eps = self.eps_pred
        return {
            "x_t": sprites.make_sprite(sprites.to_gray8(self.x_t)),
            "x0_pred": sprites.make_sprite(sprites.to_gray8(self.x0_pred)),
            "eps_pred": None if eps is None else sprites.make_sprite(sprites.to_diverging8(eps)),
        }

    @cached_property
    def finished(self) -> sprites.UInt8:
        """(H, W) or (H, W, 3) uint8: the finished picture on the fixed scale."""
        return sprites.to_gray8(self.x_t[-1])


@dataclass(frozen=True, eq=False)
class Picture:
    """One figure with its words."""

    name: str
    """File-like name without folder, such as ``snr``."""
    data: bytes
    """The picture file's bytes."""
    alt: str
    """What a reader who cannot see it needs to know, one or two sentences."""
    caption: str
    """What stands beneath it, plain text."""
    width: int
    """Pixels across, for the room kept while loading; only the ratio to ``height`` matters."""
    height: int
    """Pixels downwards."""
    title: str = ""
    """A few words: all that stands beneath it on a slide, where its caption goes to the speaker's notes."""
    mime: str = "image/png"
    """One of image/png, image/svg+xml, image/webp."""

    def __post_init__(self) -> None:
        if self.mime not in MIMES:
            raise VizdiffUsageError(f"picture {self.name!r} is {self.mime!r}; choose from {', '.join(MIMES)}")
        if self.width <= 0 or self.height <= 0:
            raise VizdiffUsageError(f"picture {self.name!r} must have a width and a height above 0")

    @property
    def uri(self) -> str:
        """The picture as a ``data:`` address."""
        return sprites.data_uri(self.data, self.mime)


@dataclass(frozen=True, eq=False)
class Table:
    """Numbers beside a figure."""

    caption: str
    """What the numbers are, with units, plain text."""
    header: tuple[str, ...]
    """(C,) column names."""
    rows: tuple[tuple[str, ...], ...]
    """(R, C) finished texts; the first column names the row."""

    def __post_init__(self) -> None:
        if not self.header or any(len(row) != len(self.header) for row in self.rows):
            raise VizdiffUsageError(f"table {self.caption!r}: every row needs {len(self.header)} cells")

    @cached_property
    def numeric(self) -> tuple[bool, ...]:
        """(C,) which columns after the first hold numbers alone, and so are set flush right."""
        columns = zip(*self.rows, strict=True) if self.rows else [()] * len(self.header)
        return tuple(
            index > 0 and bool(column) and all(_NUMBER.fullmatch(cell.strip()) for cell in column)
            for index, column in enumerate(columns)
        )


@dataclass(frozen=True, eq=False)
class Line:
    """One line of a chart."""

    name: str
    """What it shows, a few words."""
    values: Float64
    """(S,) float64, finite."""


@dataclass(frozen=True, eq=False)
class Chart:
    """Numbers with one value at each recorded step; the page's scrubber moves along it."""

    name: str
    """Unique within its chapter."""
    title: str
    """What is drawn, with its unit."""
    caption: str
    """What to see."""
    steps_left: Int64
    """(S,) int64, strictly falling, in 1 .. S."""
    lines: tuple[Line, ...]
    """One line or more."""

    def __post_init__(self) -> None:
        count = len(self.steps_left)
        if not self.lines or any(np.shape(line.values) != (count,) for line in self.lines):
            raise VizdiffUsageError(f"chart {self.name!r}: every line needs {count} values")
        if not all(np.isfinite(line.values).all() for line in self.lines):
            raise VizdiffNonFiniteError(f"chart {self.name!r} holds NaN or infinity")


@dataclass(frozen=True)
class Answer:
    """What a measurement answered to a yes-or-no question."""

    question: str
    """The question, in words."""
    verdict: str
    """A few words: found, not found, or that it cannot be told."""
    text: str
    """The answer with its numbers."""
    holds: bool | None
    """Whether it was found; None where it cannot be told."""


@dataclass(frozen=True)
class Correction:
    """Something that is said of the sculptor, and how far it holds."""

    said: str
    """The saying, in quotation marks."""
    holds: str
    """One or two sentences."""


@dataclass(frozen=True, eq=False)
class Chapter:
    """One question with its figures, words and numbers."""

    id: str
    """Anchor: small letters, digits, ``-`` and ``_``; unique on the page."""
    title: str
    """The story's name, such as "Shattering the statue"."""
    question: str
    """The heading."""
    pictures: tuple[Picture, ...] = ()
    """Figures, in order."""
    paragraphs: tuple[str, ...] = ()
    """Plain text, one string a paragraph."""
    charts: tuple[Chart, ...] = ()
    """What has one value at each recorded step."""
    tables: tuple[Table, ...] = ()
    """Numbers, in order."""
    try_this: str = ""
    """A command to run next; empty for none."""
    say: str = ""
    """One sentence for the speaker; empty for none."""
    exercise: str = ""
    """A question for the class; empty for none."""
    answer: str = ""
    """Its answer, shown on demand."""
    folded: bool = False
    """Whether an advanced chapter starts closed."""
    answers: tuple[Answer, ...] = ()
    """What was asked of the measurement, and what it answered."""
    note: str = ""
    """How it was measured, where that is not how the rest of the page was; empty for none."""
    advanced: tuple[Picture, ...] = ()
    """Figures of the advanced part, which stands last and is closed at first."""
    advanced_text: str = ""
    """Its paragraph."""
    correction: Correction | None = None
    """Where its story is not to be taken at its word; shown with the others at the end."""

    def __post_init__(self) -> None:
        if not _ANCHOR.fullmatch(self.id) or self.id.startswith("ui-"):
            raise VizdiffUsageError(f"chapter id {self.id!r} must be small letters, digits, - or _, not ui-...")


@dataclass(frozen=True, eq=False)
class Page:
    """Everything the report shows."""

    title: str
    """The page's headline, one sentence."""
    lede: str
    """What follows it, one or two sentences."""
    players: tuple[Player, ...]
    """Recorded runs from one noise; the first is shown when the page opens."""
    comparisons: tuple[Player, ...]
    """The same digit from the same noise, guided or sampled otherwise; to stand beside the first."""
    command: str
    """The command that makes this page again."""
    facts: tuple[tuple[str, str], ...]
    """(name, value) pairs in the foot of the player: seed, weights, sampler."""
    strip: Picture
    """The run as one still picture, for paper and for readers without JavaScript."""
    chapters: tuple[Chapter, ...]
    """The chapters, in order."""
    provenance: tuple[tuple[str, str], ...]
    """(what, value) pairs: versions, hashes, settings."""
    lang: str = "en"
    """The catalogue of interface words, and the page's ``lang``."""
    alone: bool = False
    """Whether it tells of a recording alone, whose network is not at hand: in the words for that."""
    note: str = ""
    """What stands before the chapters; empty for nothing."""

    def __post_init__(self) -> None:
        if not self.players:
            raise VizdiffUsageError("a report needs at least one recorded run")
        ids = [chapter.id for chapter in self.chapters]
        if len(set(ids)) != len(ids):
            raise VizdiffUsageError(f"chapter ids must differ, found {', '.join(ids)}")
