"""The interventions of ``vizdiff intervene``: their options, which are checked before anything heavy is loaded."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from viz_diffusion.cli.class_choice import choose_label
from viz_diffusion.cli.option_groups import INTERVENTIONS, OptionGroup, option
from viz_diffusion.cli.options import check_seed
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.text.class_names import file_name

if TYPE_CHECKING:
    from viz_diffusion.diffusion.interventions import Change, WithInterventions
    from viz_diffusion.diffusion.sampler_config import SamplerConfig
    from viz_diffusion.diffusion.unet import SimpleUNet
    from viz_diffusion.training.config import RunConfig


LAST_TIMESTEP = 999
"""T-1: where sampling begins."""


@dataclass(frozen=True)
class InterventionOptions:
    """The changes of the network's inputs that the options ask for; false where there are none."""

    switch: tuple[int | str, int] | None = None
    """The other label, a digit or the name of a class, and the timestep from which on down it is given, -1 .. 999."""
    clock: tuple[str, int] | None = None
    """``frozen`` and t, ``shuffled`` and a seed, or ``reversed`` and 0."""
    drop_label: bool = False
    guide_within: tuple[int, int] | None = None
    """The first and the last timestep with guidance."""

    def __bool__(self) -> bool:
        return self != InterventionOptions()

    def marks(self) -> list[str]:
        """Return the changes as parts of a file's name."""
        words = {
            f"switch-{self.switch[0]}-{self.switch[1]}" if self.switch else "": self.switch is not None,
            f"{self.clock[0]}-{self.clock[1]}" if self.clock else "": self.clock is not None,
            "no-label": self.drop_label,
            "-".join(map(str, ("guidance-at", *(self.guide_within or ())))): self.guide_within is not None,
        }
        return [file_name(word) for word, applies in words.items() if applies]

    def prompts(self, prompt: str | None) -> tuple[str, ...]:
        """Return a generation's prompt and the one that it is switched to; empty where it has none."""
        if prompt is None:
            return ()
        return (prompt,) if self.switch is None else (prompt, str(self.switch[0]))

    def for_run(self, config: RunConfig) -> InterventionOptions:
        """Return the options with the label that ``switch`` means for a run.

        Raises
        ------
        VizdiffUsageError
            Where the run was trained without such a class.
        """
        if self.switch is None:
            return self
        asked, timestep = self.switch
        if config.prompts:  # the second one: see prompts
            return replace(self, switch=(len(config.prompts) - 1, timestep))
        digit, name = (asked, None) if isinstance(asked, int) else (None, asked)
        return replace(self, switch=(choose_label(config, digit, name), timestep))

    def check(self, config: SamplerConfig) -> None:
        """Refuse an interval of guidance where there is no guidance.

        Raises
        ------
        VizdiffUsageError
            Where the guidance scale is 1.
        """
        if self.guide_within is not None and config.guidance_scale == 1:
            raise VizdiffUsageError("--guide-within needs guidance to limit; --guidance 1 is none")

    def wrap(self, model: SimpleUNet, num_train_timesteps: int) -> WithInterventions:
        """Return the network with the interventions.

        The timestep is changed last, so that label and guidance change at the sampler's own t.
        """
        from viz_diffusion.diffusion.interventions import WithInterventions, drop_label, guide_within, switch_label

        changes: list[Change] = []
        if self.switch is not None:
            label, timestep = self.switch
            assert isinstance(label, int)  # see for_run
            changes.append(switch_label(label, timestep, model.null_label))
        if self.guide_within is not None:
            changes.append(guide_within(*self.guide_within, model.null_label))
        if self.drop_label:
            changes.append(drop_label(model.null_label))
        if self.clock is not None:
            changes.append(_timestep_change(*self.clock, num_train_timesteps))
        return WithInterventions(model, *changes)


def _timestep_change(kind: str, number: int, num_train_timesteps: int) -> Change:
    from viz_diffusion.diffusion.interventions import freeze_timestep, reverse_timestep, shuffle_timestep

    if kind == "frozen":
        return freeze_timestep(number)
    return (
        shuffle_timestep(num_train_timesteps, number) if kind == "shuffled" else reverse_timestep(num_train_timesteps)
    )


def parse(
    *,
    switch: str | None = None,
    clock: str | None = None,
    drop_label: bool | None = None,
    guide_within: str | None = None,
) -> InterventionOptions:
    """Read the options.

    Raises
    ------
    VizdiffUsageError
        Where a value is impossible, or two options contradict each other.
    """
    if drop_label and (switch is not None or guide_within is not None):
        other = "--switch" if switch is not None else "--guide-within"
        raise VizdiffUsageError(f"--drop-label leaves no order for {other}; choose one of them")
    return InterventionOptions(
        _parse_switch(switch), _parse_clock(clock), bool(drop_label), _parse_interval(guide_within)
    )


INTERVENTION = OptionGroup(
    (
        option(
            "--switch",
            str,
            "Change the label to another digit, class or prompt from timestep T down: 8@500, 'a thin two@500'.",
            metavar="DIGIT@T",
            heading=INTERVENTIONS,
        ),
        option(
            "--clock",
            str,
            "Give the network a wrong timestep: always T, all timesteps shuffled, or in reverse.",
            metavar="frozen:T|shuffled[:SEED]|reversed",
            heading=INTERVENTIONS,
        ),
        option("--drop-label", bool, "Give the network no label.", heading=INTERVENTIONS),
        option(
            "--guide-within",
            str,
            "Use guidance at timesteps A to B only: 435:665.",
            metavar="A:B",
            heading=INTERVENTIONS,
        ),
    ),
    parse,
)


def _parse_switch(text: str | None) -> tuple[int | str, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d|[^@]+)@(-1|\d{1,3})", text, re.ASCII)
    if not match or (match[1].isdecimal() and match[1] not in "0123456789"):
        raise VizdiffUsageError(
            f"--switch takes a digit 0..9 and a time index -1..{LAST_TIMESTEP} as in 8@500, found {text!r}"
        )
    return int(match[1]) if match[1].isdecimal() else match[1], int(match[2])


def _parse_clock(text: str | None) -> tuple[str, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(frozen):(\d{1,3})|(shuffled)(?::(\d{1,19}))?|(reversed)", text, re.ASCII)
    if not match:
        raise VizdiffUsageError(
            f"--clock takes frozen:T with T in 0..{LAST_TIMESTEP}, shuffled, shuffled:SEED or reversed, found {text!r}"
        )
    kind, number = match[1] or match[3] or match[5], int(match[2] or match[4] or 0)
    check_seed(number)
    return kind, number


def _parse_interval(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    match = re.fullmatch(r"(\d{1,3}):(\d{1,3})", text, re.ASCII)
    if not match or int(match[1]) > int(match[2]):
        raise VizdiffUsageError(
            f"--guide-within takes two time indices 0..{LAST_TIMESTEP}, the lower one first, as in 435:665, "
            f"found {text!r}"
        )
    return int(match[1]), int(match[2])
