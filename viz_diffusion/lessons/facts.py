"""Facts of a lesson: a dataclass for Python, and by name for the texts of the catalogue and JSON files."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields, is_dataclass
from typing import Any, get_type_hints


@dataclass(frozen=True)
class FactGroup:
    """Marks a field of a lesson's facts that is a dataclass of facts itself: ``Annotated[PathFacts, FactGroup()]``.

    Texts and JSON files have its fields in the place of the group; none of them where the group is None.
    """

    prefix: str = ""
    """What comes before the names of its fields."""


def facts_by_name(facts: Any) -> dict[str, Any]:
    """Return a lesson's facts as JSON values by name: what texts are filled with, and what JSON files hold."""
    found: dict[str, Any] = {}
    for name, group in _fact_groups(type(facts)).items():
        value = getattr(facts, name)
        if group is None:
            found[name] = _to_json(value)
        elif value is not None:
            found |= {group.prefix + inner: one for inner, one in facts_by_name(value).items()}
    return found


def _fact_groups(kind: type) -> dict[str, FactGroup | None]:
    """Return by name, for each field of a dataclass of facts, how it is a group; None where it is a fact."""
    hints = get_type_hints(kind, include_extras=True)
    extras = {field.name: getattr(hints[field.name], "__metadata__", ()) for field in fields(kind)}
    return {name: next((one for one in found if isinstance(one, FactGroup)), None) for name, found in extras.items()}


def _to_json(value: Any) -> Any:
    """Return a fact as JSON values: dataclasses as objects, tuples as lists."""
    if is_dataclass(value):
        return {field.name: _to_json(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {name: _to_json(one) for name, one in value.items()}
    if isinstance(value, (tuple, list)):
        return [_to_json(one) for one in value]
    return value
