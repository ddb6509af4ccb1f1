"""The list of lessons, from their declarations as they are written: listing them loads neither PyTorch nor matplotlib.

Each ``lesson.py`` declares ``LESSON = Lesson(name=…, …)``; what is listed is literal there, so that the file is parsed
and not imported. Everything else of a lesson is in :mod:`viz_diffusion.lessons.base`.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class ListedLesson:
    """What the list says about a lesson; the fields are those of :class:`~viz_diffusion.lessons.base.Lesson`."""

    name: str
    position: int
    core: bool
    seconds: tuple[float, float]
    needs: frozenset[str]


def listed_lessons() -> tuple[ListedLesson, ...]:
    """Return all lessons, in the order of the story."""
    spec = find_spec("viz_diffusion.lessons")
    folders = spec.submodule_search_locations if spec is not None else None
    paths = [path for folder in folders or () for path in Path(folder).glob("*/lesson.py")]
    return tuple(sorted(map(_listed, paths), key=lambda lesson: lesson.position))


def _listed(path: Path) -> ListedLesson:
    statements = ast.parse(path.read_text("utf-8")).body
    assigned = {ast.unparse(one.targets[0]): one.value for one in statements if isinstance(one, ast.Assign)}
    declared = assigned["LESSON"]
    assert isinstance(declared, ast.Call), path
    written = {keyword.arg: keyword.value for keyword in declared.keywords}

    def literal(name: str, default: Any) -> Any:
        node = written.get(name)
        if isinstance(node, ast.Call):  # frozenset({…})
            node = node.args[0] if node.args else None
        return default if node is None else ast.literal_eval(node)

    return ListedLesson(
        name=literal("name", ""),
        position=literal("position", 0),
        core="measure" in written,
        seconds=literal("seconds", (1.0, 1.0)),
        needs=frozenset(literal("needs", ())),
    )
