"""Measure lessons with --full on the bundled weights, and write what ships: viz_diffusion/assets/lessons/NAME.json.

    python scripts/ship_lessons.py                     # every lesson, or slow part of one, that can ship
    python scripts/ship_lessons.py training label
    python scripts/ship_lessons.py --redraw            # only the figures, of what ships

A file that ships for other weights is ignored by the package; run this again whenever the weights change. With it
ship the figures made of it; a test tells when they are no longer those that the package draws.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace
from pathlib import Path

import matplotlib
import torch

from viz_diffusion.lessons.base import Finding, all_lessons, choose_lessons
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.precomputed import (
    can_ship,
    figures_of,
    ship,
    ship_pictures,
    shipped_finding,
    shipped_parts,
)
from viz_diffusion.plots.pixels import encode_pixels
from viz_diffusion.plots.saving import figure_pixels
from viz_diffusion.recording.comparison_runs import sample_comparison_runs
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.study.study import versions
from viz_diffusion.training.run import Run


def main() -> None:
    """Measure one lesson after another; they share the traces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="lessons; all that can ship by default")
    parser.add_argument("--redraw", action="store_true", help="measure nothing; draw the figures of what ships again")
    options = parser.parse_args()
    every = [lesson for lesson in all_lessons() if can_ship(lesson) is not None]
    lessons = choose_lessons(",".join(options.names)) if options.names else every
    run = Run.bundled()
    model, digest = run.load_model()
    known = shipped_parts(lessons, digest) if options.redraw else {}
    context = LessonContext(run, model, run.config.load_digits("test"), full=True, progress=show, known=known)
    if any(lesson.recording for lesson in lessons):
        labels = torch.tensor([context.digit])
        recorded = record_generation(model, context.schedule, labels, [context.seed])
        context = replace(context, recorded=recorded, others=sample_comparison_runs(model, recorded).others)
    if options.redraw:
        for lesson in lessons:
            draw(shipped_finding(lesson, digest) or Finding.measure(lesson, context))
        return
    for lesson in lessons:
        begun = time.perf_counter()
        if lesson.traces:
            _ = context.traces  # their time is not the lesson's
        measured = time.perf_counter()
        finding = Finding.measure(lesson, context)
        made = {
            "command": f"vizdiff lesson {lesson.name} --full --run bundled",
            "seconds": round(time.perf_counter() - measured, 1),
            "seconds_traces": round(measured - begun, 1),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }
        ship(finding, digest, made)
        path = draw(finding)
        print(f"\n{path} ({path.stat().st_size / 1e3:.0f} kB, {made['seconds']} s)", flush=True)


def draw(finding: Finding) -> Path:
    """Put the figures made of what ships alone, as the page shows them, into the lesson's file; return it."""
    lesson, figures = finding.lesson, finding.lesson.draw(finding.data)
    drawn = {name: encode_pixels(figure_pixels(figures[name]), small=True) for name in figures_of(lesson)}
    return ship_pictures(lesson, drawn, f"matplotlib {matplotlib.__version__}")


def show(done: int, total: int | None, text: str) -> None:
    """Say on one line how far it is."""
    print(f"\r{text}: {done}{'' if total is None else f' of {total}'}   ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
