"""The generation that a command shows: one to sample, or a recording, which no option may contradict."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NoReturn

from viz_diffusion.cli.class_choice import check_choice, choose_label
from viz_diffusion.cli.console import show_path
from viz_diffusion.cli.given_recording import open_recording
from viz_diffusion.cli.option_groups import OptionGroup, option
from viz_diffusion.cli.options import (
    DEFAULT_DIGIT,
    DEFAULT_SEED,
    PICTURE_SAMPLER,
    PROMPT_HELP,
    SamplerOptions,
    check_seed,
    sampler_options,
)
from viz_diffusion.cli.outputs import default_out
from viz_diffusion.cli.recording_agreement import check_agreement, recorded_prompts, spacing_of
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.timesteps import SAMPLERS, SPACINGS, VARIANCES
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError

if TYPE_CHECKING:
    from viz_diffusion.recording.trajectory import Trajectory
    from viz_diffusion.training.config import RunConfig


@dataclass(frozen=True)
class GenerationOptions:
    """The options that say which generation a command shows; None where one is not given."""

    digit: int | None
    label: str | None
    """A class by its name, in place of ``digit``."""
    prompts: tuple[str, ...]
    """Prompts, in place of ``digit``: the first is shown, the others are compared with it."""
    seed: int | None
    trajectory: Path | None
    """A recording to use, which no other given option may contradict."""
    allow_partial: bool
    """Whether to accept a recording that was cut off after its first image was finished."""
    refresh: bool
    """Whether to make the study anew."""
    sampling: SamplerOptions
    index: int | None = None
    """Which image of ``trajectory`` is shown, from 0."""


def generation_options() -> OptionGroup:
    """Return the options that say which generation a command shows; they build :class:`GenerationOptions`."""
    sampling = sampler_options(PICTURE_SAMPLER)
    own = (
        option("--digit", int, "Digit, 0 to 9.", default=str(DEFAULT_DIGIT)),
        option("--label", str, "Class by its name, for a run on your own data.", metavar="NAME"),
        option("--prompt", list[str], PROMPT_HELP + " Others are compared with the first.", metavar="TEXT"),
        option("--seed", int, "Seed of the noise.", default=str(DEFAULT_SEED)),
        option(
            "--trajectory",
            Path,
            "Recording to use instead of a new one: a folder that vizdiff trajectory wrote, or a .zarr or .zip.",
            metavar="DIR",
        ),
        option(
            "--index",
            int,
            "With --trajectory: which image of the recording is shown, from 0.",
            metavar="I",
            default="0",
        ),
        option(
            "--allow-partial",
            bool,
            "With --trajectory: accept a recording that was interrupted after its first image was finished.",
        ),
        option("--refresh", bool, "Sample and measure again what is kept from an earlier command."),
    )

    def build(
        *,
        digit: int | None,
        label: str | None,
        prompt: list[str] | None,
        seed: int | None,
        trajectory: Path | None,
        index: int | None,
        allow_partial: bool | None,
        refresh: bool | None,
        **sampler: Any,
    ) -> GenerationOptions:
        sampled = sampling.build(**sampler)
        shown = (digit, label, tuple(prompt or ()), seed, trajectory)
        return GenerationOptions(*shown, bool(allow_partial), bool(refresh), sampled, index)

    return OptionGroup((*own, *sampling.parameters), build)


GENERATION = generation_options()


@dataclass(frozen=True, eq=False)
class GenerationRequest:
    """The generation that a command shows: one to record, or an existing recording."""

    digit: int
    """The label of the recording, or the digit that is asked for, 5 where none is given."""
    seed: int
    """Seed of its noise."""
    steps: int | None
    """Network evaluations; None for all timesteps of the schedule."""
    config: SamplerConfig | None
    """How to sample it; None where there is a recording."""
    folder: Path | None = None
    """Path of the recording; None where there is none yet."""
    recorded: Trajectory | None = None
    """The recording."""
    asked: tuple[int | None, str | None] = (None, None)
    """The digit and the class name that were given."""
    refresh: bool = False
    """Whether to make the study anew."""
    prompts: tuple[str, ...] = ()
    """The prompts that the labels stand for; empty where they are digits or classes."""
    index: int = 0
    """Which image of the recording in ``folder`` is shown."""

    @property
    def sampling(self) -> SamplerConfig | None:
        """How the generation is sampled, or was; None where another program sampled it."""
        recorded = self.recorded
        if recorded is None or self.is_recording_only or not recorded.sampler:
            return self.config
        return SamplerConfig(
            recorded.sampler,
            recorded.num_steps,
            recorded.guidance_scale,
            recorded.variance or VARIANCES[0],
            recorded.eta,
            spacing_of(recorded) or SPACINGS[0],
            recorded.clip,
        )

    def default_out(self, name: str, ending: str, lang: str, run: str | None) -> Path:
        """Return the file that a command writes without ``--out``; see :func:`default_out`."""
        label = self.prompts[0] if self.prompts else self.asked[1]
        return default_out(name, ending, self.digit, lang, label, seed=self.seed, sampling=self.sampling, run=run)

    @property
    def is_recording_only(self) -> bool:
        """Whether the recording is shown by itself, without a network.

        Its weights are not known, another program's sampler made it, or it is of another process than a run's lessons
        measure, such as flow matching.
        """
        if self.recorded is None:
            return False
        same_process = _preserves_variance(self.recorded)
        return not same_process or not self.recorded.weights_sha256 or self.recorded.sampler not in ("", *SAMPLERS)


def read_request(given: GenerationOptions, *, recording_only: bool = False) -> GenerationRequest:
    """Return the generation that options mean: with their defaults, or with the values of a recording.

    Parameters
    ----------
    recording_only
        Whether to accept a recording whose network is not available; see
        :attr:`GenerationRequest.is_recording_only`.

    Raises
    ------
    VizdiffUsageError
        Where an option has no possible value, or contradicts the recording.
    VizdiffInputError
        Where the recording was made under an intervention, cannot be read, or its network is needed.
    """
    check_choice(given.digit, given.label, given.prompts)
    seed = DEFAULT_SEED if given.seed is None else given.seed
    check_seed(seed)
    for name, value in (("allow_partial", given.allow_partial or None), ("index", given.index)):
        if value is not None and given.trajectory is None:
            raise VizdiffUsageError(f"`{name}` goes with `trajectory`, and there is none")
    if given.trajectory is None:
        config = given.sampling.config()
        digit = DEFAULT_DIGIT if given.digit is None else given.digit
        asked = (given.digit, given.label)
        return GenerationRequest(
            digit, seed, config.steps, config, asked=asked, refresh=given.refresh, prompts=given.prompts
        )
    recorded = open_recording(given.trajectory, given.allow_partial, given.index)
    request = GenerationRequest(
        int(recorded.labels[0]),
        int(recorded.seeds[0]),
        recorded.num_steps,
        None,
        given.trajectory,
        recorded,
        (given.digit, given.label),
        given.refresh,
        recorded_prompts(given.trajectory, given.prompts, recorded),
        given.index or 0,
    )
    if request.is_recording_only and not recording_only:
        _refuse_without_network(given.trajectory, recorded)
    if recorded.interventions:
        raise VizdiffInputError(
            f"{given.trajectory} was recorded while somebody intervened ({recorded.interventions}), so that its label "
            "and clock are not what the network was told; give the plain recording"
        )
    check_agreement(given.trajectory, recorded, {"digit": given.digit, "seed": given.seed, **given.sampling.given})
    return request


def _refuse_without_network(path: Path, recorded: Trajectory) -> NoReturn:
    """Say why the network of a recording cannot be measured."""
    if not _preserves_variance(recorded):
        raise VizdiffInputError(
            f"{path} is of the process {recorded.schedule.name} ({recorded.schedule.scaling}), and "
            "lessons measure a variance-preserving noise schedule; what the recording shows by itself: "
            f"vizdiff report --trajectory {show_path(path)}"
        )
    known = recorded.sampler in ("", *SAMPLERS)
    raise VizdiffInputError(
        f"{path} was sampled by another program "
        f"({'weights not known' if known else recorded.sampler}), whose network cannot be asked here; what the "
        f"recording shows by itself: vizdiff report --trajectory {show_path(path)}"
    )


def asked_label(request: GenerationRequest, config: RunConfig) -> int:
    """Return the label of the recording, or the one that is asked for of a run.

    Raises
    ------
    VizdiffUsageError
        Where the run knows no such class, or the class that is asked for is not the recording's.
    """
    recorded = request.recorded
    if recorded is None:
        return choose_label(config, *request.asked)
    found, name = int(recorded.labels[0]), request.asked[1]
    if name is not None and choose_label(config, None, name) != found:
        known = config.class_names[found] if config.class_names else found
        raise VizdiffUsageError(
            f"--label {name!r} contradicts `trajectory` {request.folder}, whose class is {known}; leave one of the two "
            "out"
        )
    return found


def check_weights(request: GenerationRequest, digest: str) -> None:
    """Refuse a run whose weights are not those that made the recording."""
    recorded = request.recorded
    if recorded is not None and recorded.weights_sha256 != digest:
        raise VizdiffInputError(
            f"{request.folder} was recorded with weights {recorded.weights_sha256[:8] or 'not known'}, not "
            f"{digest[:8]}; give the run it came from as --run"
        )


def _preserves_variance(recorded: Trajectory) -> bool:
    """Return whether a recording is of the process that lessons measure."""
    from viz_diffusion.diffusion.scaling import SCALINGS

    return recorded.schedule.scaling == SCALINGS[0]
