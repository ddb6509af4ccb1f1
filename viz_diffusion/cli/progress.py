"""Progress in a log: what a stage will take, measured from its own first part, and a line now and then.

For a stderr that is no terminal, where a bar cannot move.
"""

from __future__ import annotations

import time
from collections.abc import Callable

FIRST_LINE = 2.0
"""Seconds after which a stage says what it will take."""
EVERY = 15.0
"""Seconds from one line to the next."""


class LogProgress:
    """Turns ``update(done, total, text)`` into few lines.

    Parameters
    ----------
    say
        Prints one line.
    now
        Returns seconds that only rise.
    """

    def __init__(self, say: Callable[[str], None], now: Callable[[], float] = time.monotonic) -> None:
        self._say, self._now = say, now
        self._begun = now()
        self._next = self._begun + FIRST_LINE

    def update(self, done: int, total: int | None, text: str) -> None:
        """Say how far it is, if the last line is long enough ago; with a total, also what is left."""
        now = self._now()
        if now < self._next or done == total:
            return
        passed = now - self._begun
        if total is None:
            self._say(f"{text} ({duration(passed)} so far)")
        elif done:
            self._say(f"{text}: {done / total:.0%}, about {duration(passed / done * (total - done))} left")
        self._next = now + EVERY


def duration(seconds: float) -> str:
    """Return a time for people, never too short: 8 s, 40 s, 1 min 20 s, 25 min."""
    whole = int(seconds) + (seconds > int(seconds))
    if whole < 20:
        return f"{max(whole, 1)} s"
    tens = -(-whole // 10) * 10
    if tens < 60:
        return f"{tens} s"
    minutes, rest = divmod(tens, 60)
    return f"{minutes} min {rest} s" if rest and minutes < 5 else f"{minutes + (rest > 0)} min"
