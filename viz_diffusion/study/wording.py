"""What fills the texts of the catalogue: facts as texts show them, sentences joined, commands of the run that is shown.

Gets facts and texts only; knows nothing about lessons or figures.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any

from viz_diffusion.study.class_names import names_note
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.text.class_names import name_labels


def join(*sentences: str) -> str:
    """Return sentences as one text, with a space between them where their script has one."""
    joined = ""
    for sentence in filter(None, sentences):
        joined += sentence if not joined or joined.endswith(("。", "？", "！")) else f" {sentence}"
    return joined


CommandOptions = Mapping[str, Mapping[str, str]]
"""Options that commands need to be about the run that is shown: by command, their values by option."""
NO_OPTIONS: CommandOptions = {}


def with_options(command: str, options: CommandOptions) -> str:
    """Return a command with those of its options that it does not have yet."""
    words = command.split()
    wanted = options.get(words[1], {}) if words[:1] == ["vizdiff"] and len(words) > 1 else {}
    missing = [f"{name} {shlex.quote(value)}" for name, value in wanted.items() if name not in words]
    return " ".join([command, *missing])


def quoted_with_options(text: str, options: CommandOptions) -> str:
    """Return a text in which the commands that stand in quotation marks have their options."""
    return re.sub("(?<=“)vizdiff [^“”]*(?=”)", lambda match: with_options(match[0], options), text)


def without_label(texts: Texts, why: str) -> Texts:
    """Return texts on a generation in which no label plays a part, for a reason ``guidance`` or ``empty``.

    The texts themselves where ``why`` is empty. See :func:`~viz_diffusion.recording.requested_label.unlabelled`.
    """
    return texts.preferring("unlabelled", why=texts[f"unlabelled.why_{why}"]) if why else texts


class _Listed(list[Any]):
    """A list that a text can index (``{digits[0]}``) or write as a whole (``{digits}``)."""

    def __str__(self) -> str:
        return ", ".join(map(str, self))

    __format__ = object.__format__


def weighting(objective: str, weight_exponent: float) -> str:
    """Return the last part of the key of the text on the weights of the squared errors in training."""
    return "snr" if objective == "x0" else "on" if objective == "epsilon" and weight_exponent else "off"


def wording(facts: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """Return facts as texts are filled with them: lists written as a whole, and notes that depend on the facts."""
    named = facts | name_labels(facts, texts.class_names) if texts.class_names else facts
    values = {name: _Listed(value) if isinstance(value, list) else value for name, value in named.items()}
    if texts.class_names:
        values["names_note"] = names_note(texts)
    if "variance" in facts:
        values["variance_note"] = texts(f"report.variance_{facts['variance'] or 'none'}")
        values["clip_note"] = texts(f"report.clip_{'on' if facts['clip'] else 'off'}")
    if "speckle_left" in facts:
        kind = "speckle" if facts["speckle_left"] else "blur"
        values["first_guess"] = texts(f"chapter.guess.first_{kind}", **values)
    if "fork_timesteps" in facts:
        known = "calibration_temperature" in facts
        values["calibration_note"] = texts("chapter.decision.calibration_note", **values) if known else ""
    if "weight_exponent" in facts:
        kind = weighting(facts["objective"], facts["weight_exponent"])
        values["weighting_note"] = texts(f"report.weighting_{kind}", **values)
        other = facts["objective"] != "epsilon"
        values["objective_note"] = texts(f"report.objective_{facts['objective']}") if other else ""
    return values
