"""Lesson ``flow``: from noise to data by DDPM, by its probability-flow equation, and by flow matching.

In the plane every prediction is exact and no network is needed; the digits are by two networks that come with the
package, trained equally long: one predicts noise, the other is of flow matching.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from viz_diffusion.evaluation.intervals import Share, half_of_few, half_of_mean, paired_difference, surely
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.flow.digit_samplers import COUNTS, Arm, FlowDigits, measure_digits
from viz_diffusion.lessons.flow.figures import (
    REACH,
    Line,
    draw_flow_digits,
    draw_flow_errors,
    draw_flow_guidance,
    draw_flow_paths,
    draw_flow_quality,
    draw_score_field,
)
from viz_diffusion.lessons.flow.ring_mixture import Float64
from viz_diffusion.lessons.flow.ring_samplers import GUIDANCE_SCALES, NEAR, RingStudy, measure_ring
from viz_diffusion.lessons.flow.study_facts import DigitFacts, FlowFacts, FlowStudy, facts, guided_near
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.training.bundled_runs import CONTROLS_DIR
from viz_diffusion.training.run import Run

NOISE, FLOW = "noise", "flow"
"""The runs that come with the package and differ in their objective only: noise, and the velocity of flow matching."""
FIELD_SIGMAS = (0.8, 0.5, 0.15)
"""Noise levels at which the score field is drawn."""
COMPARED = 2
"""Place of 10 among the numbers of evaluations: where methods are compared."""
FEWEST, FEW = 0, 1
"""Places of 2 and 5 among them: where digits are compared."""
RING_NAMES = (("ddpm", 0), ("ode_euler", 3), ("ddim", 1), ("flow_euler", 2))
"""Name in the catalogue and colour of each method in the plane."""
DIGIT_NAMES = (("ddpm", 0), ("ddim", 1), ("flow_euler", 2), ("flow_ddim", 3))
"""Name in the catalogue and colour of each arm of the digits."""
DIGITS_DDIM, DIGITS_FLOW, DIGITS_FLOW_DDIM = 1, 2, 3


def has_network() -> bool:
    """Return whether both networks come with the package."""
    return all((CONTROLS_DIR / name / "config.json").is_file() for name in (NOISE, FLOW))


def can_compare(context: LessonContext) -> bool:
    """Return whether both networks are there, and the data are theirs: MNIST."""
    return has_network() and context.is_mnist


def measure(context: LessonContext) -> FlowStudy:
    """Move points by every method, and sample digits where the data are MNIST."""
    context.progress(0, None, "a mixture of ten Gaussians")
    return FlowStudy(measure_ring(seed=context.seed), PRECOMPUTED.results(context) if can_compare(context) else None)


def measure_flow_digits(context: LessonContext) -> FlowDigits:
    """Sample digits by both networks that come with the package; the network of the context is not among them."""
    runs = [Run.control(name) for name in (NOISE, FLOW)]
    (noise, noise_sha256), (flow, flow_sha256) = (run.load_model(context.device) for run in runs)
    arms = [Arm(*runs[0].config.sampled(noise, sampler), sampler) for sampler in ("ddpm", "ddim")]
    arms += [Arm(*runs[1].config.sampled(flow, sampler), sampler) for sampler in ("euler", "ddim")]
    return measure_digits(
        arms,
        context.heldout,
        context.training if context.full else None,
        (runs[0].trained_steps, runs[1].trained_steps),
        context.digit,
        context.size(*COUNTS),
        context.progress,
        (noise_sha256, flow_sha256),
    )


def draw(data: FlowStudy) -> Figures:
    """Draw the four figures of the plane, and where there are digits ``flow_digits`` and ``flow_quality``."""
    ring = data.ring
    straight, half = ring.straight.mean(axis=1), half_of_mean(ring.straight)
    means, exact = ring.mixture.means, 1 - float(np.exp(-(NEAR**2) / 2))
    off = [_mean_line(*named, rows) for named, rows in zip(RING_NAMES[1:], ring.off, strict=True)]
    near = [_share_line(*named, rows) for named, rows in zip(RING_NAMES, ring.near, strict=True)]
    evaluations = np.array(ring.evaluations)
    figures = Figures(
        score_field=lambda: draw_score_field(*_field(ring), FIELD_SIGMAS),
        flow_paths=lambda: draw_flow_paths(ring.paths, straight, half, means),
        flow_errors=lambda: draw_flow_errors(evaluations, off, near, exact),
        flow_guidance=lambda: draw_flow_guidance(ring.guided, ring.labels, 0, GUIDANCE_SCALES, means),
    )
    return figures if data.digits is None else figures | _digit_figures(data.digits)


def _digit_figures(digits: FlowDigits) -> Figures:
    accuracy = [_share_line(*named, rows) for named, rows in zip(DIGIT_NAMES, digits.right, strict=True)]
    distance = []
    if digits.frechet is not None and digits.frechet_half is not None:
        arms = zip(DIGIT_NAMES, digits.frechet, digits.frechet_half, strict=True)
        distance = [
            Line(name, found, np.maximum(found - half, 1e-3), found + half, colour)
            for (name, colour), found, half in arms
        ]
    return Figures(
        flow_digits=lambda: draw_flow_digits(digits.images, digits.evaluations, [name for name, _ in DIGIT_NAMES]),
        flow_quality=lambda: draw_flow_quality(digits.evaluations, accuracy, distance, digits.frechet_real),
    )


def _field(ring: RingStudy) -> tuple[Float64, Float64, Float64]:
    """Return a grid of points, and densities and scores on it at the drawn noise levels."""
    side = np.linspace(-REACH, REACH, 61)
    grid = np.stack(np.meshgrid(side, side), axis=2)
    flat, levels = grid.reshape(-1, 2), [(1 - sigma, sigma) for sigma in FIELD_SIGMAS]
    densities = np.stack([ring.mixture.density(flat, *level).reshape(grid.shape[:2]) for level in levels])
    return grid, densities, np.stack([ring.mixture.score(flat, *level).reshape(grid.shape) for level in levels])


def _mean_line(name: str, colour: int, values: Float64) -> Line:
    """Return the means of (K, N) values with their intervals."""
    mean, half = values.mean(axis=1), half_of_mean(values)
    return Line(name, mean, np.maximum(mean - half, 1e-6), mean + half, colour)


def _share_line(name: str, colour: int, hits: NDArray[np.bool_]) -> Line:
    """Return the shares of (K, N) hits with their intervals."""
    shares = [Share(int(row.sum()), len(row)) for row in hits]
    low, high = np.array([share.interval for share in shares]).T
    return Line(name, np.array([share.value for share in shares]), low, high, colour)


def claims(data: FlowStudy) -> tuple[Claim, ...]:
    """Decide which paths are straighter, which method is nearer with few evaluations, and what guidance does."""
    ring = data.ring
    sde, ode, flow = ring.straight
    nearer = ring.off[1, COMPARED] - ring.off[2, COMPARED]
    outside = ~guided_near(ring)
    answers = (
        _positive("ode_straighter", ode - sde),
        _positive("flow_straighter", flow - ode),
        _positive("flow_nearer", nearer),
        Claim("one_step", ring.control_off < 1e-9),
        _more("guidance_outwards", outside[-1], outside[0]),
    )
    return answers if data.digits is None else (*answers, *_digit_claims(data.digits))


def _digit_claims(digits: FlowDigits) -> tuple[Claim, ...]:
    """Compare digits pair by pair: all arms begin with the same noise and labels."""
    ddim, flow, same = (digits.right[arm, FEW] for arm in (DIGITS_DDIM, DIGITS_FLOW, DIGITS_FLOW_DDIM))
    straight = digits.straight
    differ, trained = straight[DIGITS_FLOW] - straight[DIGITS_DDIM], straight[DIGITS_FLOW_DDIM] - straight[DIGITS_DDIM]
    answers = (
        _more("flow_obeys", flow, ddim),
        _more("timesteps_matter", flow, same),
        _positive("digits_straighter", differ, half_of_few(differ)),
        _by_training(differ, trained),
    )
    if digits.frechet is None or digits.frechet_half is None:
        return answers
    far, half = digits.frechet[:, FEWEST], digits.frechet_half[:, FEWEST]
    nearer = float(far[DIGITS_FLOW_DDIM] - far[DIGITS_FLOW])
    wide = float(np.hypot(half[DIGITS_FLOW_DDIM], half[DIGITS_FLOW]))
    return (
        *answers,
        Claim("two_nearer", surely(nearer - wide, nearer + wide), {"nearer": nearer, "nearer_half": wide}),
    )


def _by_training(differ: Float64, trained: Float64) -> Claim:
    """Decide whether most of a difference (M,) is there too where the networks differ only, their sampler not."""
    decided = _positive("straight_by_training", trained - differ / 2, half_of_few(trained - differ / 2))
    numbers = {"trained": float(trained.mean()), "trained_half": float(half_of_few(trained))}
    return Claim(decided.name, decided.holds, numbers)


def _positive(name: str, values: Float64, half: float | None = None) -> Claim:
    """Decide whether the mean of (N,) paired differences is above 0; ``half`` is half its interval where N is small."""
    mean, half = float(values.mean()), float(half_of_mean(values) if half is None else half)
    return Claim(name, surely(mean - half, mean + half), {"difference": mean, "difference_half": half})


def _more(name: str, first: NDArray[np.bool_], second: NDArray[np.bool_]) -> Claim:
    """Decide whether more of (N,) paired samples are right in the first arm."""
    change, low, high = paired_difference(first, second)
    numbers = {"change": change, "low": low, "high": high, "one": float(first.mean()), "other": float(second.mean())}
    return Claim(name, surely(low, high), numbers)


def rows(facts: FlowFacts, _: Texts) -> Rows:
    """Return distances in the plane, and accuracy and distance of digits, by number of evaluations."""
    digits, lines = facts.digits, []
    for k, count in enumerate(facts.evaluations):
        plane = [f"{facts.off[row][k]:.3f} ± {facts.off_half[row][k]:.3f}" for row in range(3)]
        arms = () if digits is None else tuple(_cell(digits, arm, k) for arm in range(len(DIGIT_NAMES)))
        lines.append((str(count), *plane, *arms))
    columns = ("evaluations", "ode", "ddim", "flow")
    of_digits = ("digits_ddpm", "digits_ddim", "digits_flow", "digits_flow_ddim")
    return Rows(columns if digits is None else columns + of_digits, tuple(lines))


def _cell(digits: DigitFacts, arm: int, k: int) -> str:
    low, high = digits.flow_accuracy_interval[arm][k]
    text = f"{digits.flow_accuracy[arm][k]:.0%} ({low:.0%} – {high:.0%})"
    if digits.flow_frechet is None or digits.flow_frechet_half is None:
        return text
    return f"{text}; {digits.flow_frechet[arm][k]:.1f} ± {digits.flow_frechet_half[arm][k]:.1f}"


PRECOMPUTED = Precomputed(
    FlowDigits,
    measure_flow_digits,
    (LessonFigure("flow_digits", digit="flow_digit"), LessonFigure("flow_quality")),
)
"""The digits; a lesson without a flow-matching network has only the plane."""

LESSON = Lesson(
    name="flow",
    position=95,
    measure=measure,
    precomputed=PRECOMPUTED if has_network() else None,
    seconds=(15, 560),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
    figures=(
        LessonFigure("score_field"),
        LessonFigure("flow_paths", in_exercise=True),
        LessonFigure("flow_errors"),
        LessonFigure("flow_guidance", advanced=True),
    ),
)
