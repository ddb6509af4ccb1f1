"""Files that commands write: their default names, and the refusal to overwrite a file of another origin.

What a command wrote is noted in the cache folder, by the file's path: its SHA-256 and its origin, which is what the
file shows. A file is replaced only where that note fits it; a file that was changed since, or that another program or
command wrote, is kept.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import show_path
from viz_diffusion.cli.options import DEFAULT_DIGIT, DEFAULT_GUIDANCE, DEFAULT_SEED, MAX_STEPS
from viz_diffusion.diffusion.timesteps import SPACINGS, VARIANCES
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError
from viz_diffusion.files import cache_dir, make_dir, read_json, sha256_bytes, sha256_file, to_json, write_json
from viz_diffusion.text.class_names import file_name

if TYPE_CHECKING:
    from viz_diffusion.cli.console import Terminal
    from viz_diffusion.diffusion.sampler_config import SamplerConfig

REPORTS = Path("reports")
"""The folder of the files whose name is not given."""

Origin = dict[str, Any]
"""What a file shows, by name: command, class, seed, sampling, weights, language. JSON values."""


@dataclass(frozen=True)
class Output:
    """The file that a command writes, or the main one of its folder."""

    path: Path
    command: str
    """The command's name, with the figure where it has several."""
    force: bool
    """Whether to replace a file of another origin."""
    lang: str = "en"

    def claim(self, terminal: Terminal, **shown: Any) -> None:
        """Refuse to overwrite a file of another origin, or say that it is replaced; to be called after other checks.

        Parameters
        ----------
        shown
            What the file will show, besides command and language.

        Raises
        ------
        VizdiffInputError
            Where the file exists, shows something else or was not written by this program, and is not to be replaced.
        """
        origin: Origin = json.loads(to_json({"command": self.command, "lang": self.lang, **shown}))
        terminal.when_done(lambda: _remember(self.path, origin))
        if not self.path.exists():
            return
        other, path = _differences(self.path, origin), show_path(self.path)
        if other != [] and not self.force:
            found = "was not written by this program, or was changed since" if other is None else "shows something else"
            more = f" ({', '.join(other)})" if other else ""
            raise VizdiffInputError(f"{path} exists and {found}{more}; --force replaces it, another --out keeps it")
        if other:
            terminal.tell("Replaces", "replaces_other", path=path, other=terminal.text("comma").join(other))
        else:
            terminal.tell("Replaces", "replaces_unknown" if other is None else "replaces_same", path=path)


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
        return choice if choice == "bundled" else Path(choice).resolve().name
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
        if note["sha256"] != sha256_file(path):
            return None
        known: Origin = note["origin"]
    except (VizdiffInputError, VizdiffIOError, KeyError, OSError):
        return None
    return [f"{name} {known.get(name)}" for name in {**known, **origin} if known.get(name) != origin.get(name)]


def _remember(path: Path, origin: Origin) -> None:
    """Note the origin of a file that was written; where the cache folder cannot be written to, nothing is noted."""
    with suppress(VizdiffIOError, OSError):
        make_dir(_note(path).parent)
        write_json(_note(path), {"path": str(path.resolve()), "sha256": sha256_file(path), "origin": origin})


def _note(path: Path) -> Path:
    return cache_dir() / "written" / f"{sha256_bytes(str(path.resolve()).encode())[:32]}.json"
