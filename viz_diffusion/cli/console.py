"""Messages and progress on stderr, one JSON object on stdout."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any
from unicodedata import east_asian_width

from viz_diffusion.cli.error_language import in_language
from viz_diffusion.cli.option_groups import option_name
from viz_diffusion.cli.standard_streams import is_unicode
from viz_diffusion.errors import with_options
from viz_diffusion.files import to_json
from viz_diffusion.text.catalogue import Texts, load_texts

if TYPE_CHECKING:
    from viz_diffusion.evaluation.intervals import Share

ShowProgress = Callable[[int, int | None, str], None]
"""Shows progress: what is done, of how much, and what it is."""
FIRST_LINE_SECONDS = 2.0
"""Seconds until the first line of progress."""
LINE_SECONDS = 15.0
"""Seconds from one line to the next."""
_KEY = str.maketrans({" ": "_", "-": "_", "/": "_"})
"""Makes a label the last part of its key: ``held_out``, ``images_s``."""
LABEL_WIDTH = 9
"""Columns of the label of a line."""


class LogProgress:
    """Progress in few lines, for a log: takes ``update(done, total, text)``.

    Parameters
    ----------
    say
        Prints one line.
    now
        Returns the time in seconds, on a clock that never goes back.
    texts
        The catalogue; English by default.
    """

    def __init__(
        self, say: Callable[[str], None], now: Callable[[], float] = time.monotonic, texts: Texts | None = None
    ) -> None:
        self._say, self._now = say, now
        self._texts = texts or load_texts()
        self._begun = now()
        self._next = self._begun + FIRST_LINE_SECONDS

    def update(self, done: int, total: int | None, text: str) -> None:
        """Say the progress, where the last line is long enough ago; with a total, also the time left."""
        now = self._now()
        if now < self._next or done == total:
            return
        passed = now - self._begun
        if total is None:
            self._say(self._texts("terminal.so_far", text=text, passed=duration(passed)))
        elif done:
            left = duration(passed / done * (total - done))
            self._say(self._texts("terminal.time_left", text=text, share=done / total, left=left))
        self._next = now + LINE_SECONDS


def duration(seconds: float) -> str:
    """Return a duration in words, rounded up: 8 s, 40 s, 1 min 20 s, 25 min."""
    whole = int(seconds) + (seconds > int(seconds))
    if whole < 20:
        return f"{max(whole, 1)} s"
    tens = -(-whole // 10) * 10
    if tens < 60:
        return f"{tens} s"
    minutes, rest = divmod(tens, 60)
    return f"{minutes} min {rest} s" if rest and minutes < 5 else f"{minutes + (rest > 0)} min"


class Terminal:
    """The output of a command: labelled lines and progress on stderr, the result on stdout.

    Parameters
    ----------
    as_json
        Whether the result goes to stdout as one JSON object.
    quiet
        Whether lines and progress bars are left out.
    lang
        Language of the lines.

    Raises
    ------
    VizdiffUsageError
        Where there is no catalogue for ``lang``.
    """

    def __init__(self, as_json: bool, quiet: bool, lang: str = "en") -> None:
        self.texts = load_texts(lang)
        self._labels = self.texts.section("terminal.label")
        self._when_done: list[Callable[[], None]] = []
        self._as_json = as_json
        self._quiet = quiet
        self._begun = time.perf_counter()

    @property
    def live(self) -> bool:
        """Whether stderr is a terminal, and output is wanted."""
        return not self._quiet and sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Wall time since the command began."""
        return time.perf_counter() - self._begun

    def text(self, key: str, **values: object) -> str:
        """Return the text ``terminal.KEY`` of the catalogue, filled in."""
        return self.texts(f"terminal.{key}", **values)

    def label(self, label: str) -> str:
        """Return a label, given in English, in the terminal's language; one that has no translation is returned."""
        return self._labels.get(label.lower().translate(_KEY), label)

    def say(self, label: str, text: str) -> None:
        """Print one line: the label in its column, then the text."""
        if self._quiet:
            return
        print(f"{padded(self.label(label), LABEL_WIDTH)} {text}", file=sys.stderr, flush=True)

    def tell(self, label: str, key: str, **values: object) -> None:
        """Print one line: the label, then the text ``terminal.KEY`` of the catalogue, filled in."""
        self.say(label, self.text(key, **values))

    def message(self, marked: str) -> str:
        """Return a message of the library in the terminal's language, with options in the place of parameters."""
        return with_options(in_language(marked, self.texts.lang), option_name)

    def note(self, marked: str) -> None:
        """Print a note of the library, whose parameters stand between backticks."""
        self.say("Note", self.message(marked))

    def tell_clipping(self, share: float | None, clip: bool) -> None:
        """Print the share of pixels of predicted x_0 outside [-1, 1], and whether they were clipped; None: nothing."""
        if share is None:
            return
        self.tell("Clipping", "clipped" if clip else "not_clipped", share=share)

    def share(self, share: Share) -> str:
        """Return a share with its count and its 95% confidence interval, in words."""
        low, high = share.interval
        return self.text("share", hits=share.hits, count=share.count, value=share.value, low=low, high=high)

    @contextmanager
    def progress(self, label: str, text: str, total: int | None) -> Iterator[ShowProgress]:
        """Show a progress bar on a terminal, elsewhere some lines; yield ``update(done, total, text)``."""
        if self._quiet:
            yield lambda *_: None
            return
        if not sys.stderr.isatty():
            self.say(label, text)
            yield LogProgress(lambda line: self.say(label, line), texts=self.texts).update
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn(f"{padded(self.label(label), LABEL_WIDTH + 1)}{{task.description}}"),
            BarColumn(bar_width=30),
            TextColumn("{task.fields[count]}"),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(text, total=total, count="")

            def update(done: int, total: int | None, text: str) -> None:
                count = "" if total is None else f"{done:,}/{total:,}"  # without a total there is nothing to count to
                bar.update(task, completed=done, total=total, description=text, count=count)

            yield update

    def translated(self, update: ShowProgress, text: str) -> ShowProgress:
        """Return ``update`` for the progress of the library, whose texts are English: elsewhere ``text`` stands."""
        return update if self.texts.lang == "en" else lambda done, total, _: update(done, total, text)

    def when_done(self, then: Callable[[], None]) -> None:
        """Call a function when the command has written everything."""
        self._when_done.append(then)

    def result(self, values: dict[str, Any]) -> None:
        """Print the result as one JSON object, with ``--json``; the command has written everything."""
        for then in self._when_done:
            then()
        if self._as_json:
            print(to_json(values, ascii_only=not is_unicode(sys.stdout)), flush=True)


def show_path(path: Path) -> str:
    """Return a path as a user would type it: relative where it is inside the current folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def show_size(path: Path) -> str:
    """Return a file's size in words: 120 kB, 1.2 MB."""
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def estimate_text(seconds: float) -> str:
    """Return an estimated duration in words: 5 s, 40 s, 3 min."""
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{round(seconds / 60)} min"


def columns(text: str) -> int:
    """Return how many columns of a terminal a text takes: two for each Chinese character."""
    return sum(2 if east_asian_width(letter) in "WF" else 1 for letter in text)


def padded(text: str, width: int) -> str:
    """Return a text with spaces up to ``width`` columns."""
    return text + " " * (width - columns(text))


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table with aligned columns."""
    widths = [max(map(columns, column)) for column in zip(header, *rows, strict=True)]
    return [
        "  ".join(padded(cell, width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in (header, *rows)
    ]
