"""Figures by name, each drawn when it is first asked for: whoever wants one of five does not wait for five."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from matplotlib.figure import Figure


class Figures(Mapping[str, Figure]):
    """Figures by name, in order; each is drawn once, when it is first asked for.

    ``Figures(a=draw_a, b=draw_b)`` takes functions without arguments; ``|`` joins two of them.
    """

    def __init__(self, **draw: Callable[[], Figure]) -> None:
        self._draw = draw
        self._drawn: dict[str, Figure] = {}

    def __getitem__(self, name: str) -> Figure:
        """Return a figure.

        Raises
        ------
        KeyError
            Where there is none of that name.
        """
        if name not in self._drawn:
            self._drawn[name] = self._draw[name]()
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        """Give the names, in order; nothing is drawn."""
        return iter(self._draw)

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self._draw)

    def __or__(self, other: Figures) -> Figures:
        """Return these, and then the others."""
        return Figures(**self._draw, **other._draw)
