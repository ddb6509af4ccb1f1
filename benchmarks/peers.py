"""Training speed and sample quality of this package and of two others on MNIST, as in README.

    pip install -e '.[bench]'
    python benchmarks/peers.py rate                # quiet machine, about 4 minutes: training images/s of all, in turns
    python benchmarks/peers.py quality vizdiff     # trains on as many images as 20 minutes hold at PEERS.md's speed
    python benchmarks/peers.py quality diffusers   # 60 minutes
    python benchmarks/peers.py quality denoising_diffusion_pytorch    # 60 minutes

``quality`` then draws 500 samples in each way and prints a line of PEERS.md's table for each. It counts images, not
seconds, so other work on the machine does not change what it finds.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from itertools import count, islice

import torch
from torch import Tensor, nn

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.evaluation.evaluate import evaluate
from viz_diffusion.training.loop import TrainState, train
from viz_diffusion.training.presets import find_preset
from viz_diffusion.training.train_config import TrainConfig

NUM_TIMESTEPS, DDIM_STEPS, NUM_SAMPLES, SAMPLING_BATCH, WARM_STEPS = 1000, 50, 500, 100, 2


class Ours:
    """The preset ``small``, sampled by this package's DDIM."""

    batch_size = find_preset("small").batch_size
    images = 961_472
    """20 minutes of training at 801 images/s."""
    ways = ("", "guidance 1.5")
    """How samples are drawn; "" is without guidance."""

    def __init__(self) -> None:
        small = find_preset("small")
        steps = self.images // self.batch_size
        config = TrainConfig(steps=steps, batch_size=self.batch_size, learning_rate=small.learning_rate)
        self.state = TrainState.create(config, ModelConfig(channels=small.channels, num_blocks=small.num_blocks))
        self.schedule = NoiseSchedule.named("linear")

    def train(self, data: Digits) -> Iterator[object]:
        """Train from the start, yielding after each step."""
        return train(self.state, data, self.schedule)

    def sample(self, labels: Tensor, way: str) -> Tensor:
        """Return (N, 1, 28, 28) images in [-1, 1], seeds from 0 on."""
        scale, seeds = 1.5 if way else 1.0, range(len(labels))
        config = SamplerConfig("ddim", 50, guidance_scale=scale)
        return torch.cat([*sample_images(self.state.ema, self.schedule, labels, seeds, config)])


class Peer:
    """Another program's network, configured as its documentation shows; each step's draws follow from its number."""

    batch_size: int
    """Images per step."""
    images: int
    """60 minutes of training at the peer's speed in PEERS.md."""
    ways: tuple[str, ...]
    """How samples are drawn."""
    network: nn.Module
    """What is trained."""
    optimizer: torch.optim.Optimizer
    """Of the network's parameters."""

    def loss(self, x0: Tensor, labels: Tensor) -> Tensor:
        """Return the training loss of images (B, 1, 28, 28) in [-1, 1]; draws from the global generator."""
        raise NotImplementedError

    def after_gradients(self) -> None:
        """Change the gradients before the optimizer's step, where the documentation does."""

    def after_step(self) -> None:
        """Move the average of the weights, where the documentation has one."""

    def sample_batch(self, labels: Tensor, way: str) -> Tensor:
        """Return (B, 1, 28, 28) images in [-1, 1] by DDIM in 50 steps; draws from the global generator."""
        raise NotImplementedError

    def train(self, data: Digits) -> Iterator[object]:
        """Train from the start without end, yielding after each step."""
        for step in count():
            epoch, place = divmod(step, len(data) // self.batch_size)
            order = torch.randperm(len(data), generator=torch.Generator().manual_seed(epoch))
            rows = order[place * self.batch_size : (place + 1) * self.batch_size]
            torch.manual_seed(step)
            self.optimizer.zero_grad()
            self.loss(data.images[rows], data.labels[rows]).backward()
            self.after_gradients()
            self.optimizer.step()
            self.after_step()
            yield step

    def sample(self, labels: Tensor, way: str) -> Tensor:
        """Return one image a label, in batches whose noise follows from their place."""
        images = []
        for index, part in enumerate(torch.split(labels, SAMPLING_BATCH)):
            torch.manual_seed(index)
            images.append(self.sample_batch(part, way))
        return torch.cat(images)


class CourseUNet(nn.Module):
    """diffusers' UNet2DModel with the label as four more input channels (Hugging Face diffusion course, unit 2)."""

    def __init__(self) -> None:
        super().__init__()
        from diffusers import UNet2DModel

        self.label_channels = nn.Embedding(10, 4)
        self.unet = UNet2DModel(
            sample_size=28,
            in_channels=1 + 4,
            out_channels=1,
            layers_per_block=2,
            block_out_channels=(32, 64, 64),
            down_block_types=("DownBlock2D", "AttnDownBlock2D", "AttnDownBlock2D"),
            up_block_types=("AttnUpBlock2D", "AttnUpBlock2D", "UpBlock2D"),
        )

    def forward(self, x_t: Tensor, t: Tensor, labels: Tensor) -> Tensor:
        """Return ε̂ (B, 1, 28, 28) of x_t (B, 1, 28, 28) at t (B,) under labels (B,)."""
        planes = self.label_channels(labels)[:, :, None, None].expand(-1, -1, *x_t.shape[2:])
        return self.unet(torch.cat([x_t, planes], dim=1), t).sample


class Course(Peer):
    """Unit 2 of the Hugging Face diffusion course: cosine schedule, Adam at 1e-3, batches of 128, no average.

    Samples come from DDIMScheduler made from the training schedule: as it is, which pairs a clipped x̂_0 with the
    unclipped ε̂, and with ``use_clipped_model_output``, where the two belong together. There is no null label, so no
    guidance.
    """

    batch_size, images, ways = 128, 257_792, ("", "use_clipped_model_output")

    def __init__(self) -> None:
        from diffusers import DDPMScheduler

        self.network = CourseUNet()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.scheduler = DDPMScheduler(num_train_timesteps=NUM_TIMESTEPS, beta_schedule="squaredcos_cap_v2")

    def loss(self, x0: Tensor, labels: Tensor) -> Tensor:
        """Return the mean squared error of ε̂, t uniform."""
        t, noise = torch.randint(0, NUM_TIMESTEPS, (len(x0),)), torch.randn_like(x0)
        return nn.functional.mse_loss(self.network(self.scheduler.add_noise(x0, noise, t), t, labels), noise)

    @torch.no_grad()
    def sample_batch(self, labels: Tensor, way: str) -> Tensor:
        """Sample by DDIMScheduler."""
        from diffusers import DDIMScheduler

        scheduler = DDIMScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(DDIM_STEPS)
        self.network.eval()
        x = torch.randn(len(labels), 1, 28, 28)
        for t in scheduler.timesteps:
            eps_pred = self.network(x, t.expand(len(x)), labels)
            x = scheduler.step(eps_pred, t, x, use_clipped_model_output=bool(way)).prev_sample
        return x


class FreeGuidance(Peer):
    """denoising_diffusion_pytorch's classifier-free-guidance U-Net, trained as its README and Trainer do.

    dim 64, cosine schedule, half of the labels dropped, Adam at 8e-5 with betas (0.9, 0.99), 64 images a step (the
    README's 32, twice accumulated), gradients cut at norm 1, EMA 0.995 every ten steps. Its DDIM adds as much noise
    as DDPM would unless told otherwise (eta 1), and is left so. ``dim_mults`` is (1, 2, 4): the documented fourth
    level would need images padded to 32x32 and only cost time. Images are not mirrored, as its Trainer would by
    default: digits have a right way round.
    """

    batch_size, images, ways = 64, 79_680, ("", "guidance 6")

    def __init__(self) -> None:
        from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet
        from ema_pytorch import EMA

        class PairUnet(Unet):
            def forward_with_cond_scale(self, *inputs: Tensor, cond_scale: float, **options: float) -> tuple:
                """Mend version 2.3: its caller unpacks two tensors, at a scale of 1 it returns the first alone."""
                found = super().forward_with_cond_scale(*inputs, cond_scale=cond_scale, **options)
                return (found, found) if cond_scale == 1 else found

        unet = PairUnet(dim=64, num_classes=10, dim_mults=(1, 2, 4), channels=1)
        self.network = GaussianDiffusion(unet, image_size=28, timesteps=NUM_TIMESTEPS, sampling_timesteps=DDIM_STEPS)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=8e-5, betas=(0.9, 0.99))
        self.average = EMA(self.network, beta=0.995, update_every=10, include_online_model=False)

    def loss(self, x0: Tensor, labels: Tensor) -> Tensor:
        """Return its own loss; it takes images in [0, 1]."""
        return self.network((x0 + 1) / 2, classes=labels)

    def after_gradients(self) -> None:
        """Cut the gradients at norm 1."""
        nn.utils.clip_grad_norm_(self.network.parameters(), 1.0)

    def after_step(self) -> None:
        """Call the average's own update, which counts to ten by itself."""
        self.average.update()

    @torch.no_grad()
    def sample_batch(self, labels: Tensor, way: str) -> Tensor:
        """Call its own DDIM sampler."""
        return self.average.ema_model.sample(classes=labels, cond_scale=6.0 if way else 1.0) * 2 - 1


PROGRAMS = {"vizdiff": Ours, "diffusers": Course, "denoising_diffusion_pytorch": FreeGuidance}


def build(name: str) -> Ours | Peer:
    """Build a program whose first weights are the same every time."""
    torch.manual_seed(0)
    return PROGRAMS[name]()


def rate(rounds: int, seconds: float) -> None:
    """Print the training speed of all programs, measured in turns, and how many times as fast ours is."""
    data = load_digits("train")
    programs = {name: build(name) for name in PROGRAMS}
    trainings = {name: program.train(data) for name, program in programs.items()}
    found: dict[str, list[float]] = {name: [] for name in PROGRAMS}
    for _ in range(rounds):
        for name, steps in trainings.items():
            for _ in range(WARM_STEPS):
                next(steps)
            begun, done = time.perf_counter(), 0
            while time.perf_counter() - begun < seconds:
                next(steps)
                done += programs[name].batch_size
            found[name].append(done / (time.perf_counter() - begun))
    medians = {name: statistics.median(speeds) for name, speeds in found.items()}
    print("| program | images/s, rounds | median | ours is faster by |\n|---|---|---|---|")
    for name, speeds in found.items():
        cells = ", ".join(f"{speed:.0f}" for speed in speeds)
        print(f"| {name} | {cells} | {medians[name]:.1f} | {medians['vizdiff'] / medians[name]:.1f} |")


def quality(name: str, images: int | None, num_samples: int) -> None:
    """Train one program, draw samples of it in each way, as many of each digit, and print what they reach."""
    program, data = build(name), load_digits("train")
    steps = (images or program.images) // program.batch_size
    for step, _ in enumerate(islice(program.train(data), steps), 1):
        if step % 100 == 0:
            print(f"step {step:,} of {steps:,}", flush=True)
    labels = torch.arange(num_samples) % 10
    print("| program | sampled with | images | classified as requested | FID-MNIST, of real digits |")
    print("|---|---|---|---|---|")
    for way in program.ways:
        found = evaluate(program.sample(labels, way), labels, data, load_digits("test"))
        low, high = found.samples.accuracy.interval
        share = f"{found.samples.accuracy.value:.1%} ({low:.1%} to {high:.1%})"
        distances = f"{found.samples.frechet:.2f}, {found.real.frechet:.2f}"
        print(f"| {name} | {way} | {steps * program.batch_size:,} | {share} | {distances} |", flush=True)


def main() -> None:
    """Parse, and measure one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parts = parser.add_subparsers(dest="part", required=True)
    rating = parts.add_parser("rate", help="measure training images/s of all programs in turns")
    rating.add_argument("--rounds", type=int, default=3)
    rating.add_argument("--seconds", type=float, default=20.0, help="for each program and round")
    judging = parts.add_parser("quality", help="train one program and judge its samples")
    judging.add_argument("program", choices=PROGRAMS)
    judging.add_argument("--images", type=int, help="training images; README's number by default")
    judging.add_argument("--samples", type=int, default=NUM_SAMPLES)
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    if options.part == "rate":
        rate(options.rounds, options.seconds)
    else:
        quality(options.program, options.images, options.samples)


if __name__ == "__main__":
    main()
