"""What the commands share: options spelled alike, messages on stderr, one JSON object on stdout.

Imports nothing heavy: torch is loaded by the first function that needs it, after something was said.
"""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from viz_diffusion.cli.progress import LogProgress
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.files import to_json
from viz_diffusion.timesteps import SAMPLERS, SPACINGS, VARIANCES, check_sampler

if TYPE_CHECKING:
    import torch

    from viz_diffusion.model import SimpleUNet
    from viz_diffusion.run import Run

DEFAULT_DIGIT = 5
DEFAULT_SEED = 1
"""Of what is made for show: from this noise the bundled weights make ten plain digits. Measurements begin at 0."""
DEFAULT_GUIDANCE = 1.5
"""Where a picture is made for show; 1, no guidance, where something is measured."""

RunOption = Annotated[
    str | None,
    typer.Option(
        "--run",
        metavar="PATH|bundled",
        help="Run folder to load; by default the newest finished one under runs/, else the bundled weights.",
    ),
]
DigitOption = Annotated[int, typer.Option("--digit", help="Digit to ask for, 0 to 9.")]
SeedOption = Annotated[int, typer.Option("--seed", help="Seed of the first image's noise; image k takes seed+k.")]
SamplerOption = Annotated[
    str,
    typer.Option(
        "--sampler",
        metavar="ddpm|ddim|dpm-solver++",
        help="ddpm adds fresh noise at each step, ddim adds none, dpm-solver++ (2M) needs the fewest steps.",
    ),
]
VarianceOption = Annotated[
    str,
    typer.Option("--variance", metavar="beta|beta_tilde", help="Variance of the noise that ddpm adds."),
]
EtaOption = Annotated[
    float, typer.Option("--eta", help="Noise that ddim adds, 0 (none) to 1 (as much as ddpm with beta_tilde).")
]
TimestepSpacingOption = Annotated[
    str,
    typer.Option(
        "--timestep-spacing",
        metavar="|".join(SPACINGS),
        help="Which timesteps fewer steps visit: strides all alike, or down to t = 0.",
    ),
]
ClipOption = Annotated[bool, typer.Option("--clip/--no-clip", help="Keep the guess of the finished image in [-1, 1].")]
StepsOption = Annotated[int | None, typer.Option("--steps", help="Network evaluations, 1 to 1000; 1000 by default.")]
GuidanceOption = Annotated[
    float, typer.Option("--guidance", help="Guidance scale s: 1 is none, 1.5 insists on the digit a little.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:1 or mps.")]
LangOption = Annotated[str, typer.Option("--lang", help="Language of the words: en or zh.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print one JSON object on stdout.")]
QuietOption = Annotated[bool, typer.Option("--quiet", help="Say nothing on stderr but errors.")]


class Voice:
    """Says what happens: a labelled line a stage on stderr, and at the end the result.

    Parameters
    ----------
    as_json
        Whether the result goes to stdout as one JSON object.
    quiet
        Whether lines and progress bars are left out.
    """

    def __init__(self, as_json: bool, quiet: bool) -> None:
        self._as_json = as_json
        self._quiet = quiet
        self._begun = time.perf_counter()

    @property
    def live(self) -> bool:
        """Whether there is a terminal to draw on, and somebody who wants to see it."""
        return not self._quiet and sys.stderr.isatty()

    @property
    def seconds(self) -> float:
        """Wall time since the command began."""
        return time.perf_counter() - self._begun

    def say(self, label: str, text: str) -> None:
        """Print one line: the label in its column, then the text."""
        if self._quiet:
            return
        try:
            print(f"{label:<9} {text}", file=sys.stderr, flush=True)
        except BrokenPipeError:  # whoever read has left: the work goes on unheard
            self._quiet = True
            sys.stderr = open(os.devnull, "w")  # noqa: SIM115

    @contextmanager
    def progress(self, label: str, text: str, total: int | None) -> Iterator[Callable[[int, int | None, str], None]]:
        """Show a bar on a terminal, a line now and then elsewhere; give ``update(done, total, text)``."""
        if self._quiet:
            yield lambda *_: None
            return
        if not sys.stderr.isatty():
            self.say(label, text)
            yield LogProgress(lambda line: self.say(label, line)).update
            return
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn(f"{label:<10}{{task.description}}"),
            BarColumn(bar_width=30),
            MofNCompleteColumn(),
            TimeRemainingColumn(),
        )
        with Progress(*columns, console=Console(stderr=True)) as bar:
            task = bar.add_task(text, total=total)
            yield lambda done, total, text: bar.update(task, completed=done, total=total, description=text)

    def replacing(self, path: Path) -> None:
        """Say so before what is there is written over; to be called when nothing can be refused any more."""
        if path.exists():
            self.say("Replaces", f"{show_path(path)} (another --out keeps it)")

    def result(self, values: dict[str, Any]) -> None:
        """End a command: the JSON object, where it was asked for."""
        if not self._as_json:
            return
        try:
            print(to_json(values), flush=True)
        except BrokenPipeError:
            sys.stdout = open(os.devnull, "w")  # noqa: SIM115


def check_digit(digit: int) -> int:
    """Return a digit that exists."""
    if not 0 <= digit <= 9:
        raise VizdiffUsageError(f"--digit must lie in 0..9, found {digit}")
    return digit


def check_at_least(option: str, value: float, least: float) -> None:
    """Refuse a number that is too small (or no number), naming its option."""
    if not value >= least or value == float("inf"):
        raise VizdiffUsageError(f"{option} must be at least {least:g}, found {value:g}")


def check_seed(seed: int, count: int = 1) -> None:
    """Refuse seeds that a generator does not take, or, from 2**32 on, takes for a smaller one."""
    if not 0 <= seed <= 2**32 - count:
        raise VizdiffUsageError(f"--seed must lie in 0..{2**32 - count}, found {seed}")


@dataclass(frozen=True)
class Sampling:
    """How to sample, as the command line asks for it.

    Raises
    ------
    VizdiffUsageError
        Where a value is impossible, or belongs to another sampler: before anything is loaded.
    """

    sampler: str = "ddpm"
    """ddpm, ddim or dpm-solver++."""
    steps: int | None = None
    """Network evaluations; all timesteps by default."""
    guidance: float = DEFAULT_GUIDANCE
    """s; 1 is none."""
    variance: str = VARIANCES[0]
    """What ddpm injects: beta or beta_tilde."""
    eta: float = 0.0
    """What ddim injects, 0 to 1."""
    timestep_spacing: str = SPACINGS[0]
    """trailing or linspace."""
    clip: bool = True
    """Whether x̂_0 is clipped to [-1, 1]."""

    def __post_init__(self) -> None:
        check_sampler(self.sampler, self.variance, self.eta)
        if self.steps is not None and not 1 <= self.steps <= 1000:
            raise VizdiffUsageError(f"--steps must lie in 1..1000, found {self.steps}")
        if self.timestep_spacing not in SPACINGS:
            raise VizdiffUsageError(
                f"--timestep-spacing must be {' or '.join(SPACINGS)}, found {self.timestep_spacing!r}"
            )
        if not 0 <= self.guidance <= 100:
            raise VizdiffUsageError(f"--guidance must lie in 0..100, found {self.guidance:g}")

    @property
    def name(self) -> str:
        """The sampler's name in sentences."""
        return SAMPLERS[self.sampler]

    def keywords(self) -> dict[str, Any]:
        """Return what the samplers of :mod:`viz_diffusion.sample` are told."""
        return {
            "sampler": self.sampler, "steps": self.steps, "guidance_scale": self.guidance, "variance": self.variance,
            "eta": self.eta, "timestep_spacing": self.timestep_spacing, "clip": self.clip,
        }  # fmt: skip

    def facts(self) -> dict[str, Any]:
        """Return what a result says of it: the same, without what this sampler does not have."""
        absent = {"ddpm": ("eta",), "ddim": ("variance",)}.get(self.sampler, ("variance", "eta"))
        return {name: value for name, value in self.keywords().items() if name not in absent}


def pick_device(choice: str) -> torch.device:
    """Return the device asked for, or with ``auto`` the fastest there is."""
    import torch

    if choice == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(choice)
        torch.zeros(1, device=device)
    except (RuntimeError, AssertionError, NotImplementedError) as error:
        reason = str(error).strip().splitlines()[0]
        raise VizdiffUsageError(f"--device {choice!r} cannot be used here ({reason}); try --device cpu") from None
    return device


def load_run(choice: str | None, device: str, voice: Voice) -> tuple[Run, SimpleUNet, str]:
    """Open the run asked for, say which one it is, and return it with its network and weights hash."""
    voice.say("Loading", "PyTorch")
    from viz_diffusion.run import Run

    place = pick_device(device)
    run = Run.choose(choice)
    model, digest = run.load_model(place, lambda remark: voice.say("Note", remark))
    if run.is_bundled:
        voice.say("Weights", f"bundled (60,000 MNIST digits, {digest[:8]}); yours: --run PATH")
    else:
        unfinished = "" if run.is_finished else ", unfinished"
        voice.say("Weights", f"{run.path} ({run.config.dataset}, {digest[:8]}{unfinished}); bundled: --run bundled")
    return run, model, digest


def beyond(share: float, clip: bool) -> str:
    """Say how many pixels of the guesses lay beyond the grey scale, and what was done about it."""
    return f"{share:.1%} of the pixels of x̂_0 beyond [-1, 1], {'clipped' if clip else 'left as they were'}"


def show_path(path: Path) -> str:
    """Return a path as a user would type it: relative where it lies below the current folder."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)


def default_out(name: str, ending: str, digit: int, lang: str = "en") -> Path:
    """Return where a command writes unless told otherwise: ``reports/NAME``.

    The digit joins the name where it is not 5 and the language where it is not English, so that one does not
    overwrite the other.
    """
    marks = [name, *([str(digit)] if digit != DEFAULT_DIGIT else []), *([lang] if lang != "en" else [])]
    return Path("reports") / ("_".join(marks) + ending)


def show_size(path: Path) -> str:
    """Return a file's size for people."""
    size = path.stat().st_size
    return f"{size / 1e6:.1f} MB" if size >= 1e6 else f"{size / 1e3:.0f} kB"


def about(seconds: float) -> str:
    """Return a time announced to people: 5 s, 40 s, 3 min."""
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{round(seconds / 60)} min"
