"""Guidance, the noise of each image, and samples in batches."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.samplers import ImageNoise, guided_eps
from viz_diffusion.diffusion.sampling import BATCH_SIZE, sample_images, sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule

# -- guidance --------------------------------------------------------------------------------------


class Labelled:
    """A denoiser whose output depends on the label; counts its calls."""

    def __init__(self) -> None:
        self.calls: list[tuple[int, list[int]]] = []

    def __call__(self, x: Tensor, timesteps: Tensor, labels: Tensor) -> Tensor:
        assert len(x) == len(timesteps) == len(labels)
        self.calls.append((len(x), labels.tolist()))
        return 0.3 * x + 0.01 * (labels.to(x.dtype) ** 2)[:, None, None, None] + 0.001 * timesteps[0]


@pytest.mark.parametrize("scale", [0.0, 1.5, 3.0])
def test_guidance_mixes_two_predictions(scale: float) -> None:
    denoiser, x, labels = Labelled(), torch.randn(3, 1, 2, 2), torch.tensor([0, 5, 9])
    eps, eps_cond, eps_uncond = guided_eps(denoiser, x, 7, labels, scale, 10)
    assert denoiser.calls == [(6, [0, 5, 9, 10, 10, 10])]
    timesteps = torch.full((3,), 7)
    wanted_cond, wanted_uncond = (Labelled()(x, timesteps, y) for y in (labels, torch.full((3,), 10)))
    assert torch.equal(eps_cond, wanted_cond)
    assert torch.equal(eps_uncond, wanted_uncond)
    torch.testing.assert_close(eps, wanted_uncond + scale * (wanted_cond - wanted_uncond), rtol=0, atol=1e-6)
    if scale == 0:
        assert torch.equal(eps, wanted_uncond)


def test_scale_one_evaluates_the_plain_batch_once() -> None:
    denoiser, x, labels = Labelled(), torch.randn(3, 1, 2, 2), torch.tensor([0, 5, 9])
    eps, eps_cond, eps_uncond = guided_eps(denoiser, x, 7, labels, 1.0, 10)
    assert denoiser.calls == [(3, [0, 5, 9])]
    assert (eps_cond, eps_uncond) == (None, None)
    assert torch.equal(eps, Labelled()(x, torch.full((3,), 7), labels))


@pytest.mark.parametrize("sampler", ["ddpm", "ddim"])
def test_scale_zero_is_sampling_without_a_label(sampler: str, linear: NoiseSchedule) -> None:
    def last(labels: list[int], scale: float) -> Tensor:
        noise = ImageNoise([1, 2, 3], (1, 2, 2))
        for step in sampling_steps(
            Labelled(), linear, noise, torch.tensor(labels), SamplerConfig(sampler, 9, guidance_scale=scale, clip=False)
        ):
            images = step.x_prev
        return images

    assert torch.equal(last([0, 5, 9], 0.0), last([10, 10, 10], 1.0))
    assert not torch.equal(last([0, 5, 9], 1.0), last([10, 10, 10], 1.0))


@pytest.mark.parametrize("scale", [0.0, 1.0, 3.0])
def test_steps_carry_the_halves_of_guidance(scale: float, linear: NoiseSchedule) -> None:
    noise = ImageNoise([1, 2], (1, 2, 2))
    for step in sampling_steps(
        Labelled(), linear, noise, torch.tensor([3, 4]), SamplerConfig(steps=5, guidance_scale=scale)
    ):
        if scale == 1:
            assert step.eps_cond is None
            assert step.eps_uncond is None
            continue
        mixed = step.eps_uncond + scale * (step.eps_cond - step.eps_uncond)
        torch.testing.assert_close(step.eps_pred, mixed, rtol=0, atol=1e-6)
        torch.testing.assert_close(
            step.eps_cond - step.eps_uncond,
            (0.01 * (torch.tensor([3, 4]) ** 2 - 100.0))[:, None, None, None].expand(2, 1, 2, 2),
            rtol=0,
            atol=1e-5,
        )


# -- noise and batches -----------------------------------------------------------------------------


def test_an_images_noise_does_not_depend_on_its_company() -> None:
    alone, among, turned = ImageNoise([3]), ImageNoise([1, 2, 3]), ImageNoise([3, 1])
    for _ in range(5):
        draws = alone.draw()[0], among.draw(), turned.draw()
        assert torch.equal(draws[0], draws[1][2])
        assert torch.equal(draws[0], draws[2][0])
        assert torch.equal(draws[1][0], draws[2][1])
        assert not torch.equal(draws[1][0], draws[1][1])


def test_image_noise_is_standard_normal_and_fresh_at_each_draw() -> None:
    noise = ImageNoise(range(200))
    first, second = noise.draw(), noise.draw()
    assert first.dtype == torch.float32
    assert first.shape == (200, 1, 28, 28)
    count = first.numel()
    # five standard errors of the mean, of the variance, and of a correlation
    assert abs(first.mean()) < 5 / count**0.5
    assert abs(first.var() - 1) < 5 * (2 / count) ** 0.5
    assert abs((first * second).mean()) < 5 / count**0.5
    assert abs((first[:-1] * first[1:]).mean()) < 5 / count**0.5  # neighbouring seeds


@pytest.mark.parametrize("sampler", ["ddim", "ddpm"])
def test_bulk_images_do_not_depend_on_how_many_are_drawn(
    sampler: str, make_unet: Callable, linear: NoiseSchedule
) -> None:
    unet, labels, seeds = make_unet(), torch.arange(25) % 10, list(range(100, 125))

    def draw(count: int) -> Tensor:
        parts = list(
            sample_images(
                unet,
                linear,
                labels[:count],
                seeds[:count],
                SamplerConfig(sampler, 4, guidance_scale=1.5),
                null_label=10,
            )
        )
        return torch.cat(parts)

    most = draw(25)
    assert most.shape == (25, 1, 28, 28)
    for count in (1, 7, 20, 21):
        assert torch.equal(draw(count), most[:count])
    assert not torch.equal(most[0], most[10])  # the same digit, another seed
    assert torch.equal(draw(25), most)


def test_a_bulk_image_follows_its_own_label_and_seed(make_unet: Callable, linear: NoiseSchedule) -> None:
    unet = make_unet()
    one = torch.cat(list(sample_images(unet, linear, torch.tensor([4, 7]), [8, 9], SamplerConfig("ddim", 4))))
    other = torch.cat(list(sample_images(unet, linear, torch.tensor([4, 1]), [8, 9], SamplerConfig("ddim", 4))))
    assert torch.equal(one[0], other[0])
    assert not torch.equal(one[1], other[1])
    noise = ImageNoise([8, 9] + [77] * (BATCH_SIZE - 2))
    labels = torch.tensor([4, 7] + [3] * (BATCH_SIZE - 2))
    for step in sampling_steps(unet, linear, noise, labels, SamplerConfig("ddim", 4)):
        by_hand = step.x_prev
    assert torch.equal(one, by_hand[:2])
