"""A study on disk: its recording, its comparison runs and the results of its lessons, shared by all products.

Layout of its folder, named after the SHA-256 of its identity (:mod:`viz_diffusion.study.study_identity`)::

    study.json              the identity, and when the study was begun
    recording.zip           the recording, where it was sampled for the study
    comparison_runs.npz     the comparison runs
    other_network.npz       the same generation by a bundled network, in latents or on pixels
    lesson_NAME.npz         what lesson NAME measured, and the SHA-256 of the recordings that it measured

Each file appears whole or not at all, and says what it belongs to: two processes that make one study at once write the
same files. A file that is damaged, or belongs to another recording, is made anew. No pickle.
"""

from __future__ import annotations

import json
import time
import typing
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeVar

import numpy as np

from viz_diffusion.errors import VizdiffError, VizdiffInputError
from viz_diffusion.files import (
    atomic_write,
    damage_named,
    io_errors,
    parse_json,
    read_arrays,
    read_json,
    remove_dir,
    sha256_bytes,
    to_json,
    write_json,
)
from viz_diffusion.lessons.base import AnyLesson, Finding
from viz_diffusion.lessons.encoding import Arrays, decode, encode
from viz_diffusion.recording.comparison_runs import (
    ComparisonRuns,
    Generation,
    load_comparison_runs,
    save_comparison_runs,
)
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.study.lesson_plan import LessonPlan
from viz_diffusion.study.study_folders import make_private, mark_used, studies_dir, trim
from viz_diffusion.study.study_identity import Identity, comparison_sha256, recorded_generation, recording_sha256

ReadT = TypeVar("ReadT")
_MEND, _OTHER_NETWORK = "it is made again", "other_network.npz"
Remark = Callable[..., object]
"""Takes ``study_damaged`` with a ``path``, or ``study_not_kept`` with a ``reason`` (parameters between backticks)."""


@dataclass(frozen=True, eq=False)
class Recordings:
    """The recordings of a study that lessons measure."""

    trajectory: Trajectory | None = None
    """The recording; None where no lesson needs it."""
    comparison_runs: ComparisonRuns | None = None
    """Its comparison runs; None where no lesson needs them."""

    def measured_by(self, lesson: AnyLesson) -> dict[str, str]:
        """Return the SHA-256 of the recordings that a lesson measures, by name."""
        return {name: digest for name, digest in self._sha256.items() if name in lesson.needs}

    @cached_property
    def _sha256(self) -> dict[str, str]:
        trajectory, runs = self.trajectory, self.comparison_runs
        found = {} if trajectory is None else {"recording": recording_sha256(trajectory)}
        return found if runs is None else found | {"comparison_runs": comparison_sha256(runs)}


class StoredStudy:
    """What is kept of one study.

    Parameters
    ----------
    identity
        As of :func:`~viz_diffusion.study.study_identity.study_identity`.
    remark
        Called where a file is damaged, and where the study cannot be kept.
    anew
        Whether to make it anew: nothing that is kept is read, and it is removed before the first file is written.
    """

    def __init__(self, identity: Identity, remark: Remark, *, anew: bool = False) -> None:
        text = to_json(dict(sorted(identity.items())))
        self._identity = json.loads(text)
        self._folder = studies_dir() / sha256_bytes(text.encode())[:32]
        self._remark, self._anew = remark, anew
        self._can_write = True

    @property
    def folder(self) -> Path:
        """The folder, whether it exists or not."""
        return self._folder

    @property
    def begun(self) -> str:
        """The day on which the study was begun, such as 2026-11-28; empty where that is not known."""
        with suppress(VizdiffError):
            return str(read_json(self._folder / "study.json").get("begun", ""))
        return ""

    def recording(self) -> Trajectory | None:
        """Return the recording; None where there is none, or it is not what the study is about."""
        path = self._folder / "recording.zip"

        def read() -> Trajectory:
            found = Trajectory.open(path)
            if any(self._identity[name] != value for name, value in recorded_generation(found).items()):
                raise VizdiffInputError(f"{path} is the recording of another study")
            mark_used(self._folder)
            return found

        return self._read(path, read)

    def keep_recording(self, trajectory: Trajectory) -> None:
        """Write the recording."""
        self._write(lambda: trajectory.save(self._folder / "recording.zip"))

    def comparison_runs(self, trajectory: Trajectory) -> ComparisonRuns | None:
        """Return the comparison runs of the recording; None where there are none."""
        path = self._folder / "comparison_runs.npz"
        return self._read(path, lambda: load_comparison_runs(path, trajectory))

    def keep_comparison_runs(self, runs: ComparisonRuns, trajectory: Trajectory) -> None:
        """Write the comparison runs of the recording."""
        self._write(lambda: save_comparison_runs(runs, trajectory, self._folder / "comparison_runs.npz"))

    def other_network(self, trajectory: Trajectory) -> Generation | None:
        """Return the recording's generation by a bundled network in the other space; None where it is not kept."""
        path = self._folder / _OTHER_NETWORK
        runs = self._read(path, lambda: load_comparison_runs(path, trajectory))
        return None if runs is None else runs.comparisons[0]

    def keep_other_network(self, generation: Generation, trajectory: Trajectory) -> None:
        """Write the recording's generation by a bundled network; which one is part of the study's identity."""
        runs = ComparisonRuns((), (generation,))
        self._write(lambda: save_comparison_runs(runs, trajectory, self._folder / _OTHER_NETWORK))

    def finding(self, lesson: AnyLesson, plan: LessonPlan, recordings: Recordings) -> Finding | None:
        """Return what a lesson measured on the recordings; None where that is not kept, or not as fully as planned."""
        path, kind = self._lesson_path(lesson), data_kind(lesson)

        def read() -> Finding | None:
            header, arrays = _read_npz(path)
            is_enough = header["full"] >= plan.full and header["slow"] >= plan.measures_slow(lesson)
            ships = lesson.result in plan.shipped
            is_same = header["measured"] == recordings.measured_by(lesson) and header["ships"] == ships
            if not is_enough or not is_same:
                return None
            data = decode(header["data"], kind, arrays, _shared(lesson, plan, recordings))
            return plan.with_pictures(Finding.of(lesson, data, full=header["full"] or ships, precomputed=ships))

        return None if kind is None else self._read(path, read)

    def keep_finding(self, finding: Finding, plan: LessonPlan, recordings: Recordings) -> None:
        """Write what a lesson measured, where its data have a file's form, and not what ships as a whole."""
        lesson = finding.lesson
        if data_kind(lesson) is None or plan.ships_whole(lesson):
            return
        arrays: Arrays = {}
        header = {
            "full": plan.full,
            "slow": plan.measures_slow(lesson),
            "ships": lesson.result in plan.shipped,
            "measured": recordings.measured_by(lesson),
            "data": encode(finding.data, "data", arrays, _shared(lesson, plan, recordings)),
        }
        arrays["header"] = np.array(json.dumps(header))
        self._write(lambda: _write_npz(self._lesson_path(lesson), arrays))

    def _lesson_path(self, lesson: AnyLesson) -> Path:
        return self._folder / f"lesson_{lesson.name}.npz"

    def trim(self) -> None:
        """Remove the studies that were not used for the longest, where all take too much of the disk."""
        if self._folder.is_dir():
            mark_used(self._folder)
            trim(self._folder)

    def _read(self, path: Path, read: Callable[[], ReadT]) -> ReadT | None:
        """Return what a file holds; None where there is none, or where it is damaged, which is said."""
        if self._anew or not path.is_file():
            return None
        try:
            with io_errors("read", path), damage_named(path, _MEND):
                return read()
        except VizdiffError:
            self._remark("study_damaged", path=path)
            return None

    def _write(self, write: Callable[[], object]) -> None:
        """Make the folder and write to it; where the system refuses, say so, and write nothing more."""
        if not self._can_write:
            return
        try:
            with io_errors("write", self._folder):
                self._begin()
                write()
        except VizdiffError as error:
            self._can_write = False
            self._remark("study_not_kept", reason=error.marked)

    def _begin(self) -> None:
        """Make the folder with its ``study.json``; one that is to be made anew is removed."""
        if self._anew and self._folder.is_dir():
            remove_dir(self._folder)
        self._anew = False
        make_private(self._folder)
        if not (self._folder / "study.json").is_file():
            write_json(self._folder / "study.json", {"begun": time.strftime("%Y-%m-%d"), **self._identity})


def data_kind(lesson: AnyLesson) -> type | None:
    """Return the dataclass that a lesson measures; None where its function does not say."""
    if lesson.measure is None:
        return lesson.result
    kind = typing.get_type_hints(lesson.measure).get("return")
    return kind if isinstance(kind, type) and is_dataclass(kind) else None


def _shared(lesson: AnyLesson, plan: LessonPlan, recordings: Recordings) -> dict[str, Any]:
    """Return what a lesson's data hold and what is kept elsewhere, by name."""
    shared = {"recording": recordings.trajectory, "shipped": plan.shipped.get(lesson.result) if lesson.result else None}
    return {name: value for name, value in shared.items() if value is not None}


def _write_npz(path: Path, arrays: Arrays) -> None:
    with atomic_write(
        path, sync=False, sync_folder=False
    ) as handle:  # after a power cut it may be damaged, as any cache
        np.savez(handle, **arrays)  # type: ignore[arg-type]  # the stub takes the names for its own options


def _read_npz(path: Path) -> tuple[dict[str, Any], Arrays]:
    """Return the header and the arrays of a lesson's file, each of which is checked.

    Raises
    ------
    VizdiffInputError
        Where a part of it is not what was written.
    """
    arrays = read_arrays(path, _MEND)
    with damage_named(path, _MEND):
        header: dict[str, Any] = parse_json(str(arrays.pop("header")))
    return header, arrays
