"""Measure lessons with --full on the bundled weights, and write what ships: viz_diffusion/assets/lessons/NAME.json.

    python scripts/ship_lessons.py                     # every lesson, or slow part of one, that can ship
    python scripts/ship_lessons.py training label

A file that ships for other weights is ignored by the package; run this again whenever the weights change.
"""

from __future__ import annotations

import argparse
import sys
import time
from dataclasses import replace

import torch

from viz_diffusion.lessons.companions import sample_companions
from viz_diffusion.lessons.lesson import Finding, all_lessons, choose_lessons
from viz_diffusion.lessons.material import Material
from viz_diffusion.lessons.shipped import can_ship, ship
from viz_diffusion.record import record_generation
from viz_diffusion.report.gather import versions
from viz_diffusion.run import Run


def main() -> None:
    """Measure one lesson after another; they share the traces."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", help="lessons; all that can ship by default")
    options = parser.parse_args()
    known = [lesson for lesson in all_lessons() if can_ship(lesson) is not None]
    lessons = choose_lessons(",".join(options.names)) if options.names else known
    run = Run.bundled()
    model, digest = run.load_model()
    material = Material(run, model, run.config.load_digits("test"), full=True, progress=show)
    if any(lesson.recording for lesson in lessons):
        labels = torch.tensor([material.digit])
        recorded = record_generation(model, material.schedule, labels, [material.seed])
        material = replace(material, recorded=recorded, others=sample_companions(model, recorded).others)
    for lesson in lessons:
        begun = time.perf_counter()
        if lesson.traces:
            _ = material.traces  # their time is not the lesson's
        measured = time.perf_counter()
        finding = Finding.measure(lesson, material)
        made = {
            "command": f"vizdiff lesson {lesson.name} --full --run bundled",
            "seconds": round(time.perf_counter() - measured, 1),
            "seconds_traces": round(measured - begun, 1),
            "threads": torch.get_num_threads(),
            "versions": versions(),
        }
        path = ship(finding, digest, made)
        print(f"\n{path} ({path.stat().st_size / 1e3:.0f} kB, {made['seconds']} s)", flush=True)


def show(done: int, total: int | None, text: str) -> None:
    """Say on one line how far it is."""
    print(f"\r{text}: {done}{'' if total is None else f' of {total}'}   ", end="", file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
