"""What ``vizdiff trajectory`` can tell the network instead of what is asked, and the comparison with the plain run.

The options are checked before anything heavy is loaded.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.option_groups import OptionGroup, option
from viz_diffusion.cli.options import check_seed
from viz_diffusion.errors import VizdiffUsageError

if TYPE_CHECKING:
    from viz_diffusion.diffusion.interventions import Change, WithInterventions
    from viz_diffusion.diffusion.sampler_config import SamplerConfig
    from viz_diffusion.diffusion.unet import SimpleUNet
    from viz_diffusion.recording.trajectory import Float32, Trajectory
    from viz_diffusion.text.catalogue import Texts
    from viz_diffusion.training.run import Run


LAST = 999
"""T-1: where sampling begins."""
FILM_FRAMES = 100


@dataclass(frozen=True)
class Intervention:
    """What the options ask to be changed; false where they ask for nothing."""

    switch: tuple[int, int] | None = None
    """The other digit, and the time index it is told from, -1 .. 999."""
    clock: tuple[str, int] | None = None
    """``frozen`` and t, ``shuffled`` and a seed, or ``reversed`` and 0."""
    drop_label: bool = False
    guide_within: tuple[int, int] | None = None
    """The first and the last time index at which guidance works."""

    def __bool__(self) -> bool:
        return self != Intervention()

    def check(self, config: SamplerConfig) -> None:
        """Refuse an interval of guidance where there is no guidance.

        Raises
        ------
        VizdiffUsageError
            Where the guidance scale is 1.
        """
        if self.guide_within is not None and config.guidance_scale == 1:
            raise VizdiffUsageError("--guide-within needs guidance to limit; --guidance 1 is none")

    def around(self, model: SimpleUNet, num_train_timesteps: int) -> WithInterventions:
        """Return the network told otherwise: by the sampler's own t first the label, then guidance, then the clock."""
        from viz_diffusion.diffusion.interventions import WithInterventions, drop_label, guide_within, switch_label

        changes: list[Change] = []
        if self.switch is not None:
            changes.append(switch_label(*self.switch, model.null_label))
        if self.guide_within is not None:
            changes.append(guide_within(*self.guide_within, model.null_label))
        if self.drop_label:
            changes.append(drop_label(model.null_label))
        if self.clock is not None:
            changes.append(_clock(*self.clock, num_train_timesteps))
        return WithInterventions(model, *changes)


def _clock(kind: str, number: int, num_train_timesteps: int) -> Change:
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
) -> Intervention:
    """Read the options.

    Raises
    ------
    VizdiffUsageError
        Where a value is none of those there are, or two options make each other pointless.
    """
    if drop_label and (switch is not None or guide_within is not None):
        other = "--switch" if switch is not None else "--guide-within"
        raise VizdiffUsageError(f"--drop-label leaves no order for {other}; choose one of them")
    return Intervention(_switch(switch), _clock_words(clock), bool(drop_label), _interval(guide_within))


INTERVENTION = OptionGroup(
    (
        option("--switch", str, "Ask for another digit from time index T on down: 8@500.", metavar="DIGIT@T"),
        option(
            "--clock",
            str,
            "Tell the network a wrong time: always T, a shuffle of all, or the time read backwards.",
            metavar="frozen:T|shuffled[:SEED]|reversed",
        ),
        option("--drop-label", bool, "Ask the network for no digit at all."),
        option("--guide-within", str, "Let guidance work at A <= t <= B only: 435:665.", metavar="A:B"),
    ),
    parse,
)


def _switch(words: str | None) -> tuple[int, int] | None:
    if words is None:
        return None
    found = re.fullmatch(r"(\d)@(-1|\d{1,3})", words, re.ASCII)
    if not found:
        raise VizdiffUsageError(f"--switch takes a digit 0..9 and a time index -1..{LAST} as in 8@500, found {words!r}")
    return int(found[1]), int(found[2])


def _clock_words(words: str | None) -> tuple[str, int] | None:
    if words is None:
        return None
    found = re.fullmatch(r"(frozen):(\d{1,3})|(shuffled)(?::(\d{1,19}))?|(reversed)", words, re.ASCII)
    if not found:
        raise VizdiffUsageError(
            f"--clock takes frozen:T with T in 0..{LAST}, shuffled, shuffled:SEED or reversed, found {words!r}"
        )
    kind, number = found[1] or found[3] or found[5], int(found[2] or found[4] or 0)
    check_seed(number)
    return kind, number


def _interval(words: str | None) -> tuple[int, int] | None:
    if words is None:
        return None
    found = re.fullmatch(r"(\d{1,3}):(\d{1,3})", words, re.ASCII)
    if not found or int(found[1]) > int(found[2]):
        raise VizdiffUsageError(
            f"--guide-within takes two time indices 0..{LAST}, the lower one first, as in 435:665, found {words!r}"
        )
    return int(found[1]), int(found[2])


def compare(
    plain: Trajectory,
    changed: Trajectory,
    other: WithInterventions,
    frames: str | None,
    texts: Texts,
    out: Path,
    terminal: Terminal,
) -> dict[str, Any]:
    """Draw the two runs beside each other, as a figure and as a film; return what the JSON file says of them."""
    import numpy as np

    from viz_diffusion.diffusion.interventions import WithInterventions, network_inputs
    from viz_diffusion.plots.film import film_frames, side_by_side, write_gif
    from viz_diffusion.study.narrative import drawings, save_drawing, wording
    from viz_diffusion.views import comparison
    from viz_diffusion.views.frames import film_counts

    terminal.say("Drawing", "the two runs beside each other")
    given = (int(plain.labels[0]), plain.timesteps.tolist(), plain.guidance_scale)
    plain_inputs, inputs_of_changed = (
        network_inputs(denoiser, *given) for denoiser in (WithInterventions(other.denoiser), other)
    )
    if plain_inputs == inputs_of_changed:
        last = int(plain.timesteps[-1])
        terminal.say(
            "Unchanged", f"no step was told anything else ({other.interventions}): the last one is at t = {last}"
        )
    data = comparison.measure(plain, changed, plain_inputs, inputs_of_changed, frames=frames)
    facts = comparison.facts(data)
    for drawing in drawings(comparison.draw(data), wording(facts, texts), texts):
        save_drawing(drawing, out)
    states = [np.concatenate([run.x_t[0, :, 0], run.x0[0]]) for run in (plain, changed)]
    shown = film_frames(len(states[0]), min(FILM_FRAMES, len(states[0])))
    film = side_by_side(states[0][shown], states[1][shown])
    write_gif(film, out / "compare.gif", counts=film_counts(plain, shown), heads=comparison.heads(data, shown))
    return {**facts, "caption": drawing.caption}


def read_finished(
    finished: dict[str, Float32], asked: int, told: Intervention, run: Run, terminal: Terminal
) -> dict[str, object]:
    """Say what the bundled classifier reads in the finished images of both runs, (B, 1, 28, 28) each by its name.

    Nothing where they are not MNIST's.
    """
    if run.config.dataset != "mnist":
        return {}
    import torch

    from viz_diffusion.evaluation.classifier import DigitClassifier
    from viz_diffusion.evaluation.intervals import Share

    classifier, digest = DigitClassifier.bundled()
    found: dict[str, object] = {"classifier_sha256": digest}
    digits = [asked] if told.switch is None else [asked, told.switch[0]]
    for name, images in finished.items():
        read = classifier.read(torch.from_numpy(images)).tolist()
        shares = {digit: Share(read.count(digit), len(read)) for digit in dict.fromkeys(digits)}
        for digit, share in shares.items():
            found[f"{name}_read_as_{digit}"] = {
                "count": share.hits,
                "of": share.count,
                "share": share.value,
                "interval_95": share.interval,
            }
        said = "; ".join(f"as {digit}: {share}" for digit, share in shares.items())
        if len(read) == 1:
            said = f"as {read[0]}"
        terminal.say("Read", f"{name} {said}, by the bundled classifier {digest[:8]}")
    return found
