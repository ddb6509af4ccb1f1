"""Lesson ``text``: what a network does with prompts in the place of labels.

It measures the run of the context where that is one of prompts, and otherwise the one that comes with the package.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from viz_diffusion.data import NUM_LABELS, load_digits
from viz_diffusion.data.caption_words import PLAIN_PROMPTS
from viz_diffusion.data.captions import CaptionedDigits
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.intervals import all_surely, half_of_mean, share_difference, surely
from viz_diffusion.files import read_json, sha256_file
from viz_diffusion.lessons.base import Claim, Lesson, LessonFigure, Precomputed, Rows
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.text import asked_shapes, same_noise, word_maps
from viz_diffusion.lessons.text.asked_shapes import NAMES, ShapeScale, measure_asked
from viz_diffusion.lessons.text.figures import draw_attributes, draw_prompts, draw_similarity
from viz_diffusion.lessons.text.prompt_sampling import NetworkSampler
from viz_diffusion.lessons.text.same_noise import PARAPHRASES, VARIANTS, measure_paraphrases, measure_sums
from viz_diffusion.lessons.text.text_study import TextFacts, TextStudy, facts, sample_grid, share_of
from viz_diffusion.lessons.text.word_maps import measure_word_maps
from viz_diffusion.lessons.text.zero_shot import measure_zero_shot
from viz_diffusion.plots.lazy_figures import Figures
from viz_diffusion.plots.word_maps import draw_word_maps
from viz_diffusion.text.catalogue import Texts
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS, BUNDLED_TEXT
from viz_diffusion.training.run import MANIFEST, WEIGHTS, Run
from viz_diffusion.training.text_run import TEXT_ENCODER, text_encoder_of

PLAIN_COUNTS = (40, 1000)
"""Samples of the plain prompts, quick and full."""
PLAIN_SEED = 960_000
"""Seed of the first one's noise."""
ACCURATE = 0.97
"""Zero-shot classification and plain prompts count as reliable above this accuracy."""
FOLLOWS = 0.9
"""Shapes follow the prompt where their correlation is at least this share of that of real digits."""
NO_CORRELATION = 0.1
"""Correlations of shuffled prompts must be smaller than this."""
MARGIN = 0.03
"""Held-out combinations count as good as others where at most this is lost."""
ORDER, SHAPE = VARIANTS.index("order"), VARIANTS.index("shape")
"""Places of the first variant that keeps the meaning, and of the first that changes it."""
ARTICLE, DIGIT = 0, 3
"""Places of the words a and seven in a thick slanted seven."""


def is_of_bundled(study: TextStudy) -> bool:
    """Return whether results are of the network of prompts that comes with the package."""
    manifest = BUNDLED_RUNS[BUNDLED_TEXT] / MANIFEST
    return manifest.is_file() and read_json(manifest)["sha256"].get(WEIGHTS) == study.text_sha256


def measure(context: LessonContext) -> TextStudy:
    """Sample by the run of prompts, and measure its text encoder."""
    run = context.run if context.run.config.model.text is not None else Run.open(BUNDLED_RUNS[BUNDLED_TEXT])
    network, digest = run.load_model(context.device)
    encoder = text_encoder_of(run, context.device)
    sampler = NetworkSampler(network, encoder, run.config.noise_schedule)
    classifier, classifier_digest = DigitClassifier.bundled()

    def read(images: Tensor) -> NDArray[np.int64]:
        return np.asarray(classifier.read(images).numpy())

    def begin(part: int, text: str) -> None:
        context.progress(part, 7, text)

    begin(0, "test digits and prompts")
    test, scale = CaptionedDigits.of(load_digits("test")), ShapeScale.of(load_digits("train"))
    zero_shot = measure_zero_shot(encoder, read, test)
    begin(1, "prompts that name a digit")
    count = context.size(*PLAIN_COUNTS)
    digits = np.arange(count) % NUM_LABELS
    plain = sampler.sample([PLAIN_PROMPTS[k] for k in digits], range(PLAIN_SEED, PLAIN_SEED + count))
    begin(2, "prompts that name slant and thickness")
    asked = measure_asked(sampler, read, test, scale, context.size(*asked_shapes.COUNTS))
    begin(3, "paraphrases")
    paraphrases = measure_paraphrases(sampler, context.size(*same_noise.COUNTS))
    begin(4, "sums of prompts")
    sums = measure_sums(sampler, scale, read, context.size(*same_noise.SUM_COUNTS))
    begin(5, "attention to words")
    words = measure_word_maps(sampler, context.size(*word_maps.COUNTS))
    begin(6, "samples to draw")
    return TextStudy(
        zero_shot,
        read(plain) == digits,
        asked,
        paraphrases,
        sums,
        words,
        sample_grid(sampler),
        run.trained_steps,
        len(encoder.config.vocabulary),
        digest,
        sha256_file(run.path / TEXT_ENCODER),
        classifier_digest,
    )


def draw(data: TextStudy) -> Figures:
    """Draw ``prompts``, ``attributes``, ``word_maps`` and ``text_similarity``."""
    words, asked = data.words, data.asked
    distances = data.paraphrases.distances
    return Figures(
        prompts=lambda: draw_prompts(data.grid.prompts, data.grid.images),
        attributes=lambda: draw_attributes(
            (asked.levels[asked.prompt], asked.shapes, asked.correlation().value),
            (asked.levels[asked.real_prompt], asked.real_shapes, asked.real_correlation().value),
        ),
        word_maps=lambda: draw_word_maps(
            words.timesteps[words.shown],
            words.x0_pred,
            words.maps,
            ("a", "thick", "slanted", "seven"),
            (words.on_ink.mean(axis=1), half_of_mean(words.on_ink)),
        ),
        text_similarity=lambda: draw_similarity(
            data.zero_shot.similarity, distances.mean(axis=1), half_of_mean(distances), VARIANTS
        ),
    )


def claims(data: TextStudy) -> tuple[Claim, ...]:
    """Decide what the encoder recognises, what prompts change, and what sums of them do."""
    asked = data.asked
    zero, plain, shuffled = data.zero_shot.share, share_of(data.plain_right), asked.shuffled_correlation()
    _, ratio = asked.correlation().ratio(asked.real_correlation())
    distances = data.paraphrases.distances
    others = distances[SHAPE:].min(axis=0)  # the nearer of another shape and another digit
    near_zero = [_within(low, high, NO_CORRELATION) for low, high in shuffled.interval]
    return (
        Claim("zero_shot", _above(*zero.interval, ACCURATE)),
        Claim("prompts_digit", _above(*plain.interval, ACCURATE)),
        Claim("shape_follows", all_surely(_above(low, high, FOLLOWS) for low, high in ratio)),
        Claim("shuffled_prompts", all_surely(near_zero)),
        *_held_out_claims(data),
        _positive("order_free", others - distances[ORDER]),
        _positive("language_free", others - distances[ORDER + 1 : SHAPE].max(axis=0)),
        _positive("digit_on_ink", data.words.on_ink[DIGIT] - data.words.on_ink[ARTICLE]),
        _arithmetic(data),
    )


def _held_out_claims(data: TextStudy) -> tuple[Claim, Claim]:
    """Decide whether samples of held-out combinations lose at most :data:`MARGIN`."""
    asked = data.asked
    rows = (asked.of_held_out(True), asked.of_held_out(False))
    first, second = (share_of(asked.right[one]) for one in rows)
    low, high = share_difference(first, second)
    own, real = [asked.correlation(one) for one in rows], [asked.real_correlation(one) for one in (True, False)]
    change, ends = own[0].difference(own[1])
    ratios = [float((one.value / other.value).mean()) for one, other in zip(own, real, strict=True)]
    numbers = {"change": first.value - second.value, "low": low, "high": high}
    shape = {"change": change, "low": float(ends[0]), "high": float(ends[1])}
    shape |= {"real_change": real[0].difference(real[1])[0], "held_ratio": ratios[0], "seen_ratio": ratios[1]}
    return (
        Claim("held_out", _above(low, high, -MARGIN), numbers),
        Claim("held_out_shape", _above(float(ends[0]), float(ends[1]), -MARGIN), shape),
    )


def _arithmetic(data: TextStudy) -> Claim:
    """Decide whether the sum's image is nearer to the thick prompt's in more than half of the noises."""
    nearer = share_of(data.sums.nearer)
    low, high = nearer.interval
    return Claim("arithmetic", _above(low, high, 0.5), {"nearer": nearer.value, "low": low, "high": high})


def _above(low: float, high: float, limit: float) -> bool | None:
    """Return whether an interval lies above a limit, below it, or neither."""
    return surely(low - limit, high - limit)


def _within(low: float, high: float, limit: float) -> bool | None:
    """Return whether an interval lies within ±limit, outside, or neither."""
    return True if -limit < low and high < limit else (False if low >= limit or high <= -limit else None)


def _positive(name: str, values: NDArray[np.float64]) -> Claim:
    """Decide whether the mean of (N,) paired differences is above 0."""
    mean, half = float(values.mean()), float(half_of_mean(values))
    return Claim(name, surely(mean - half, mean + half), {"difference": mean, "difference_half": half})


def rows(facts: TextFacts, texts: Texts) -> Rows:
    """Return each measurement with its interval, and what it is compared with."""
    own = "chapter.text.row_"

    def percent(value: float, ends: tuple[float, float] | None = None) -> str:
        return f"{value:.1%}" + ("" if ends is None else f" ({ends[0]:.1%} – {ends[1]:.1%})")

    def signed(value: float, ends: tuple[float, float] | None = None) -> str:
        return f"{value:.2f}" + ("" if ends is None else f" ({ends[0]:.2f} – {ends[1]:.2f})")

    lines = [
        (
            texts[f"{own}zero_shot"],
            percent(facts.zero_accuracy, facts.zero_interval),
            texts(f"{own}zero_shot_other", classifier=percent(facts.classifier_accuracy)),
        ),
        (texts[f"{own}plain"], percent(facts.plain_accuracy, facts.plain_interval), "–"),
    ]
    for k, name in enumerate(NAMES):
        other = texts(f"{own}shape_other", real=signed(facts.real_shape[k]), shuffled=signed(facts.shuffled_shape[k]))
        lines.append((texts[f"{own}{name}"], signed(facts.shape[k], facts.shape_interval[k]), other))
    seen = texts(f"{own}seen", value=percent(facts.seen_accuracy))
    lines.append((texts[f"{own}held_out"], percent(facts.held_accuracy), seen))
    for k, name in enumerate(NAMES):
        seen = texts(f"{own}seen", value=signed(facts.seen_shape[k]))
        lines.append((texts[f"{own}held_out_{name}"], signed(facts.held_shape[k]), seen))
    for k, name in enumerate(VARIANTS):
        distance = f"{facts.variant_distance[k]:.3f} ± {facts.variant_half[k]:.3f}"
        kept = texts[f"{own}{'kept' if name in PARAPHRASES else 'changed'}"]
        lines.append((texts[f"{own}variant_{name}"], distance, kept))
    return Rows(("quantity", "measured", "compared"), tuple(lines))


LESSON = Lesson(
    name="text",
    position=134,
    precomputed=Precomputed(
        TextStudy,
        measure,
        (
            LessonFigure("prompts", in_exercise=True),
            LessonFigure("attributes"),
            LessonFigure("word_maps"),
            LessonFigure("text_similarity", advanced=True),
        ),
        fits=is_of_bundled,
        also_of=("text_sha256",),
    ),
    prompts=True,
    latent=True,
    seconds=(25, 150),
    facts=facts,
    claims=claims,
    rows=rows,
    draw=draw,
)
