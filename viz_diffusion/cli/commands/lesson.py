"""``vizdiff lesson``: one question, measured, drawn and answered."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.console import Terminal, about, show_path
from viz_diffusion.cli.loading import load_run
from viz_diffusion.cli.options import (
    DEFAULT_SEED,
    DeviceOption,
    DigitOption,
    JsonOption,
    LangOption,
    QuietOption,
    RunOption,
    Sampling,
    SeedOption,
    check_digit,
    check_seed,
)
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import make_dir, write_json

if TYPE_CHECKING:
    from viz_diffusion.diffusion.unet import SimpleUNet
    from viz_diffusion.lessons.base import AnyLesson, Finding, Need
    from viz_diffusion.study.narrative import NarratedLesson
    from viz_diffusion.text.catalogue import Texts
    from viz_diffusion.training.run import Run


HELP = (
    "Example: vizdiff lesson noising\n\n"
    "Ask one question, measure it on the loaded model, draw it, and say what was found and what was not; "
    "vizdiff lessons lists the questions."
)
NEED_SECONDS: dict[Need, float] = {"recording": 10, "comparison_runs": 30, "traces": 45}
"""How long the recordings that lessons share take on two cores."""


def run_command(
    name: Annotated[str, typer.Argument(metavar="NAME", help="The lesson; vizdiff lessons lists them.")],
    run: RunOption = None,
    digit: DigitOption = 5,
    seed: SeedOption = DEFAULT_SEED,
    full: Annotated[bool, typer.Option("--full", help="Measure on more images; says first how long it takes.")] = False,
    device: DeviceOption = "auto",
    lang: LangOption = "en",
    out: Annotated[Path, typer.Option(help="Folder to write.")] = Path("reports/lessons"),
    as_json: JsonOption = False,
    quiet: QuietOption = False,
) -> None:
    """Measure, draw, write, say."""
    terminal = Terminal(as_json, quiet)
    check_digit(digit)
    check_seed(seed)
    from viz_diffusion.text.catalogue import load_texts

    texts = load_texts(lang)
    known = list(dict.fromkeys(key.split(".")[1] for key in texts if key.startswith("chapter.")))
    if name not in known:
        raise VizdiffUsageError(f"there is no lesson {name!r}; choose from {', '.join(known)}")
    terminal.say("Question", texts[f"chapter.{name}.question"])
    make_dir(out)
    chosen, model, digest = load_run(run, device, terminal)
    from viz_diffusion.lessons.base import choose_lessons

    lesson = choose_lessons(name)[0]
    longer = "" if full else f"; --full {about(announced(lesson, True))}"
    terminal.say("Time", f"{about(announced(lesson, full))} on two cores{longer}")
    finding, told = study_lesson(lesson, chosen, model, digest, digit, seed, full, texts, terminal)
    from viz_diffusion.study.narrative import save_drawing

    for drawing in told.drawings:
        save_drawing(drawing, out)
    result = {
        "lesson": name,
        "run": "bundled" if chosen.is_bundled else str(chosen.path),
        "weights_sha256": digest,
        "dataset": chosen.config.dataset,
        "digit": digit,
        "seed": seed,
        "seconds": round(terminal.seconds, 1),
        "question": told.question,
        "answers": [{"question": one.question, "verdict": one.verdict, "text": one.text} for one in told.answers],
        "captions": {drawing.name: drawing.caption for drawing in told.drawings},
        **finding.to_dict(),
    }
    write_json(out / f"{name}.json", result)
    _say(told, terminal)
    files = f"{', '.join(drawing.name for drawing in told.drawings)}, .png and .svg; {name}.json"
    terminal.say("Done", f"{show_path(out)} ({files}; {terminal.seconds:.0f} s)")
    terminal.result({"out": str(out), **result})


def announced(lesson: AnyLesson, full: bool) -> float:
    """Return the seconds a lesson takes by itself, with the recordings it needs."""
    return lesson.seconds[full] + sum(NEED_SECONDS[need] for need in lesson.needs)


def study_lesson(
    lesson: AnyLesson,
    chosen: Run,
    model: SimpleUNet,
    digest: str,
    digit: int,
    seed: int,
    full: bool,
    texts: Texts,
    terminal: Terminal,
) -> tuple[Finding, NarratedLesson]:
    """Make what a lesson looks at, measure it, and tell it."""
    from viz_diffusion.lessons.base import Finding
    from viz_diffusion.lessons.context import LessonContext
    from viz_diffusion.recording.comparison_runs import Generation, sample_comparison_runs
    from viz_diffusion.study.narrative import narrate
    from viz_diffusion.views.frames import recording_facts

    recorded, others = None, tuple[Generation, ...]()
    shared: dict[str, Any] = {"digit": digit, "seed": seed, "num_steps": chosen.config.num_train_timesteps}
    if "recording" in lesson.needs:
        from viz_diffusion.cli.record import record

        recorded = record(chosen, model, digest, digit, seed, 1, Sampling(), terminal)
        shared = recording_facts(recorded)
    if "comparison_runs" in lesson.needs and recorded is not None:
        text = "its companions, same noise"
        with terminal.progress("Sampling", text, None) as update:
            others = sample_comparison_runs(
                model, recorded, on_step=lambda done, total: update(done, total, text)
            ).others
    with terminal.progress("Measuring", lesson.name, None) as update:
        context = LessonContext(
            chosen, model, chosen.config.load_digits("test"), digit, seed, recorded, others, full=full, progress=update
        )
        finding = Finding.measure(lesson, context)
    terminal.say("Drawing", ", ".join(lesson.figure_names))
    return finding, narrate([finding], shared, texts)[0]


def _say(told: NarratedLesson, terminal: Terminal) -> None:
    """Say what was found, then the table."""
    from viz_diffusion.cli.console import table

    for one in told.answers:
        terminal.say(one.verdict, f"{one.question} {one.text}")
    terminal.say("Table", told.table.caption)
    for line in table(told.table.header, told.table.rows):
        terminal.say("", line)
