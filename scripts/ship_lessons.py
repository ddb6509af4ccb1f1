"""Measure lessons with --full on the bundled weights, and write the results that ship: viz_diffusion/assets/lessons/.

    python scripts/ship_lessons.py                     # every lesson, or slow part of one, that can be precomputed
    python scripts/ship_lessons.py training label
    python scripts/ship_lessons.py --redraw            # only the figures and facts, of the results that ship

Of each lesson there are NAME.json, NAME.npz and NAME.FIGURE.LANGUAGE.svgz. Results for other weights are ignored by
the package; run this again whenever the weights change. A test tells when the figures are no longer those that the
package draws.
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
from viz_diffusion.lessons.precomputed import PRECOMPUTED_DIR, load_results, refresh_facts, save_pictures, save_results
from viz_diffusion.plots.page_svg import page_svg
from viz_diffusion.plots.words import use_texts
from viz_diffusion.recording.comparison_sampling import sample_comparison_runs
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.study.versions import versions
from viz_diffusion.text.catalogue import languages, load_texts
from viz_diffusion.training.run import Run


def main() -> None:
    """Measure one lesson after another; they share the traces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="lessons; all that can be precomputed by default")
    parser.add_argument(
        "--redraw",
        action="store_true",
        help="measure nothing; draw the figures of what ships again, and state its facts",
    )
    options = parser.parse_args()
    every = [lesson for lesson in all_lessons() if lesson.precomputed is not None]
    lessons = choose_lessons(",".join(options.names)) if options.names else every
    run = Run.bundled()
    model, digest = run.load_model()
    known = load_results(lessons, digest) if options.redraw else {}
    context = LessonContext(run, model, run.config.load_digits("test"), full=True, progress=show, precomputed=known)
    if any("recording" in lesson.needs for lesson in lessons):
        labels = torch.tensor([context.digit])
        recorded = record_generation(model, context.schedule, labels, [context.seed])
        context = replace(context, recorded=recorded, comparison_runs=sample_comparison_runs(model, recorded).others)
    for lesson in lessons:
        begun = time.perf_counter()
        if "traces" in lesson.needs and not options.redraw:
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
        if options.redraw:
            refresh_facts(finding)
        else:
            save_results(finding, digest, made)
        draw(finding)
        size = sum(path.stat().st_size for path in PRECOMPUTED_DIR.glob(f"{lesson.name}.*"))
        print(f"\n{lesson.name} ({size / 1e3:.0f} kB, {made['seconds']} s)", flush=True)


def draw(finding: Finding) -> Path:
    """Write the figures that are drawn from what ships alone, as the page shows them; return the lesson's file."""
    assert finding.lesson.precomputed is not None
    names = [figure.name for figure in finding.lesson.precomputed.figures]
    drawn = {}
    for lang in languages():
        with use_texts(load_texts(lang)):
            figures = finding.lesson.draw(finding.data)
            drawn[lang] = {name: page_svg(figures[name]) for name in names}
    return save_pictures(finding.lesson, drawn, f"matplotlib {matplotlib.__version__}")


def show(done: int, total: int | None, text: str) -> None:
    """Say on one line how far it is."""
    print(f"\r{text}: {done}{'' if total is None else f' of {total}'}   ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
