"""Time plus label, and the bottleneck of a network by the digit that comes out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.lessons.label import conditioning
from viz_diffusion.lessons.label.conditioning import bottleneck, conditioning_facts, measure_conditioning


@pytest.fixture(scope="module")
def network(tiny_config: ModelConfig) -> SimpleUNet:
    torch.manual_seed(0)
    return SimpleUNet(tiny_config).eval()


def test_the_strands_are_the_embeddings_that_the_network_adds(
    network: SimpleUNet, linear: NoiseSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two labels differ by the same vector at any t, and two timesteps by the same vector under any label."""
    monkeypatch.setattr(conditioning, "STEPS", 4)
    found = measure_conditioning(network, linear, (20, 6))
    assert found.timesteps.tolist() == [0, 200, 400, 599, 799, 999]
    assert found.pca.shape == found.tsne.shape == (10, 6, 2)
    apart = found.pca[3] - found.pca[7]
    assert np.allclose(apart, apart[0], atol=1e-5)
    along = found.pca[:, 5] - found.pca[:, 0]
    assert np.allclose(along, along[0], atol=1e-5)
    assert 0 < found.pca_share[1] <= found.pca_share[0] < 1
    assert found.maps.shape == (len(found.shown_timesteps), 20, 2)
    assert found.shown_timesteps[0] == 999
    assert (np.diff(found.shown_timesteps) < 0).all()
    assert not bottleneck(network)._forward_hooks
    facts = conditioning_facts(found)
    assert facts.conditioning_generations == 20
    assert facts.conditioning_first == found.silhouette[0]


def test_the_score_tells_groups_from_none() -> None:
    """Oracle: far groups score near 1, the same values in random groups near 0."""
    rng = np.random.default_rng(0)
    digits = np.arange(60) % 3
    rows = 100.0 * np.eye(3)[digits] + rng.standard_normal((60, 3))
    assert conditioning._silhouette(rows, digits) > 0.97
    assert abs(conditioning._silhouette(rows, rng.permutation(digits))) < 0.1
    assert conditioning._silhouette(rows, np.zeros(60, int)) == 0


def test_the_hook_is_released_when_sampling_fails(
    network: SimpleUNet, linear: NoiseSchedule, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise RuntimeError("no")

    monkeypatch.setattr(conditioning, "ddim_steps", fail)
    with pytest.raises(RuntimeError, match="no"):
        measure_conditioning(network, linear, (20, 6))
    assert not bottleneck(network)._forward_hooks
