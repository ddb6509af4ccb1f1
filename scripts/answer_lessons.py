"""Measure every lesson once on the bundled weights, and write down what was asked, what was found and how long it took.

    python scripts/answer_lessons.py          # about five minutes; writes docs/ANSWERS.md

The answers are those of ``vizdiff report``: full results where they ship with the weights. Beside them every lesson is
measured with the quick sizes, in one process, the recording and the traces made once and shared, as ``vizdiff report
--lessons all`` does: the seconds are of that, and an answer that it gives otherwise is said.
"""

from __future__ import annotations

import re
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import torch

from viz_diffusion.cli.options import DEFAULT_SEED
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.files import write_bytes
from viz_diffusion.lessons.base import Finding, all_lessons
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.recording.comparison_sampling import sample_comparison_runs
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.study.narrative import NarratedLesson, narrate
from viz_diffusion.study.study import study
from viz_diffusion.study.versions import versions
from viz_diffusion.text.catalogue import load_texts
from viz_diffusion.training.run import Run
from viz_diffusion.views.frames import recording_facts

ROOT = Path(__file__).parents[1]
HEADER = ["| question | yes (✓), no (✗), undecided (?) | command |", "|---|---|---|"]
SIGNS = {True: "✓", False: "✗", None: "?"}
VERDICTS = {True: "Yes", False: "No", None: "Undecided"}


def main() -> None:
    """Measure, tell, write."""
    seconds = dict[str, float]()
    run = Run.bundled()
    model, digest = run.load_model()
    begun = time.perf_counter()
    recorded = record_generation(
        model,
        run.config.noise_schedule,
        torch.tensor([5]),
        [DEFAULT_SEED],
        SamplerConfig(guidance_scale=1.5),
        weights_sha256=digest,
    )
    seconds["recording"] = time.perf_counter() - begun
    begun = time.perf_counter()
    comparison_runs = sample_comparison_runs(model, recorded)
    context = LessonContext(
        run,
        model,
        run.config.load_digits("test"),
        5,
        DEFAULT_SEED,
        recorded,
        comparison_runs.others,
        progress=show,
    )
    seconds["comparison runs"] = time.perf_counter() - begun
    begun = time.perf_counter()
    _ = context.traces
    seconds["traces"] = time.perf_counter() - begun
    findings = []
    for lesson in all_lessons():
        begun = time.perf_counter()
        findings.append(Finding.measure(lesson, context))
        seconds[lesson.name] = time.perf_counter() - begun
        print(f"\n{lesson.name}: {seconds[lesson.name]:.1f} s", flush=True)
    shown = study(run, model, recorded, comparison_runs).findings
    head = (
        f"What `vizdiff report` says of the bundled weights ({digest[:8]}). In brackets, how long the quick "
        f"measurement of the lesson takes (threads: {torch.get_num_threads()})."
    )
    told = narrate(shown, recording_facts(recorded), load_texts("en"))
    write_bytes(ROOT / "docs" / "ANSWERS.md", answers(told, shown, findings, seconds, head).encode())
    print(f"all together {sum(seconds.values()):.0f} s")


def row(told: NarratedLesson) -> str:
    """Return a line of the table: the question, what was asked of the measurement, the command."""
    asked = "<br>".join(f"{SIGNS[answer.holds]} {plain(answer.question)}" for answer in told.answers)
    return f"| {plain(told.question)} | {asked} | `vizdiff lesson {told.name}` |"


def answers(
    told: Sequence[NarratedLesson],
    shown: Sequence[Finding],
    quick: Sequence[Finding],
    seconds: dict[str, float],
    head: str,
) -> str:
    """Return the page of answers: what was ``shown`` as it was ``told``, and where ``quick`` sizes answer otherwise."""
    holds = {finding.lesson.name: {claim.name: claim.holds for claim in finding.claims} for finding in quick}
    shared = ", ".join(f"{name} {seconds[name]:.0f} s" for name in ("recording", "comparison runs", "traces"))
    lines = [
        "# What the lessons ask, and what was found",
        "",
        f"Written by `python scripts/answer_lessons.py`. {head} Shared: {shared}; all together "
        f"{sum(seconds.values()):.0f} s. {versions()}.",
        "",
        *HEADER,
        *map(row, told),
    ]
    for one, finding in zip(told, shown, strict=True):
        lines += [
            "",
            f"## {plain(one.title)}: {plain(one.question)}",
            "",
            f"`vizdiff lesson {one.name}` ({seconds[one.name]:.1f} s)",
            "",
        ]
        for answer, claim in zip(one.answers, finding.claims, strict=True):
            briefly = holds[one.name].get(claim.name, claim.holds)
            other = "" if briefly is claim.holds else f" (Quick sizes: {VERDICTS[briefly]}.)"
            lines.append(f"- **{plain(answer.question)}** {answer.verdict}. {plain(answer.rest)}{other}")
    return "\n".join(lines) + "\n"


def plain(text: str) -> str:
    """Return a text for Markdown: on one line, with nothing that Markdown would read as markup, options as code."""
    escaped = re.sub(r"([*_|<])", r"\\\1", " ".join(text.split()))
    return re.sub(r"(?<![\w-])--[a-z][a-z-]*[a-z]", r"`\g<0>`", escaped)


def show(done: int, total: int | None, text: str) -> None:
    """Say on one line how far it is."""
    print(f"\r{text}: {done}{'' if total is None else f' of {total}'}   ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
