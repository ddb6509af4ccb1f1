"""A loop of this package's samplers, and a network of somebody else, for tests of the Recorder."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import torch
from sampler_arguments import with_config
from torch import Tensor, nn

from viz_diffusion.diffusion.samplers import ImageNoise, Step
from viz_diffusion.diffusion.sampling import sampling_steps
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet

SEEDS, LABELS = [11, 12, 13], torch.tensor([0, 5, 9])


def run_steps(unet: nn.Module, schedule: NoiseSchedule, **options: object) -> Iterator[Step]:
    return sampling_steps(unet, schedule, ImageNoise(SEEDS), LABELS, **with_config(options, steps=6))


class Wrapped(nn.Module):
    """Somebody else's denoiser: other argument names, another kind of answer."""

    null_label = 10

    def __init__(self, unet: SimpleUNet, wrap: Callable[[Tensor], object]) -> None:
        super().__init__()
        self.unet, self.wrap = unet, wrap

    def forward(
        self, noisy: Tensor, step: Tensor | int, class_labels: Tensor | None = None, return_dict: bool = True
    ) -> object:
        assert return_dict
        steps = torch.as_tensor(step).reshape(-1).expand(len(noisy))
        return self.wrap(self.unet(noisy, steps, class_labels))
