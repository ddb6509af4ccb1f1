"""One study for all products: its recordings and findings are taken from disk, or made and kept there."""

from __future__ import annotations

import gc
from collections.abc import Sequence
from contextlib import nullcontext
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import Terminal, estimate_text, show_path
from viz_diffusion.cli.generation_request import GenerationRequest, asked_label, check_weights
from viz_diffusion.cli.given_recording import is_store
from viz_diffusion.cli.loading import LoadedRun, load_run
from viz_diffusion.cli.options import PICTURE_SAMPLER
from viz_diffusion.cli.outputs import Output, sampling_marks
from viz_diffusion.cli.threads import spare_core
from viz_diffusion.errors import VizdiffUsageError

if TYPE_CHECKING:
    from viz_diffusion.lessons.base import AnyLesson, Finding
    from viz_diffusion.recording.comparison_runs import ComparisonRuns
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.study.lesson_plan import LessonPlan
    from viz_diffusion.study.stored_study import Recordings, StoredStudy
    from viz_diffusion.study.study import Study


class OpenStudy:
    """The study of a generation: what is kept of it is read, what is missing is made and kept.

    Parameters
    ----------
    loaded
        The run.
    request
        The generation, to be recorded or recorded already.
    label
        Its label.
    terminal
        Shows progress.
    """

    def __init__(self, loaded: LoadedRun, request: GenerationRequest, label: int, terminal: Terminal) -> None:
        self.loaded, self.request, self.label, self._terminal = loaded, request, label, terminal
        self._config = loaded.sampled_as(request.config or PICTURE_SAMPLER)

    @cached_property
    def stored(self) -> StoredStudy:
        """What is kept of the study."""
        from viz_diffusion.study.stored_study import StoredStudy
        from viz_diffusion.study.study_identity import recorded_generation, requested_generation, study_identity

        run, model, weights = self.loaded
        if self.request.recorded is None:
            schedule = run.config.sampled(model, self._config.sampler)[1]
            generation = requested_generation(self.label, self.request.seed, self._config, schedule, weights)
        else:
            generation = recorded_generation(self.request.recorded)
        device = next(model.parameters()).device.type
        return StoredStudy(study_identity(generation, run, device), self._remark, anew=self.request.refresh)

    def _remark(self, key: str, **values: Any) -> None:
        shown = {name: show_path(value) if isinstance(value, Path) else value for name, value in values.items()}
        if "reason" in shown:
            shown["reason"] = self._terminal.message(shown["reason"])
        self._terminal.tell("Note", key, **shown)

    @cached_property
    def recording(self) -> Trajectory:
        """The recording: the one that is given, else the one that is kept, else a new one."""
        if self.request.recorded is not None:
            return self.request.recorded
        kept = self.stored.recording()
        if kept is not None:
            self._terminal.tell("Study", "study_kept", day=self.stored.begun)
            return kept
        from viz_diffusion.cli.record import record

        recorded = record(self.loaded, self.label, self.request.seed, 1, self._config, self._terminal)
        self.stored.keep_recording(recorded)
        return recorded

    @cached_property
    def comparison_runs(self) -> ComparisonRuns:
        """The recording's comparison runs: those that are kept, else those beside a given recording, else new ones."""
        kept = self.stored.comparison_runs(self.recording)
        if kept is not None and kept.complete:
            return kept
        runs = self._sampled_comparison_runs()
        self.stored.keep_comparison_runs(runs, self.recording)
        return runs

    def _sampled_comparison_runs(self) -> ComparisonRuns:
        from viz_diffusion.recording.comparison_runs import load_comparison_runs
        from viz_diffusion.recording.comparison_sampling import sample_comparison_runs

        folder, beside = self.request.folder, None
        if folder is not None and not self.request.refresh:  # where earlier versions kept them
            path = (folder.parent if is_store(folder) else folder) / "companions.npz"
            beside = load_comparison_runs(path, self.recording)
        if beside is not None and beside.complete:
            return beside
        text = self._terminal.text("comparison_runs")
        with spare_core(), self._terminal.progress("Sampling", text, None) as update:
            return sample_comparison_runs(
                self.loaded.model,
                self.recording,
                labels=self.loaded.run.config.present_labels,
                on_step=lambda done, total: update(done, total, text),
            )

    def generation_facts(self) -> dict[str, Any]:
        """Return the facts of the generation, by name; nothing is recorded for them."""
        from viz_diffusion.views.frames import recording_facts, requested_facts

        if self.request.recorded is not None:
            return recording_facts(self.request.recorded)
        num_train_timesteps = self.loaded.run.config.num_train_timesteps
        return requested_facts(self.label, self.request.seed, self._config, num_train_timesteps)

    def measure(
        self,
        lessons: Sequence[AnyLesson] | None = None,
        *,
        full: bool = False,
        compared: bool = True,
        anew: bool = False,
    ) -> Study:
        """Return the study with findings of lessons: by default of the core, and of those that ship for the weights.

        ``full`` says whether they are measured with the full sizes, ``compared`` whether with comparison runs,
        and ``anew`` whether even those that ship.
        """
        from viz_diffusion.recording.comparison_runs import ComparisonRuns
        from viz_diffusion.recording.latent_pictures import pictured
        from viz_diffusion.study.lesson_plan import LessonPlan
        from viz_diffusion.study.stored_study import Recordings
        from viz_diffusion.study.study import Study, num_parameters

        run, model, weights = self.loaded
        plan = LessonPlan.choose(lessons, run.config, weights, full=full, anew=anew)
        runs = self.comparison_runs if compared else ComparisonRuns((), ())
        findings = self.find(plan, Recordings(self.recording, runs))
        return Study(run, pictured(self.recording), runs, findings, num_parameters(model), plan.left_out)

    def find(self, plan: LessonPlan, recordings: Recordings) -> tuple[Finding, ...]:
        """Return the findings of a plan: those that are kept, and the others, measured now and kept."""
        from viz_diffusion.lessons.context import silent
        from viz_diffusion.study.study import measure_lessons

        kept = {lesson.name: self.stored.finding(lesson, plan, recordings) for lesson in plan.lessons}
        known = {name: finding for name, finding in kept.items() if finding is not None}
        missing = [one for one in plan.lessons if one.name not in known and not plan.ships_whole(one)]
        if missing and plan.full:
            seconds = sum(one.seconds[True] for one in missing)
            self._terminal.tell("Time", "time_full", full=estimate_text(seconds))
        text = self._terminal.text("lessons")
        showing = self._terminal.progress("Measuring", text, None) if missing else nullcontext(silent)
        with showing as update:

            def keep(finding: Finding) -> None:
                self.stored.keep_finding(finding, plan, recordings)
                update(0, None, finding.lesson.name)

            run, model, _ = self.loaded
            findings = measure_lessons(
                plan,
                run,
                model,
                self.label,
                self.request.seed,
                recordings,
                known,
                keep,
                progress=self._terminal.translated(update, text),
            )
        self.stored.trim()
        gc.freeze()  # what is loaded now stays, so that garbage collections while drawing can skip it
        return findings


def open_study(
    request: GenerationRequest,
    run: str | None,
    device: str,
    terminal: Terminal,
    out: Output | None = None,
    data_dir: Path | None = None,
) -> OpenStudy:
    """Load the run of a generation and check what was asked for; nothing is sampled yet.

    Parameters
    ----------
    out
        The file to write; one of another origin is refused after the last other check.
    data_dir
        Where the run's data lie, if they have moved.

    Raises
    ------
    VizdiffInputError
        Where the recording was made with other weights than those of the run.
    """
    loaded = load_run(run, device, terminal, data_dir, request.prompts)
    check_weights(request, loaded.weights_sha256)
    if request.config is not None:
        _check_process(loaded, request.config.sampler)
    label = asked_label(request, loaded.run.config)
    if out is not None:
        shown = "_".join(sampling_marks(request.sampling))
        out.claim(terminal, label=label, seed=request.seed, sampling=shown, weights=loaded.weights_sha256[:8])
    return OpenStudy(loaded, request, label, terminal)


def _check_process(loaded: LoadedRun, sampler: str) -> None:
    """Refuse a sampler that samples the run's network in another process than its lessons measure."""
    from viz_diffusion.diffusion.scaling import SCALINGS

    process = loaded.run.config.sampled(loaded.model, sampler)[1]
    if process.scaling != SCALINGS[0]:
        raise VizdiffUsageError(
            f"`sampler` {sampler} samples this run in its own process, {process.name}, and the lessons measure its "
            f"noise schedule, {loaded.run.config.schedule}; choose ddpm, ddim or dpm-solver++, or record with "
            f"vizdiff trajectory --sampler {sampler} and give the recording as `trajectory` to vizdiff report"
        )
