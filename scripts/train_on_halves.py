"""Train pairs of networks on disjoint halves of MNIST, and write the results that lesson ``memorisation`` ships.

    python scripts/train_on_halves.py --runs runs/halves --size 100 --half 0     # one network
    python scripts/train_on_halves.py --runs runs/halves                         # those that are missing, then measure

Every network has the shape of the control subset_100, the usual settings and a budget of 1,500 steps; the two of a pair
have different seeds. About three minutes a network on two cores. The networks stay in the folder; the results go to
viz_diffusion/assets/lessons/memorisation.sizes.npz. Then: python scripts/ship_lessons.py memorisation
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import torch
from safetensors.torch import load_file, save

from viz_diffusion.data import load_digits
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.files import make_dir, write_bytes
from viz_diffusion.lessons.memorisation.training_halves import halves, measure_training_sizes
from viz_diffusion.lessons.memorisation.training_sizes import SIZES, write_training_sizes
from viz_diffusion.training.loop import TrainState, train
from viz_diffusion.training.run import Run
from viz_diffusion.training.train_config import TrainConfig

CONFIG = Run.control("subset_100").config
STEPS = 1500
BATCH_SIZE = 64


def main() -> None:
    """Train what is missing; measure where no single network was named."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, required=True, help="the folder of the networks")
    parser.add_argument("--size", type=int, choices=SIZES, help="train only the networks with so many digits")
    parser.add_argument("--half", type=int, choices=(0, 1), help="train only those of this half")
    parser.add_argument("--steps", type=int, default=STEPS)
    options = parser.parse_args()
    make_dir(options.runs)
    sizes = SIZES if options.size is None else (options.size,)
    for size in sizes:
        for half in (0, 1) if options.half is None else (options.half,):
            train_one(options.runs, size, half, options.steps)
    if options.size is None and options.half is None:
        pairs = [(read_one(options.runs, size, 0), read_one(options.runs, size, 1)) for size in SIZES]
        begun = time.perf_counter()
        data = measure_training_sizes(pairs, CONFIG.noise_schedule, load_digits("train"), SIZES, options.steps)
        write_training_sizes(data)
        print(f"measured in {time.perf_counter() - begun:.0f} s: {data.facts(1 / 3)}")


def train_one(runs: Path, size: int, half: int, steps: int) -> None:
    """Train one network, unless it is there, and write its averaged weights."""
    path = path_of(runs, size, half)
    if path.is_file():
        return
    data = halves(load_digits("train"), size)[half]
    state = TrainState.create(TrainConfig(steps=steps, batch_size=BATCH_SIZE, seed=half), CONFIG.model)
    begun = time.perf_counter()
    for done in train(state, data, CONFIG.noise_schedule):
        if done.step % 100 == 0:
            print(
                f"{path.stem}: step {done.step}, loss {done.loss:.4f}, {time.perf_counter() - begun:.0f} s", flush=True
            )
    write_bytes(path, save({name: tensor.contiguous() for name, tensor in state.ema.state_dict().items()}))


def read_one(runs: Path, size: int, half: int) -> SimpleUNet:
    """Return a trained network, ready to sample."""
    model = SimpleUNet(CONFIG.model)
    model.load_state_dict(load_file(path_of(runs, size, half)))
    return model.to(memory_format=torch.channels_last).eval().requires_grad_(False)


def path_of(runs: Path, size: int, half: int) -> Path:
    """Return where a network's weights are."""
    return runs / f"digits_{size}_half_{half}.safetensors"


if __name__ == "__main__":
    main()
