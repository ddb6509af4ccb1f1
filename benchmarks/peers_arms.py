"""The arms of the comparison: our small preset, and what a user would train on MNIST instead.

Each peer is configured as its own documentation shows it. Knows nothing about minutes, folders or pictures.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.files import write_bytes
from viz_diffusion.training.checkpoint import parse_tensors, to_bytes
from viz_diffusion.training.config import TrainConfig
from viz_diffusion.training.loop import TrainState, train
from viz_diffusion.training.presets import find_preset

T = 1000
DDIM_STEPS = 50
SAMPLING_BATCH = 100


@dataclass(frozen=True)
class Way:
    """A way to draw samples of an arm."""

    name: str
    """``default`` without guidance, ``guided`` with, ``clipped`` as the arm says."""
    guidance: float
    """Guidance scale; 1 is none."""


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


class Peer:
    """A network in training: makes steps whose draws follow from their number, saves itself, samples."""

    batch_size: int
    """Images per step."""
    network: nn.Module
    """What is trained."""
    average: nn.Module | None = None
    """The moving average of its weights, where its documentation has one; then it is what samples."""
    optimizer: torch.optim.Optimizer
    max_grad_norm: float | None = None
    step: int = 0
    """Steps done."""

    def loss(self, x0: Tensor, labels: Tensor) -> Tensor:
        """Return the training loss of images (B, 1, 28, 28) in [-1, 1]; draws from the global generator."""
        raise NotImplementedError

    def sample(self, labels: Tensor, way: Way) -> Tensor:
        """Return (N, 1, 28, 28) images in [-1, 1] by DDIM in 50 steps; draws from the global generator."""
        raise NotImplementedError

    def train_step(self, data: Digits, precision: str) -> None:
        """Make one optimizer step; the order of the images and all noise follow from the step's number."""
        epoch, place = divmod(self.step, len(data) // self.batch_size)
        order = torch.randperm(len(data), generator=torch.Generator().manual_seed(epoch))
        rows = order[place * self.batch_size : (place + 1) * self.batch_size]
        torch.manual_seed(self.step)
        with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bfloat16"):
            loss = self.loss(data.images[rows], data.labels[rows])
        self.optimizer.zero_grad()
        loss.backward()
        if self.max_grad_norm is not None:
            nn.utils.clip_grad_norm_(self.network.parameters(), self.max_grad_norm)
        self.optimizer.step()
        self.step += 1
        self.update_average()

    def update_average(self) -> None:
        """Move the average towards the weights, where there is one."""

    def save(self, path: Path) -> None:
        """Write everything that going on needs to one safetensors file, whole or not at all."""
        tensors = {"step": torch.tensor(self.step)} | _named("network", self.network.state_dict())
        if self.average is not None:
            tensors |= _named("average", self.average.state_dict())
        for index, entry in self.optimizer.state_dict()["state"].items():
            tensors |= _named(f"optimizer.{index}", entry)
        write_bytes(path, to_bytes({name: tensor.clone() for name, tensor in tensors.items()}))

    def load(self, path: Path) -> None:
        """Go back to what :meth:`save` wrote."""
        tensors = parse_tensors(path, path.read_bytes())
        self.step = int(tensors["step"])
        self.network.load_state_dict(_under(tensors, "network"))
        if self.average is not None:
            self.average.load_state_dict(_under(tensors, "average"))
        state: dict[int, dict[str, Tensor]] = {}
        for name, tensor in _under(tensors, "optimizer").items():
            index, key = name.split(".")
            state.setdefault(int(index), {})[key] = tensor
        self.optimizer.load_state_dict({**self.optimizer.state_dict(), "state": state})


def _named(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    return {f"{prefix}.{name}": tensor for name, tensor in tensors.items()}


def _under(tensors: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {name[len(prefix) + 1 :]: tensor for name, tensor in tensors.items() if name.startswith(f"{prefix}.")}


class Course(Peer):
    """Unit 2 of the Hugging Face diffusion course: cosine schedule, Adam at 1e-3, batches of 128, no average."""

    batch_size = 128

    def __init__(self) -> None:
        from diffusers import DDPMScheduler

        self.network = CourseUNet()
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=1e-3)
        self.scheduler = DDPMScheduler(num_train_timesteps=T, beta_schedule="squaredcos_cap_v2")

    def loss(self, x0: Tensor, labels: Tensor) -> Tensor:
        """Return the mean squared error of ε̂, t uniform."""
        t, noise = torch.randint(0, T, (len(x0),)), torch.randn_like(x0)
        eps_pred = self.network(self.scheduler.add_noise(x0, noise, t), t, labels)
        return nn.functional.mse_loss(eps_pred.float(), noise)

    @torch.no_grad()
    def sample(self, labels: Tensor, way: Way) -> Tensor:
        """Sample by DDIMScheduler made from the training schedule.

        ``default``: as it comes, which pairs a clipped x̂_0 with the unclipped ε̂. ``clipped``: with
        ``use_clipped_model_output``, where the two belong together.
        """
        from diffusers import DDIMScheduler

        if way.guidance != 1:
            raise ValueError("the course trains without a null label: there is no guidance")
        scheduler = DDIMScheduler.from_config(self.scheduler.config)
        scheduler.set_timesteps(DDIM_STEPS)
        self.network.eval()
        x = torch.randn(len(labels), 1, 28, 28)
        for t in scheduler.timesteps:
            eps_pred = self.network(x, t.expand(len(x)), labels)
            x = scheduler.step(eps_pred, t, x, use_clipped_model_output=way.name == "clipped").prev_sample
        self.network.train()
        return x


class FreeGuidance(Peer):
    """denoising_diffusion_pytorch's classifier-free-guidance U-Net, trained as its README and Trainer do.

    dim 64, cosine schedule, half of the labels dropped, Adam with betas (0.9, 0.99), 64 images a step (the
    README's 32, twice accumulated), gradients cut at norm 1, EMA 0.995 every ten steps. Its DDIM adds as much noise
    as DDPM would unless told otherwise (eta 1), and is left so. ``dim_mults`` is
    (1, 2, 4): the documented fourth level would need images padded to 32x32 and only cost time. Images are
    not mirrored, as its Trainer would by default: digits have a right way round.
    """

    batch_size = 64
    max_grad_norm = 1.0

    def __init__(self, learning_rate: float = 8e-5) -> None:
        from denoising_diffusion_pytorch.classifier_free_guidance import GaussianDiffusion, Unet
        from ema_pytorch import EMA

        class PairUnet(Unet):
            def forward_with_cond_scale(self, *inputs: Tensor, cond_scale: float, **options: float) -> tuple:
                """Mend version 2.3: its caller unpacks two tensors, at a scale of 1 it returns the first alone."""
                found = super().forward_with_cond_scale(*inputs, cond_scale=cond_scale, **options)
                return (found, found) if cond_scale == 1 else found

        unet = PairUnet(dim=64, num_classes=10, dim_mults=(1, 2, 4), channels=1)
        self.network = GaussianDiffusion(unet, image_size=28, timesteps=T, sampling_timesteps=DDIM_STEPS)
        self.optimizer = torch.optim.Adam(self.network.parameters(), lr=learning_rate, betas=(0.9, 0.99))
        self.average = EMA(self.network, beta=0.995, update_every=10, include_online_model=False)

    def loss(self, x0: Tensor, labels: Tensor) -> Tensor:
        """Return its own loss; it takes images in [0, 1]."""
        return self.network((x0 + 1) / 2, classes=labels)

    def update_average(self) -> None:
        """Call the average's own update, which counts to ten by itself."""
        self.average.update()

    @torch.no_grad()
    def sample(self, labels: Tensor, way: Way) -> Tensor:
        """Call its own DDIM sampler."""
        return self.average.ema_model.sample(classes=labels, cond_scale=way.guidance) * 2 - 1


@dataclass(frozen=True)
class Arm:
    """One line of the comparison."""

    name: str
    """What the command line calls it."""
    title: str
    """What tables and the picture call it."""
    minutes: tuple[float, ...]
    """When it is judged."""
    ways: tuple[Way, ...]
    """How samples are drawn."""
    make: Callable[[], Peer] | None
    """Builds a fresh peer; None for ours, which is trained by the package itself."""


PLAIN, STRONG, CLIPPED = Way("default", 1.0), Way("guided", 6.0), Way("clipped", 1.0)
PEER_MINUTES = (2.0, 5.0, 10.0, 20.0, 60.0)
ARMS = {
    arm.name: arm
    for arm in (
        Arm("ours", "vizdiff", (2.0, 5.0, 10.0, 20.0), (PLAIN, Way("guided", 1.5)), None),
        Arm("course", "diffusers (course)", PEER_MINUTES, (PLAIN, CLIPPED), Course),
        Arm("guidance", "denoising_diffusion_pytorch", PEER_MINUTES, (PLAIN, STRONG), FreeGuidance),
        Arm("guidance-fast", "the same at 1e-3", PEER_MINUTES, (PLAIN, STRONG), lambda: FreeGuidance(1e-3)),
    )
}


def fresh(arm: Arm) -> Peer:
    """Build a peer whose first weights are the same every time."""
    assert arm.make is not None
    torch.manual_seed(0)
    return arm.make()


def our_config(steps: int, precision: str) -> tuple[ModelConfig, TrainConfig]:
    """Return the network and recipe of the preset ``small``."""
    small = find_preset("small")
    training = TrainConfig(
        steps=steps, batch_size=small.batch_size, learning_rate=small.learning_rate, precision=precision
    )
    return ModelConfig(channels=small.channels, num_blocks=small.num_blocks), training


def training_steps(arm: Arm, data: Digits, precision: str) -> Iterator[int]:
    """Train from the start without end; yield after each step how many images it took."""
    if arm.make is None:
        model, training = our_config(1_000_000, precision)
        state = TrainState.create(training, model)
        for _ in train(state, data, NoiseSchedule.named("linear")):
            yield training.batch_size
    peer = fresh(arm)
    while True:
        peer.train_step(data, precision)
        yield peer.batch_size


def sample_peer(peer: Peer, labels: Tensor, way: Way) -> Tensor:
    """Return one image a label, in batches whose noise follows from their place."""
    images = []
    for index, part in enumerate(torch.split(labels, SAMPLING_BATCH)):
        torch.manual_seed(index)
        images.append(peer.sample(part, way))
    return torch.cat(images)


def sample_ours(model: nn.Module, schedule: NoiseSchedule, labels: Tensor, way: Way) -> Tensor:
    """Return one image a label by our own DDIM, seeds from 0 on."""
    seeds = range(len(labels))
    return torch.cat(
        list(
            sample_images(
                model, schedule, labels, seeds, SamplerConfig("ddim", DDIM_STEPS, guidance_scale=way.guidance)
            )
        )
    )
