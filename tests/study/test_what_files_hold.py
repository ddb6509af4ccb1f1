"""Everything that a lesson measures has a form in which a study's files can hold it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

import numpy as np
import pytest

from viz_diffusion.lessons.base import AnyLesson, all_lessons
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.stored_study import data_kind

CORE = [lesson for lesson in all_lessons() if lesson.core]


def unknown_to_files(kind: Any, seen: set[Any]) -> Iterator[str]:
    """Give the parts of a type that neither JSON nor arrays hold."""
    if get_origin(kind) in (Union, UnionType, tuple):
        for one in get_args(kind):
            yield from unknown_to_files(one, seen)
    elif get_origin(kind) is np.ndarray or kind in (int, float, str, bool, NoneType, Ellipsis, Trajectory):
        return
    elif not is_dataclass(kind):
        yield str(kind)
    elif kind not in seen:
        seen.add(kind)
        for name, hint in get_type_hints(kind).items():
            yield from (f"{kind.__name__}.{name}: {one}" for one in unknown_to_files(hint, seen))


@pytest.mark.parametrize("lesson", CORE, ids=lambda lesson: lesson.name)
def test_every_lesson_measures_what_a_file_can_hold(lesson: AnyLesson) -> None:
    """Otherwise it would be measured for each product, or its results could not be written."""
    kind = data_kind(lesson)
    assert kind is not None
    assert list(unknown_to_files(kind, set())) == []
    assert list(unknown_to_files(tuple[dict[str, int], ...], set())) == ["dict[str, int]"]
