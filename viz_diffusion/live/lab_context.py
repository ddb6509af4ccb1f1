"""What the lab's template and scripts need beside the network: words, tasks, colours.

Knows nothing about networks.
"""

from __future__ import annotations

from typing import Any

from markupsafe import Markup

from viz_diffusion.files import to_json
from viz_diffusion.live.tasks import guided_tasks, measured_weights, task_json
from viz_diffusion.plots import pixels
from viz_diffusion.plots.theme import NOISE_LIMIT
from viz_diffusion.text.catalogue import Texts

STEP_CHOICES = (10, 20, 50, 100, 250, 1000)
SHAPES = ("bar", "upright", "slash", "dot", "ring", "house", "cross", "wave", "face")
"""Ready-made strokes of ``templates/shapes.js``."""


def lab_context(facts: dict[str, Any], texts: Texts) -> dict[str, Any]:
    """Return the fields of ``templates/lab.html.j2`` for a network with these facts.

    Tasks are there for the weights that the lessons were measured on, and for no others.
    """
    words = texts.section("live")
    length = len(facts["schedules"][0]["alphas_cumprod"])
    tasks = guided_tasks(texts) if facts["weights_sha256"] == measured_weights() else ()
    lab_data = {
        "text": texts.section("live.script"),
        "tasks": [task_json(task) for task in tasks],
        "noise_colours": pixels.PUOR.tolist(),
        "noise_limit": NOISE_LIMIT,
    }
    return {
        "t": words,
        "tasks": tasks,
        "side": facts["model"]["image_size"],
        "last_timestep": length - 1,
        "step_choices": sorted({min(steps, length) for steps in STEP_CHOICES}),
        "shapes": SHAPES,
        "lab_data": json_for_html(lab_data),
    }


def json_for_html(value: Any) -> Markup:
    """Return strict JSON without characters that could end its <script>, open a comment or break a line."""
    text = to_json(value)
    for character in "<>&\u2028\u2029":
        text = text.replace(character, f"\\u{ord(character):04x}")
    return Markup(text)
