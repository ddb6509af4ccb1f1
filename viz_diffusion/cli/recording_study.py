"""The study of a recording whose network is not available, for ``vizdiff report --trajectory``."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import TYPE_CHECKING

from viz_diffusion.cli.console import Terminal, show_path
from viz_diffusion.cli.generation_request import GenerationRequest, check_weights
from viz_diffusion.cli.loading import load_run
from viz_diffusion.errors import VizdiffUsageError

if TYPE_CHECKING:
    from viz_diffusion.lessons.base import AnyLesson
    from viz_diffusion.study.recording_study import RecordingStudy


def measure_recording(
    request: GenerationRequest, run: str | None, lessons: str, device: str, terminal: Terminal
) -> RecordingStudy:
    """Measure a recording without its network, even where ``run`` holds it.

    Raises
    ------
    VizdiffInputError
        Where the recording was made with other weights than those of ``run``, or holds no pictures.
    VizdiffUsageError
        Where a named lesson needs the network.
    """
    assert request.recorded is not None
    choice = _choose(lessons)
    if run is not None:
        check_weights(request, load_run(run, device, terminal).weights_sha256)
    terminal.tell("Measuring", "recording_only")
    from viz_diffusion.study.recording_study import study_recording

    return study_recording(request.recorded, choice)


def _choose(choice: str) -> tuple[AnyLesson, ...]:
    """Return the chosen lessons that need no network; those of ``core`` and ``all`` that need one are left out."""
    from viz_diffusion.lessons.base import all_lessons, choose_lessons

    named = {name.strip() for name in choice.split(",")}
    chosen = choose_lessons(choice)
    needing_network = [lesson.name for lesson in chosen if lesson.measure_recording is None and lesson.name in named]
    if needing_network:
        possible = ", ".join(lesson.name for lesson in all_lessons() if lesson.measure_recording is not None)
        raise VizdiffUsageError(
            f"--lessons {needing_network[0]} asks the network, which is not at hand for this recording; "
            f"it shows {possible}"
        )
    return tuple(lesson for lesson in chosen if lesson.measure_recording is not None)


def recording_command(folder: Path, index: int, lang: str, *options: str) -> str:
    """Return the command that writes the same page again; paths outside the current folder are not shown.

    ``options`` are the command's own, without those that say which recording it shows.
    """
    inside = folder.resolve().is_relative_to(Path.cwd())
    words = ["vizdiff", "report", *options, "--trajectory", show_path(folder) if inside else folder.resolve().name]
    words += ["--index", str(index)] if index else []
    return shlex.join([*words, *(["--lang", lang] if lang != "en" else [])])
