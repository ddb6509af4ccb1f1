"""``vizdiff lessons``: which questions there are, and how long their answers take."""

from __future__ import annotations

from viz_diffusion.cli.console import Terminal, about
from viz_diffusion.cli.options import JsonOption, LangOption, QuietOption

HELP = "Example: vizdiff lessons\n\nList the lessons in their order: the question each asks, and how long it takes."


def run_command(lang: LangOption = "en", as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Look and say."""
    terminal = Terminal(as_json, quiet)
    from viz_diffusion.text.catalogue import load_texts

    texts = load_texts(lang)
    terminal.say("Loading", "PyTorch")
    from viz_diffusion.cli.commands.lesson import announced
    from viz_diffusion.lessons.base import all_lessons

    rows = []
    for lesson in all_lessons():
        words = {part: texts[f"chapter.{lesson.name}.{part}"] for part in ("title", "question")}
        quick, full = (announced(lesson, whole) for whole in (False, True))
        rows.append({"name": lesson.name, "core": lesson.core, **words, "seconds": quick, "seconds_full": full})
        if not as_json:
            print(f"{lesson.name:<14}{about(quick):>7}  --full {about(full):>7}  {words['title']}: {words['question']}")
    terminal.result({"lessons": rows})
