"""A mapping of figures that are drawn on first access."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from matplotlib.figure import Figure


class Figures(Mapping[str, Figure]):
    """Figures by name; each is drawn once, when it is first accessed.

    ``Figures(a=draw_a, b=draw_b)`` takes functions without arguments; ``|`` joins two mappings.
    """

    def __init__(self, **draw: Callable[[], Figure]) -> None:
        self._draw = draw
        self._drawn: dict[str, Figure] = {}

    def __getitem__(self, name: str) -> Figure:
        """Return a figure, drawing it where this has not been done yet.

        Raises
        ------
        KeyError
            Where no figure has that name.
        """
        if name not in self._drawn:
            self._drawn[name] = self._draw[name]()
        return self._drawn[name]

    def __iter__(self) -> Iterator[str]:
        """Yield the names in their given sequence; nothing is drawn."""
        return iter(self._draw)

    def __len__(self) -> int:
        """Return the number of figures."""
        return len(self._draw)

    def __or__(self, other: Figures) -> Figures:
        """Return a mapping with these figures first and those of ``other`` after them."""
        return Figures(**self._draw, **other._draw)
