"""``vizdiff lessons``: list the lessons, with their questions and durations."""

from __future__ import annotations

from viz_diffusion.cli.console import Terminal, estimate_text
from viz_diffusion.cli.lesson_list import listed_lessons
from viz_diffusion.cli.lesson_study import estimated_seconds
from viz_diffusion.cli.options import JsonOption, LangOption, QuietOption

HELP = "List the lessons: question and duration of each.\n\nExample: vizdiff lessons"


def run_command(lang: LangOption = "en", as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """List the lessons."""
    terminal = Terminal(as_json, quiet, lang)
    texts = terminal.texts
    rows = []
    for lesson in listed_lessons():
        words = {part: texts[f"chapter.{lesson.name}.{part}"] for part in ("title", "question")}
        quick, full = (estimated_seconds(lesson, whole) for whole in (False, True))
        rows.append({"name": lesson.name, "core": lesson.core, **words, "seconds": quick, "seconds_full": full})
        if not as_json:
            times = f"{estimate_text(quick):>7}  --full {estimate_text(full):>7}"
            print(f"{lesson.name:<14}{times}  {words['title']}: {words['question']}")
    terminal.result({"lessons": rows})
