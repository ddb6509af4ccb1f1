"""Files that commands write: their default names, and the refusal to overwrite a file of another origin.

What a command wrote is noted in the cache folder, by the file's path: its SHA-256 and its origin, which is what the
file shows. A file is replaced only where that note fits it; a file that was changed since, or that another program or
command wrote, is kept.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import show_path
from viz_diffusion.cli.options import DEFAULT_DIGIT, DEFAULT_GUIDANCE, DEFAULT_SEED, MAX_STEPS
from viz_diffusion.diffusion.timesteps import SPACINGS, VARIANCES
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffNonFiniteError
from viz_diffusion.files import cache_dir, make_dir, read_json, sha256_bytes, sha256_file, to_json, write_json
from viz_diffusion.files.output_places import other_files, require_outside, require_own_folder, require_own_kind
from viz_diffusion.recording.store.layout import partial_path
from viz_diffusion.text.class_names import file_name
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS

if TYPE_CHECKING:
    from viz_diffusion.cli.console import Terminal
    from viz_diffusion.diffusion.sampler_config import SamplerConfig

REPORTS = Path("reports")
"""The folder of the files whose name is not given."""

UNKNOWN = "was not written by this program, or was changed since"
"""What is said of a file of which nothing is noted."""
RECORDING = ("trajectory.zarr", "steps.*", "activations.*", "latent_channels.*", "word_maps.*")
"""What a command that records writes to its folder, besides ``trajectory.json``."""
Origin = dict[str, Any]
"""What a file shows, by name: command, class, seed, sampling, weights, language. JSON values."""


@dataclass(frozen=True)
class Output:
    """The file that a command writes, or the main one of its folder and the others there."""

    path: Path
    command: str
    """The command's name, with the figure where it has several."""
    force: bool
    """Whether to replace files of another origin."""
    lang: str = "en"
    others: tuple[str, ...] = ()
    """Names of the other files and recordings that the command writes to ``folder``; glob patterns."""
    folder: Path | None = None
    """The folder of ``others``; that of ``path`` by default."""

    options: Sequence[str] = ()
    """Options that change what the file shows, where they are not the default, as words of the command line."""
    shares: bool = False
    """Whether the files are added to ``folder``: one that holds files of somebody else is only added to with force."""
    owns: Callable[[str], bool] | None = None
    """Whether a name is one of this command's, where all of ``folder`` is to be its own."""

    def claim(self, terminal: Terminal, **shown: Any) -> None:
        """Refuse to overwrite files of another origin, or say what is replaced; to be called after other checks.

        Parameters
        ----------
        shown
            What the file will show, besides command and language.

        Raises
        ------
        VizdiffInputError
            Where a file exists, shows something else or was not written by this program, and is not to be replaced;
            where one of another format exists, or the place is inside something else: with ``force`` too.
        """
        self._check_places()
        origin = {"command": self.command, "lang": self.lang, "options": " ".join(self.options), **shown}
        origin = json.loads(to_json(origin))
        terminal.when_done(lambda: _remember(self._existing(), origin))
        for file in self._existing():
            other, path = _differences(file, origin), show_path(file)
            if other is None:
                require_own_kind(file)
            if other != [] and not self.force:
                found = f"shows something else ({', '.join(other)})" if other else UNKNOWN
                raise VizdiffInputError(f"{file} exists and {found}; --force replaces it, another --out keeps it")
            if other:
                terminal.tell("Replaces", "replaces_other", path=path, other=terminal.text("comma").join(other))
            elif other is None:
                terminal.tell("Replaces", "replaces_unknown", path=path)
            elif file == self.path:
                terminal.tell("Replaces", "replaces_same", path=path)

    def _check_places(self) -> None:
        """Refuse places inside of something else, and a folder of somebody else's files."""
        folder = self.folder or self.path.parent
        if self.owns is not None:
            require_own_folder(folder, self.owns)
            return
        for place in (self.path, *(folder / name for name in self.others), *self._existing()):
            require_outside(place)
        if self.shares and not self.force:
            others = other_files(folder, (*self.others, self.path.name), lambda file: _note(file).is_file())
            if others:
                raise VizdiffInputError(
                    f"{folder} holds files of another origin ({others[0]}); name a new folder as `out`, or --force "
                    "writes beside them"
                )

    def _existing(self) -> list[Path]:
        """Return the files and recordings that are there, the main one first."""
        main = [self.path] if self.path.exists() else []
        found = {file for pattern in self.others for file in (self.folder or self.path.parent).glob(pattern)}
        return main + sorted(found - {self.path})


@contextmanager
def removed_where_not_finite(store: Path | None) -> Iterator[None]:
    """Remove the part of a recording that is on the disk, where the block ends because a number is not finite."""
    try:
        yield
    except VizdiffNonFiniteError:
        if store is not None:
            shutil.rmtree(partial_path(store), ignore_errors=True)
        raise


def default_out(
    name: str,
    ending: str,
    digit: int | None = None,
    lang: str = "en",
    label: str | None = None,
    *,
    seed: int | None = None,
    sampling: SamplerConfig | None = None,
    run: str | None = "bundled",
) -> Path:
    """Return where a command writes without ``--out``: ``reports/NAME``, and what differs from the defaults.

    The name holds the class, the seed, how it is sampled, the run and the language, each where it is not the default,
    so that one does not overwrite another.

    Parameters
    ----------
    run
        The value of ``--run``; None for the run that is chosen without it.
    """
    marks = [name]
    if label:
        marks.append(file_name(label))
    elif digit not in (None, DEFAULT_DIGIT):
        marks.append(str(digit))
    if seed not in (None, DEFAULT_SEED):
        marks.append(f"seed{seed}")
    marks += sampling_marks(sampling)
    if (run_name := _run_name(run)) != "bundled":
        marks.append(file_name(run_name))
    if lang != "en":
        marks.append(lang)
    return REPORTS / ("_".join(marks) + ending)


def picture_names(figures: Iterable[str]) -> tuple[str, ...]:
    """Return the names of the files of figures."""
    return tuple(f"{name}.{ending}" for name in figures for ending in ("png", "svg"))


def images_mark(count: int) -> list[str]:
    """Return what a name says of several recorded images; nothing for one."""
    return [f"{count}images"] if count > 1 else []


def sampling_marks(sampling: SamplerConfig | None) -> list[str]:
    """Return what differs from the defaults of a picture's sampler, as parts of a file's name."""
    if sampling is None:
        return []
    words = {
        sampling.sampler: sampling.sampler != "ddpm",
        f"{sampling.steps}steps": sampling.steps not in (None, MAX_STEPS),
        f"guidance{sampling.guidance_scale:g}": sampling.guidance_scale != DEFAULT_GUIDANCE,
        sampling.variance: sampling.variance != VARIANCES[0],
        f"eta{sampling.eta:g}": sampling.eta != 0,
        sampling.timestep_spacing: sampling.timestep_spacing != SPACINGS[0],
        "unclipped": not sampling.clip,
    }
    return [file_name(word) for word, differs in words.items() if differs]


def _run_name(choice: str | None) -> str:
    """Return the name of the run that ``--run`` means."""
    if choice is not None:
        return choice if choice in BUNDLED_RUNS else Path(choice).resolve().name
    if not Path("runs").is_dir():
        return "bundled"
    from viz_diffusion.training.run_choice import choose_run

    return choose_run().run.name


def _differences(path: Path, origin: Origin) -> list[str] | None:
    """Return what an existing file shows instead; empty where it is of this origin, None where nothing is noted of it.

    A file that was changed after it was written counts as one of which nothing is noted.
    """
    try:
        note = read_json(_note(path))
        if note["sha256"] != _digest(path):
            return None
        known: Origin = note["origin"]
    except (VizdiffInputError, VizdiffIOError, KeyError, OSError):
        return None
    names = [name for name in {**known, **origin} if known.get(name, "") != origin.get(name, "")]
    return [f"{name} {'none' if known.get(name) in (None, '') else known[name]}" for name in names]


def _remember(files: Sequence[Path], origin: Origin) -> None:
    """Note the origin of files that were written; where the cache folder cannot be written to, nothing is noted."""
    with suppress(VizdiffIOError, OSError):
        for path in files:
            make_dir(_note(path).parent)
            write_json(_note(path), {"path": str(path.resolve()), "sha256": _digest(path), "origin": origin})


def _digest(path: Path) -> str:
    """Return the SHA-256 of a file, or of the checksums that a recording holds."""
    if path.is_dir():
        return sha256_bytes(b"".join(sums.read_bytes() for sums in sorted(path.rglob("SHA256SUMS"))))
    return sha256_file(path)


def _note(path: Path) -> Path:
    return cache_dir() / "written" / f"{sha256_bytes(str(path.resolve()).encode())[:32]}.json"
