"""Blocks and labels: an idle block must show nothing, shuffled labels only chance, planted times themselves."""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from lesson_context import make_context, outcomes, told_in_every_language
from scipy.stats import spearmanr

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.interventions import block_means
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.lessons.base import Finding
from viz_diffusion.lessons.context import LessonContext
from viz_diffusion.lessons.layers import block_probes
from viz_diffusion.lessons.layers import lesson as layers
from viz_diffusion.lessons.layers.block_probes import BlockProbes, branch_hooks, branches, probe_blocks
from viz_diffusion.lessons.layers.block_timesteps import Layers
from viz_diffusion.lessons.layers.label_geometry import (
    ALPHA,
    DistanceCorrelation,
    LabelGeometry,
    correlate_distances,
    label_conditioning,
    label_vectors,
    mean_cosine,
    mean_images,
    measure_label_geometry,
    untrained_network,
)
from viz_diffusion.lessons.precomputed import load_results, save_results
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.train_config import TrainConfig

IDLE = "mid1"
SIZES = (2, 200, 150, 10)
TIMES = np.arange(950, 0, -100)


@pytest.fixture(scope="module")
def context() -> LessonContext:
    return make_context()


@pytest.fixture(scope="module")
def planted(context: LessonContext) -> BlockProbes:
    """Return what is seen inside the bundled network, one of whose blocks adds nothing."""
    network = copy.deepcopy(context.network)
    idle = dict(network.named_modules())[f"{IDLE}.conv2"]
    for weights in idle.parameters():
        weights.zero_()
    return probe_blocks(
        network, context.schedule, context.training, context.heldout, SIZES, torch.Generator().manual_seed(1)
    )


@pytest.fixture(scope="module")
def labels(context: LessonContext) -> LabelGeometry:
    return measure_label_geometry(context.network, context.training, 0)


def bumps(
    *middles: int | None, sizes: tuple[int, ...] = (14, 7, 14), count: int = 80, noise: float = 0.1
) -> BlockProbes:
    """Return an inside whose blocks are missed around planted t (None: never), more or less so digit by digit."""
    rng = np.random.default_rng(0)
    many = len(middles)
    loss = rng.lognormal(0, 0.3, (10, count))
    wish = np.stack([np.zeros(10) if at is None else np.exp(-(((TIMES - at) / 120) ** 2)) for at in middles], axis=1)
    ratio = (1 + wish[:, :, None]) * rng.lognormal(0, noise, (10, many, count))
    hits = np.full((10, many), 40)
    return BlockProbes(
        tuple(f"block{k}" for k in range(many)),
        (8,) * many,
        sizes[:many],
        np.array([700, 300]),
        rng.uniform(0.1, 0.3, (2, many, 4)).astype(np.float32),
        TIMES,
        hits,
        hits // 4,
        50,
        60,
        loss.astype(np.float32),
        (loss[:, None] * ratio).astype(np.float32),
    )


def test_a_block_that_adds_nothing_does_not_change_is_not_missed_and_knows_nothing(planted: BlockProbes) -> None:
    idle = planted.names.index(IDLE)
    others = [k for k in range(len(planted.names)) if k != idle]
    assert not planted.change[:, idle].any()
    assert (planted.change[:, others] > 0).all()
    assert np.array_equal(planted.ablated[:, idle], planted.loss)
    assert not np.array_equal(planted.ablated[:, others[0]], planted.loss)
    assert (planted.hits[:, idle] < 0.2 * planted.probed).all()  # it can only guess the most frequent class


def test_only_what_is_missed_has_a_time(planted: BlockProbes, labels: LabelGeometry) -> None:
    data = Layers(planted, labels, 1000)
    idle = planted.names.index(IDLE)
    assert idle not in data.acting
    assert data.spans()[idle] is None
    assert planted.names.index("up_outer.0") in data.acting
    assert layers.facts(data).blocks[idle].centre is None


def test_late_blocks_know_the_digit_where_little_is_noised_and_nobody_knows_it_in_noise(planted: BlockProbes) -> None:
    """Had the network been told the labels, the probe would find them even where nothing is left of the picture."""
    last = planted.names.index("up_inner.0")
    assert Share(int(planted.hits[-2, last]), planted.probed).interval[0] > 0.5
    for row in (planted.hits[0], planted.control.ravel()):
        pooled = Share(int(row.sum()), planted.probed * len(row))
        assert pooled.value == pytest.approx(0.1, abs=0.035)


def test_means_are_those_of_the_interventions(context: LessonContext) -> None:
    network, digits = context.network, Digits(context.heldout.images[:30], context.heldout.labels[:30])
    noise = torch.randn(digits.images.shape, generator=torch.Generator().manual_seed(0))
    _, means, _ = block_probes._pass(network, context.schedule, digits, 400, noise)
    assert list(means) == ["down_outer.0", "down_inner.0", "mid1", "mid_attention", "mid2", "up_inner.0", "up_outer.0"]
    for name in ("down_outer.0", "mid_attention"):
        layer = branches(network)[name]
        other = block_means(network, layer, context.schedule, digits.images, None, [400], seed=0)[400]
        assert torch.allclose(means[name], other, atol=1e-5)


def test_batches_give_what_all_digits_give(context: LessonContext, monkeypatch: pytest.MonkeyPatch) -> None:
    digits = Digits(context.heldout.images[:10], context.heldout.labels[:10])
    noise = torch.randn(digits.images.shape, generator=torch.Generator().manual_seed(0))
    features, means, errors = block_probes._pass(context.network, context.schedule, digits, 400, noise)
    monkeypatch.setattr(block_probes, "BATCH", 4)
    batched = block_probes._pass(context.network, context.schedule, digits, 400, noise)
    for name, found in batched[0].items():
        assert found.shape[0] == 10
        assert torch.allclose(found, features[name], atol=1e-5)
        assert torch.allclose(batched[1][name], means[name], atol=1e-5)
    assert torch.allclose(batched[2], errors, atol=1e-5)


def test_listening_changes_no_bit_and_hears_what_is_added_to_the_stream(context: LessonContext) -> None:
    network = context.network
    x, t = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(2)), torch.tensor([300, 300])
    plain = network(x, t)
    stream: list[torch.Tensor] = []
    handle = network.mid_attention.register_forward_hook(lambda _, args, output: stream.append(output - args[0]))
    kept: dict[str, torch.Tensor] = {}
    with branch_hooks(network, kept.__setitem__):
        assert torch.equal(network(x, t), plain)
    handle.remove()
    assert torch.allclose(kept["mid_attention"], stream[0], atol=1e-5)
    kept.clear()
    network(x, t)
    assert not kept


def test_planted_times_are_found_again(labels: LabelGeometry) -> None:
    data = Layers(bumps(750, 350, None, noise=0.0), labels, 1000)
    assert data.acting.tolist() == [0, 1]
    assert data.centres[0][:2] == pytest.approx([750, 350], abs=1)
    assert np.isnan(data.centres[0][2])


def test_blocks_differ_in_time_or_do_not_or_too_few_digits_tell(labels: LabelGeometry) -> None:
    def differ(*middles: int | None, **how: float) -> tuple[bool | None, bool | None]:
        found = outcomes(layers.LESSON, Layers(bumps(*middles, **how), labels, 1000))  # type: ignore[arg-type]
        return found["differ"], found.get("coarse")

    assert differ(250, 750, 250) == (True, True)
    assert differ(750, 250, 750) == (True, False)
    assert differ(500, 500, 500)[0] is False
    assert differ(450, 550, 450, count=6, noise=0.8)[0] is None
    assert differ(None, None, None, noise=0.0) == (False, None)
    assert differ(None, 400, None, noise=0.0) == (False, None)


def test_alike_distances_are_found_and_random_ones_are_not(context: LessonContext) -> None:
    pictures = mean_images(context.training)
    assert pictures.shape == (10, 784)
    turned = pictures @ np.linalg.qr(np.random.default_rng(0).standard_normal((784, 784)))[0]
    same = correlate_distances(turned, pictures)
    assert same.rho == pytest.approx(1)
    assert same.p == 1 / 5000
    found = []
    for seed in range(60):
        points = np.random.default_rng(seed).standard_normal((10, 512))
        chance = correlate_distances(points, pictures, seed)
        found.append(chance.p <= 0.1)
        if seed < 3:
            pairs = np.triu_indices(10, 1)
            both = (np.linalg.norm(each[:, None] - each[None], axis=-1)[pairs] for each in (points, pictures))
            assert chance.rho == pytest.approx(spearmanr(*both).statistic)
    assert 1 <= sum(found) <= 13  # binomial(60, 0.1): outside with less than one in a hundred


def test_planted_label_geometry_is_found_and_a_random_table_is_not(context: LessonContext) -> None:
    pictures = mean_images(context.training)
    network = untrained_network(context.network.config, 1)
    blank = measure_label_geometry(network, context.training, 1)
    assert blank.vectors.p > ALPHA
    assert blank.conditioning.p > ALPHA
    assert blank.start_cosine == pytest.approx(1)
    assert blank.vectors.rho == blank.untrained_rho[0, 0]
    assert blank.conditioning.rho == blank.untrained_rho[0, 1]
    axes = np.random.default_rng(0).standard_normal((784, 512)) / np.sqrt(512)  # keeps distances nearly
    network.label_emb.weight[:10] = torch.from_numpy((pictures - pictures.mean(axis=0)) @ axes).float()
    likewise = correlate_distances(label_vectors(network), pictures)
    assert likewise.rho > 0.9
    assert likewise.p <= ALPHA
    assert correlate_distances(label_conditioning(network), pictures).p <= ALPHA
    assert abs(mean_cosine(network, untrained_network(network.config, 1))) < 0.2


def test_the_start_is_where_training_begins_and_leaves_the_random_state(context: LessonContext) -> None:
    state = torch.get_rng_state()
    begun = untrained_network(context.network.config, 5)
    assert torch.equal(torch.get_rng_state(), state)
    other = TrainState.create(TrainConfig(seed=5), context.network.config).model
    assert torch.equal(begun.label_emb.weight, other.label_emb.weight)


def test_what_the_blocks_are_told_is_the_label_alone_where_labels_are_alike(context: LessonContext) -> None:
    network: SimpleUNet = copy.deepcopy(context.network)
    network.label_emb.weight[3] = network.label_emb.weight[8]
    conditioned = label_conditioning(network)
    assert conditioned.shape == (10, 2 * (32 + 64 + 64 + 64 + 64 + 32))
    assert np.array_equal(conditioned[3], conditioned[8])
    assert not np.allclose(conditioned[3], conditioned[7])
    assert label_vectors(network).shape == (10, 512)


def likeness(p: float) -> DistanceCorrelation:
    """Return a rank correlation of 0.4 that a share p of shuffles reaches."""
    return DistanceCorrelation(0.4, np.where(np.arange(999) < 1000 * p - 1, 0.5, 0.1).astype(np.float32))


def test_the_layers_are_told_both_ways(context: LessonContext, labels: LabelGeometry) -> None:
    sure, chance, less = likeness(0.001), likeness(0.4), likeness(0.99)
    lucky = labels.untrained_rho.copy()
    lucky[3, 1] = 0.45  # above the 0.4 of the network
    learned = {"change": np.array([0.0, 0.3]), "change_half": np.array([0.1, 0.1])}
    labels = replace(labels, untrained_rho=np.full_like(labels.untrained_rho, 0.1), **learned)
    yes, no, unsure = bumps(250, 750, 250), bumps(500, 500, None, noise=0.0), bumps(450, 550, 450, count=6, noise=0.8)
    for seen, of_labels, verdicts in (
        (yes, replace(labels, vectors=sure, conditioning=sure), ["Yes", "Yes", "Yes", "Yes"]),
        (bumps(750, 250, 750), replace(labels, vectors=chance, conditioning=chance), ["Yes", "No", *["Undecided"] * 2]),
        (yes, replace(labels, vectors=less, conditioning=less), ["Yes", "Yes", "No", "No"]),
        (
            no,
            replace(labels, conditioning=sure, untrained_rho=lucky),
            ["No", "Undecided", "Undecided", "Undecided"],
        ),
        (bumps(None, None, noise=0.0), replace(labels, conditioning=sure), ["No", "Undecided", "Yes"]),
        (
            bumps(None, None, noise=0.0),
            replace(labels, conditioning=sure, change=np.zeros(2)),
            ["No", "Undecided", "Undecided"],
        ),
        (unsure, labels, ["Undecided", None, "Undecided", None]),
    ):
        finding = Finding.of(layers.LESSON, Layers(seen, of_labels, 1000), full=False)
        told_so = told_in_every_language(finding, context)
        shown = [one.verdict for one in told_so["en"].answers]
        assert [wanted or found for wanted, found in zip(verdicts, shown, strict=True)] == shown
        assert [drawing.name for drawing in told_so["zh"].drawings] == ["blocks", "label_geometry"]
        assert len(told_so["zh"].table.rows) == len(seen.names)


def test_what_passes_is_said_with_its_level(context: LessonContext, labels: LabelGeometry) -> None:
    """p = 0.047 of the start beside "0 pass" contradict each other where no level is named."""
    lucky = labels.untrained_p.copy()
    lucky[:, 1] = [0.047, *np.linspace(0.1, 0.9, len(lucky) - 1)]
    found = replace(labels, conditioning=likeness(0.001), untrained_p=lucky)
    facts = found.facts()
    assert (facts.conditioning.start_p, facts.conditioning.untrained_found) == (0.047, 0)
    finding = Finding.of(layers.LESSON, Layers(bumps(250, 750, 250), found, 1000), full=False)
    assert "at most 2.5%" in told_in_every_language(finding, context)["en"].answers[-1].text
    lucky[3, 1] = 0.025
    assert replace(found, untrained_p=lucky).facts().conditioning.untrained_found == 1


def test_full_results_come_back_as_they_were_saved(tmp_path: Path, labels: LabelGeometry) -> None:
    finding = Finding.of(layers.LESSON, Layers(bumps(250, 750, 250), labels, 1000), full=True)
    save_results(finding, "0" * 64, {}, tmp_path)
    back = Finding.of(layers.LESSON, load_results([layers.LESSON], "0" * 64, tmp_path)[Layers], full=True)
    assert back.facts == finding.facts
    assert back.claims == finding.claims
