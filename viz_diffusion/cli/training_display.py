"""Display of a training: a live table on a terminal, elsewhere some lines, with ``--quiet`` nothing.

Knows nothing about training but its :class:`Progress`.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.standard_streams import is_unicode

if TYPE_CHECKING:
    from rich.table import Table

    from viz_diffusion.text.catalogue import Texts
    from viz_diffusion.training.trainer import Progress


LINE_SECONDS = 30.0
"""Seconds between two lines, without a terminal."""
TABLE_SECONDS = 0.5
"""Seconds between two drawings of the table."""
SMOOTHING = 0.02
"""Weight of each new batch in the exponential moving average of the shown loss."""
_BAR = 24

ShowProgress = Callable[["Progress"], float]
"""Shows the progress that ``Trainer.run()`` yields; returns the smoothed training loss."""


@contextmanager
def watch(terminal: Terminal) -> Iterator[ShowProgress]:
    """Open the display; yield the function to call with the progress of every step."""
    loss: float | None = None
    shown = time.perf_counter()
    show, close, pause = _open(terminal)

    def update(now: Progress) -> float:
        nonlocal loss, shown
        loss = now.loss if loss is None else loss + SMOOTHING * (now.loss - loss)
        if time.perf_counter() - shown >= pause or now.step == now.steps:
            show(now, loss)
            shown = time.perf_counter()
        return loss

    try:
        yield update
    finally:
        close()


def _open(terminal: Terminal) -> tuple[Callable[[Progress, float], None], Callable[[], None], float]:
    """Return a function that shows a step, one that closes the display, and the seconds between two steps shown."""
    if not terminal.live:
        return lambda now, loss: terminal.say("Training", line(now, loss, terminal.texts)), lambda: None, LINE_SECONDS
    from rich.console import Console
    from rich.live import Live

    live = Live(console=Console(stderr=True), auto_refresh=False)  # no thread: it would take time from training
    live.start()
    return lambda now, loss: live.update(table(now, loss, terminal), refresh=True), live.stop, TABLE_SECONDS


def rows(now: Progress, loss: float, texts: Texts) -> list[tuple[str, str]]:
    """Return the rows of the table, label and text: steps, losses, speed, time left, kept samples."""
    total = "?" if now.steps is None else f"{now.steps:,}"
    done = 0 if now.steps is None else now.step * _BAR // now.steps
    full, empty = "━╌" if is_unicode(sys.stderr) else "#-"
    steps = texts("terminal.step_of", step=now.step, total=total)
    lines = [("Step", f"{steps}  {full * done}{empty * (_BAR - done)}"), ("Loss", f"{loss:.4f}")]
    if now.evaluation is None:
        lines.append(("Held-out", texts["terminal.heldout_unknown"]))
    else:
        losses = now.evaluation.heldout_loss
        quarters = "  ".join(f"{value:.4f}" for value in losses)
        facts = {"mean": sum(losses) / len(losses), "quarters": quarters, "step": now.evaluation.step}
        lines.append(("Held-out", texts("terminal.heldout", **facts)))
    left = texts["terminal.timing"] if now.seconds_left is None else clock(now.seconds_left)
    lines += [("Images/s", f"{now.images_per_second:.0f}"), ("Time left", left)]
    if now.evaluation is not None:
        lines.append(("Samples", texts("terminal.kept_samples", count=now.evaluation.num_thumbnails)))
    return lines


def table(now: Progress, loss: float, terminal: Terminal) -> Table:
    """Return the rows as a table whose labels are aligned with those of all other messages."""
    from rich.table import Table
    from rich.text import Text

    grid = Table.grid(padding=(0, 0))
    grid.add_column(width=10)
    grid.add_column(overflow="fold")
    for label, text in rows(now, loss, terminal.texts):
        grid.add_row(Text(terminal.label(label)), Text(text))
    return grid


def line(now: Progress, loss: float, texts: Texts) -> str:
    """Return the progress in one line."""
    key = "terminal.step" if now.steps is None else "terminal.at_step"
    parts = [texts(key, step=now.step, total=now.steps or 0), texts("terminal.loss", loss=loss)]
    if now.evaluation is not None:
        losses = now.evaluation.heldout_loss
        parts.append(texts("terminal.heldout_mean", mean=sum(losses) / len(losses)))
    parts.append(texts("terminal.images_per_second", speed=now.images_per_second))
    if now.seconds_left is not None:
        parts.append(texts("terminal.left", left=clock(now.seconds_left)))
    return texts["terminal.comma"].join(parts)


def clock(seconds: float) -> str:
    """Return a duration as m:ss, or h:mm:ss from an hour on."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
