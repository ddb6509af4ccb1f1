"""The training set as an oracle: its formula, known values of MNIST, and what a label is worth."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.oracles import EmpiricalOracle
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, ddim_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.timesteps import spaced_timesteps
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.recorder import Recorder


@pytest.fixture(scope="module")
def training() -> Digits:
    return load_digits("train")


@pytest.fixture(scope="module")
def empirical(training: Digits, linear: NoiseSchedule) -> EmpiricalOracle:
    return EmpiricalOracle(linear, training.images, training.labels)


def random(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def test_the_empirical_denoiser_is_its_formula(linear: NoiseSchedule) -> None:
    images, labels = random(9, 1, 2, 2, seed=1), torch.tensor([2, 0, 1, 0, 2, 1, 0, 2, 2])
    oracle = EmpiricalOracle(linear, images, labels, null_label=3)
    x, t = random(70, 1, 2, 2, seed=2), torch.arange(70) * 14
    requested = torch.arange(70) % 4
    found, classes = oracle.predict_x0(x, t, requested), oracle.posterior(x, t)
    eps = oracle(x, t, requested)
    for row in range(70):
        share = linear.alphas_cumprod[t[row]]
        logs = -((x[row] - share**0.5 * images) ** 2).sum(dim=(1, 2, 3)).numpy() / (2 * (1 - share))
        for y in range(4):
            kept = np.ones(9, dtype=bool) if y == 3 else labels.numpy() == y
            weights = np.where(kept, np.exp(np.minimum(logs - logs[kept].max(), 0)), 0)
            weights /= weights.sum()
            if y == 3:
                by_label = [weights[labels.numpy() == k].sum() for k in range(3)]
                np.testing.assert_allclose(classes[row].numpy(), by_label, rtol=1e-8, atol=1e-12)
            if y == requested[row]:
                wanted = np.tensordot(weights, images.numpy(), 1)
                np.testing.assert_allclose(found[row].numpy(), wanted, rtol=1e-8, atol=1e-9)
                back = linear.add_noise(found[row], eps[row], int(t[row]))
                np.testing.assert_allclose(back.numpy(), x[row].numpy(), atol=1e-12)
    assert torch.equal(oracle.predict_x0(x, t), oracle.predict_x0(x, t, torch.full((70,), 3)))


def test_labels_that_the_empirical_oracle_cannot_know_are_named(linear: NoiseSchedule) -> None:
    oracle = EmpiricalOracle(linear, torch.zeros(2, 1), torch.tensor([0, 4]))
    for label in (3, 11, -1):
        with pytest.raises(VizdiffInputError, match=f"no image with the label {label}"):
            oracle(torch.zeros(1, 1), torch.tensor([5]), torch.tensor([label]))
    with pytest.raises(VizdiffInputError, match="2 images and 3 labels"):
        EmpiricalOracle(linear, torch.zeros(2, 1), torch.zeros(3, dtype=torch.long))
    with pytest.raises(VizdiffInputError, match=r"0\.\.9, found 4\.\.10"):
        EmpiricalOracle(linear, torch.zeros(2, 1), torch.tensor([4, 10]))


def test_when_the_digit_is_decided(empirical: EmpiricalOracle, test_digits: Digits, linear: NoiseSchedule) -> None:
    """Mean p(true class | x_t) of test digits, all 60,000 training digits weighed: no network is needed."""
    images, labels = test_digits.images[:200], test_digits.labels[:200]
    generator = torch.Generator().manual_seed(0)
    for t, known in ((900, 0.10), (700, 0.13), (600, 0.26), (500, 0.55), (400, 0.86), (300, 0.95)):
        x = linear.add_noise(images, torch.randn(images.shape, generator=generator), t)
        found = empirical.posterior(x, torch.full((200,), t))[torch.arange(200), labels]
        error = found.std().item() / 200**0.5
        assert found.mean().item() == pytest.approx(known, abs=3 * error + 0.005), t  # known to two digits


def test_what_a_label_is_worth(training: Digits, linear: NoiseSchedule) -> None:
    """½∫E‖x̂_0(y) - x̂_0(∅)‖² dSNR from noise up to an SNR is the label's entropy less what is left of it there.

    The I-MMSE identity (Guo et al. 2005), on 1,000 digits for which the oracle is exact.
    """
    images, labels = training.images[:1000], training.labels[:1000]
    oracle = EmpiricalOracle(linear, images, labels)
    queries = slice(0, 300)
    x0, requested = images[queries], labels[queries]
    noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(1))
    ts = np.arange(999, 99, -15)
    gaps, left = np.empty((len(ts), 300)), np.empty((len(ts), 300))
    for row, t in enumerate(ts.tolist()):
        x, steps = linear.add_noise(x0, noise, t), torch.full((300,), t)
        apart = oracle.predict_x0(x, steps, requested) - oracle.predict_x0(x, steps)
        gaps[row] = apart.flatten(1).square().sum(dim=1)
        left[row] = -oracle.posterior(x, steps)[torch.arange(300), requested].log()
    spent = np.zeros_like(gaps)
    steps_snr = np.diff(linear.snr[ts])[:, None]
    spent[1:] = np.cumsum((gaps[1:] + gaps[:-1]) / 4 * steps_snr, axis=0)  # trapezoids
    counts = torch.bincount(labels[queries]).double() / 300
    entropy = -(counts * counts.log()).sum().item()
    for t in (699, 594, 504, 399, 294):
        row = int(np.flatnonzero(ts == t)[0])
        difference = spent[row] - (entropy - left[row])
        assert abs(difference.mean()) < 3 * difference.std() / 300**0.5, t
    assert spent[-1].mean() == pytest.approx(entropy, abs=3 * spent[-1].std() / 300**0.5)
    assert entropy == pytest.approx(2.301, abs=0.02)


def test_the_perfect_minimiser_only_copies(
    empirical: EmpiricalOracle, training: Digits, test_digits: Digits, linear: NoiseSchedule
) -> None:
    """At t = 250: no error to speak of on training digits, far more than the Gaussian's on test digits."""
    errors = []
    for digits in (training, test_digits):
        x0 = digits.images[:100]
        noise = torch.randn(x0.shape, generator=torch.Generator().manual_seed(2))
        eps = empirical(linear.add_noise(x0, noise, 250), torch.full((100,), 250))
        errors.append((eps - noise).square().mean().item())
    assert errors[0] < 0.003
    assert errors[1] == pytest.approx(0.108, abs=0.02)


def test_an_oracle_is_recorded_like_a_network(linear: NoiseSchedule, test_digits: Digits) -> None:
    oracle = EmpiricalOracle(linear, test_digits.images[:50], test_digits.labels[:50])
    found = record_generation(
        oracle, linear, torch.tensor([7, 2]), [0, 1], SamplerConfig("ddim", 20, guidance_scale=1.0)
    )
    for row, label in enumerate((7, 2)):
        kind = test_digits.images[:50][test_digits.labels[:50] == label]
        apart = (kind - torch.from_numpy(found.x0[row])).flatten(1).norm(dim=1)
        assert apart.min() < 0.5  # one of its own images, to the noise of the last step
    with Recorder(oracle, linear, clip=False) as recorder:
        for step in ddim_steps(oracle, linear, ImageNoise([0]), None, timesteps=spaced_timesteps(1000, 3), clip=False):
            last = step.x_prev
        recorder.finish(last)
    assert recorder.trajectory().timesteps.tolist() == [999, 666, 332]
