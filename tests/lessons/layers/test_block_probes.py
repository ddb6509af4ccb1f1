"""What is measured of a block: the change it makes, and a linear probe of what it holds."""

from __future__ import annotations

import torch
from sklearn.linear_model import Ridge

from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.lessons.layers import block_probes


def test_the_change_of_what_grows_by_half_is_a_half() -> None:
    before = torch.tensor([[3.0, -4.0], [0.0, 0.0]])
    assert block_probes._relative(1.5 * before, before).tolist() == [0.5, 0.0]


def test_the_probe_is_ridge_regression_and_reads_only_what_is_there() -> None:
    generator = torch.Generator().manual_seed(3)
    labels = torch.randint(10, (400,), generator=generator)
    features = torch.randn(400, 12, generator=generator)
    features[:, :10] += 3 * torch.nn.functional.one_hot(labels, 10)
    fit, ask = slice(0, 250), slice(250, 400)
    scaled = (features - features[fit].mean(dim=0)) / features[fit].std(dim=0)
    ridge = Ridge(alpha=block_probes.RIDGE * 250).fit(scaled[fit], torch.nn.functional.one_hot(labels[fit], 10))
    expected = int((ridge.predict(scaled[ask]).argmax(axis=1) == labels[ask].numpy()).sum())
    hits = block_probes._probe(features[fit], labels[fit], features[ask], labels[ask])
    assert hits == expected > 75
    shuffled = labels[fit][torch.randperm(250, generator=generator)]
    low, high = Share(block_probes._probe(features[fit], shuffled, features[ask], labels[ask]), 150).interval
    assert low < 0.1 < high
    constant = block_probes._probe(torch.ones(250, 3), labels[fit], torch.ones(150, 3), labels[ask])
    assert constant == int((labels[ask] == labels[fit].bincount().argmax()).sum())
