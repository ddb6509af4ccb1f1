"""``vizdiff lesson``: measure one lesson, draw it and answer its questions."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.class_choice import check_choice
from viz_diffusion.cli.console import Terminal, show_path, table
from viz_diffusion.cli.generation_request import GenerationRequest
from viz_diffusion.cli.lesson_of_store import LessonOfStore, measure_store, require_decision
from viz_diffusion.cli.lesson_study import lesson_run, study_lesson
from viz_diffusion.cli.open_study import OpenStudy, open_study
from viz_diffusion.cli.option_groups import OUTPUT
from viz_diffusion.cli.options import (
    DEFAULT_DIGIT,
    DEFAULT_SEED,
    PICTURE_SAMPLER,
    DataDirOption,
    DeviceOption,
    DigitOption,
    ForceOption,
    JsonOption,
    LabelOption,
    LangOption,
    QuietOption,
    RunOption,
    SeedOption,
    check_seed,
)
from viz_diffusion.cli.outputs import Output, default_out, picture_names
from viz_diffusion.cli.picture_options import writes_pictures
from viz_diffusion.errors import VizdiffUsageError, did_you_mean
from viz_diffusion.files import write_json
from viz_diffusion.files.output_places import place_folder

if TYPE_CHECKING:
    from viz_diffusion.lessons.base import Finding
    from viz_diffusion.study.narrative import NarratedLesson
    from viz_diffusion.text.catalogue import Texts


HELP = (
    "Answer one question with figures and numbers.\n\n"
    "They are those of the report: measured in full and shipped with the bundled weights, or kept from an earlier "
    "command, or else measured now.\n\n"
    "vizdiff lessons lists the lessons with their questions. Lesson decision also measures many recorded generations, "
    "which vizdiff trajectory --count 10000 makes: --trajectories.\n\n"
    "Example: vizdiff lesson noising"
)
FullOption = Annotated[
    bool,
    typer.Option("--full", help="Measure on more images what does not ship; the expected time is printed first."),
]
RefreshOption = Annotated[
    bool,
    typer.Option("--refresh", help="Measure again what ships with the weights or is kept."),
]
TrajectoriesOption = Annotated[
    str | None,
    typer.Option(
        "--trajectories",
        metavar="PATH|URL",
        help="With lesson decision: a recording of many generations; all of them are measured, chunk by chunk.",
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        help="Folder to write.",
        show_default="reports/lessons, with what differs from the defaults",
        rich_help_panel=OUTPUT,
    ),
]


@writes_pictures
def run_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="Name of the lesson; vizdiff lessons lists them.")],
    run: RunOption = None,
    digit: DigitOption = None,
    label: LabelOption = None,
    seed: SeedOption = DEFAULT_SEED,
    full: FullOption = False,
    refresh: RefreshOption = False,
    trajectories: TrajectoriesOption = None,
    data_dir: DataDirOption = None,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    out: OutOption = None,
    force: ForceOption = False,
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure, draw, write, say."""
    terminal = Terminal(as_json, quiet, lang)
    check_choice(digit, label)
    check_seed(seed)
    texts = terminal.texts
    _check_name(name, texts)
    if trajectories is not None:
        others = {"digit": digit is not None, "label": label is not None, "seed": seed != DEFAULT_SEED}
        require_decision(
            name, [option for option, given in (others | {"full": full, "refresh": refresh}).items() if given]
        )
    terminal.say("Question", texts[f"chapter.{name}.question"])
    out = default_out("lessons", "", digit, lang, label, seed=seed, run=run) if out is None else out
    place_folder(out)
    if trajectories is not None:
        return measure_store(LessonOfStore(trajectories, run, data_dir, device, out, force), terminal)
    from viz_diffusion.lessons.base import choose_lessons

    lesson = choose_lessons(name)[0]
    asked = DEFAULT_DIGIT if digit is None else digit
    request = GenerationRequest(asked, seed, None, PICTURE_SAMPLER, asked=(digit, label), refresh=refresh)
    own = ["--full"] * full + ["--refresh"] * refresh
    written = Output(out / f"{name}.json", "lesson", force, lang, picture_names(lesson.figure_names), None, own, True)
    opened = open_study(request, lesson_run(lesson, run), device, terminal, written, data_dir)
    finding, narrated = study_lesson(opened, lesson, full=full, anew=refresh, texts=texts)
    terminal.say("Drawing", ", ".join(drawing.name for drawing in narrated.drawings))
    from viz_diffusion.study.narrative import save_drawing

    for drawing in narrated.drawings:
        save_drawing(drawing, out)
    result = _result(seed, terminal.seconds, opened, finding, narrated)
    write_json(out / f"{name}.json", result)
    _say(narrated, terminal)
    files = terminal.text("pictures_and_json", names=", ".join(one.name for one in narrated.drawings), json=name)
    terminal.tell("Done", "done_folder", path=show_path(out), files=files, seconds=terminal.seconds)
    terminal.result({"out": str(out), **result})


def _result(seed: int, seconds: float, opened: OpenStudy, finding: Finding, narrated: NarratedLesson) -> dict[str, Any]:
    """Return what was measured, its words and where it comes from, as JSON values."""
    from viz_diffusion.study.narrative import captions_and_details

    run = opened.loaded.run
    return {
        "lesson": finding.lesson.name,
        "run": run.name_or_path,
        "weights_sha256": opened.loaded.weights_sha256,
        "dataset": run.config.dataset,
        "digit": opened.label,
        "seed": seed,
        "seconds": round(seconds, 1),
        "question": narrated.question,
        "answers": [
            {"question": answer.question, "verdict": answer.verdict, "text": answer.text} for answer in narrated.answers
        ],
        **captions_and_details(narrated.drawings),
        **finding.to_dict(),
    }


def _check_name(name: str, texts: Texts) -> None:
    """Refuse a lesson that there is not; the catalogue names all."""
    known = list(dict.fromkeys(key.split(".")[1] for key in texts if key.startswith("chapter.")))
    if name not in known:
        hint = did_you_mean(name, known)
        raise VizdiffUsageError(f"there is no lesson {name!r}; choose from {', '.join(known)}{hint}")


def _say(narrated: NarratedLesson, terminal: Terminal) -> None:
    """Say the answers, then the table."""
    for answer in narrated.answers:
        terminal.say(answer.verdict, f"{answer.question} {answer.rest}")
    if narrated.note:
        terminal.say("Note", narrated.note)
    terminal.say("Table", narrated.table.caption)
    for line in table(narrated.table.header, narrated.table.rows):
        terminal.say("", line)
