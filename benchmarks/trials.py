"""Train and measure what may make better weights: each trial at 1,500 steps with three seeds.

    python benchmarks/trials.py RUNS             # trains and measures what RUNS does not hold yet; may be stopped
    python benchmarks/trials.py RUNS --print     # only prints the table of what was measured

Every run has the settings of the preset ``base`` but its number of steps, over which the learning rate falls to 0, and
what is tried. A stopped run is continued from its last checkpoint.
"""

from __future__ import annotations

import argparse
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.evaluation.evaluate import evaluate
from viz_diffusion.files import read_json, write_json
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainState, heldout_loss
from viz_diffusion.training.presets import find_preset
from viz_diffusion.training.run import Run
from viz_diffusion.training.train_config import TrainConfig
from viz_diffusion.training.trainer import Trainer

STEPS, SEEDS, COUNT = 1500, (0, 1, 2), 2000


@dataclass(frozen=True)
class Trial:
    """What one trial changes."""

    name: str
    text: str
    training: dict[str, Any]
    model: dict[str, Any]

    def config(self, seed: int) -> RunConfig:
        """Return the configuration of its run with a seed."""
        base = find_preset("base")
        training = TrainConfig(
            steps=STEPS, batch_size=base.batch_size, learning_rate=base.learning_rate, seed=seed, **self.training
        )
        model = ModelConfig(channels=base.channels, num_blocks=base.num_blocks, **self.model)
        return RunConfig(model, training, preset=base.name)


BUMP, BLOCKS, MUON = {"timestep_density": "bump"}, {"num_mid_blocks": 4}, {"optimizer": "muon"}
TRIALS = (
    Trial("baseline", "as the bundled weights", {}, {}),
    Trial("bump", "t from a bump over log SNR", BUMP, {}),
    Trial("blocks", "two more blocks at 7x7", {}, BLOCKS),
    Trial("bump_blocks", "both", BUMP, BLOCKS),
    Trial("muon", "Muon for the hidden convolutions", MUON, {}),
    Trial("muon_blocks", "Muon, and two more blocks at 7x7", MUON, BLOCKS),
    Trial("null_20", "null label for 20% of the images", {"label_dropout": 0.2}, {}),
    Trial("null_05", "null label for 5% of the images", {"label_dropout": 0.05}, {}),
    Trial("ema_998", "EMA decay at most 0.998", {"ema_decay": 0.998}, {}),
    Trial("ema_995", "EMA decay at most 0.995", {"ema_decay": 0.995}, {}),
)


def train(folder: Path, config: RunConfig, data: tuple[Digits, Digits]) -> None:
    """Begin the run, or continue it from its last checkpoint."""
    if not list(folder.glob("training/*/manifest.json")):
        shutil.rmtree(folder, ignore_errors=True)  # stopped before its first checkpoint
        run, state, metrics_bytes = Run.create(folder, config), TrainState.create(config.training, config.model), 0
    else:
        run = Run.open(folder)
        state, metrics_bytes, _ = run.resume(data=data)
    for done in Trainer(run, state, *data, checkpoint_every=250, metrics_bytes=metrics_bytes).run():
        if done.step % 250 == 0:
            print(f"{folder.name}: step {done.step}, {done.images_per_second:.0f} images/s", flush=True)


def measure(folder: Path, data: tuple[Digits, Digits]) -> dict[str, Any]:
    """Return the held-out loss by quarter of t, and the quality of samples without guidance."""
    run = Run.open(folder)
    model, digest = run.load_model()
    losses = heldout_loss(model, run.config.noise_schedule, data[1], count=10_000)
    labels = torch.arange(COUNT) % 10
    config = SamplerConfig("ddim", 50)
    images = torch.cat(list(sample_images(model, run.config.noise_schedule, labels, range(COUNT), config)))
    found = evaluate(images, labels, *data)
    return {
        "weights_sha256": digest,
        "heldout_loss_by_quarter": losses,
        "accuracy": found.samples.accuracy.value,
        "kid": found.samples.kid,
        "recall": found.samples.recall,
        "frechet_excess": found.excess,
    }


def table(measured: dict[str, list[dict[str, Any]]]) -> str:
    """Return means over the seeds, with the standard deviation of a seed where there are several, as Markdown."""
    lines = [
        "| trial | seeds | held-out loss | by quarter of t | accuracy | KID x 10³ | FID excess | recall |",
        "|---|--:|--:|--:|--:|--:|--:|--:|",
    ]
    for trial in TRIALS:
        if found := measured.get(trial.name):
            quarters = np.array([one["heldout_loss_by_quarter"] for one in found])
            mean_quarters = " / ".join(f"{loss:.5f}" for loss in quarters.mean(axis=0))
            cells = [_spread(quarters.mean(axis=1), "{:.5f}"), mean_quarters]
            cells.append(_spread(100 * np.array([one["accuracy"] for one in found]), "{:.2f}") + "%")
            cells += [_spread(np.array([one[name] for one in found]), "{:.2f}") for name in ("kid", "frechet_excess")]
            cells.append(_spread(100 * np.array([one["recall"] for one in found]), "{:.1f}") + "%")
            lines.append(f"| {trial.text} | {len(found)} | {' | '.join(cells)} |")
    return "\n".join(lines)


def _spread(values: np.ndarray, form: str) -> str:
    mean = form.format(values.mean())
    return mean if len(values) < 2 else f"{mean} ± {form.format(values.std(ddof=1))}"


def main() -> None:
    """Train and measure one seed of every trial after another; or write the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("runs", type=Path)
    parser.add_argument("--only", help="names of trials, with commas between them")
    parser.add_argument("--seed", type=int, choices=SEEDS, help="only this seed")
    parser.add_argument("--print", action="store_true", help="train and measure nothing")
    options = parser.parse_args()
    data = load_digits("train"), load_digits("test")
    measured: dict[str, list[dict[str, Any]]] = {}
    for seed in SEEDS if options.seed is None else (options.seed,):
        for trial in TRIALS:
            if options.only and trial.name not in options.only.split(","):
                continue
            folder = options.runs / f"{trial.name}-{seed}"
            result = folder.with_suffix(".json")
            if not options.print and not result.is_file():
                train(folder, trial.config(seed), data)
                write_json(result, measure(folder, data))
            if result.is_file():
                measured.setdefault(trial.name, []).append(read_json(result))
                print(folder.name, measured[trial.name][-1], flush=True)
    print(table(measured))


if __name__ == "__main__":
    main()
