"""Turn a finished run into the package's bundled weights: float16, with where they come from.

    python scripts/bundle_weights.py RUN --command "vizdiff train --steps 12000" --commit HASH --seconds 3600
    python scripts/bundle_weights.py RUN --name bundled-latent --command "…" --commit HASH --seconds S
    python scripts/bundle_weights.py RUN --control no_time --count 200 --command "…" --commit HASH --seconds S

Measures, on the float16 weights as shipped, how many of 1000 samples (ddim, 50 steps; of a flow-matching network heun,
10 steps; guidance 1.5, of prompts 2) are classified as requested, and the held-out loss. A control run,
which lessons compare with, keeps its config and weights alone.
"""

from __future__ import annotations

import argparse
import os
import platform
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save

from viz_diffusion.data import load_digits
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.evaluation.classifier import classifier_accuracy
from viz_diffusion.files import make_dir, read_json, write_bytes, write_json, write_manifest
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS, CONTROLS_DIR
from viz_diffusion.training.latent_run import encoded
from viz_diffusion.training.loop import heldout_loss
from viz_diffusion.training.run import Run

KEPT = ("config.json", "metrics.jsonl", "samples.safetensors")
SAMPLING, FLOW_SAMPLING = SamplerConfig("ddim", 50, guidance_scale=1.5), SamplerConfig("heun", 10, guidance_scale=1.5)
TEXT_SAMPLING = SamplerConfig("ddim", 50, guidance_scale=2)


def _options() -> argparse.Namespace:
    """Return the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", type=Path)
    parser.add_argument("--command", required=True, help="the exact command that trained the run")
    parser.add_argument("--commit", required=True, help="the commit it was trained at")
    parser.add_argument("--seconds", type=float, required=True, help="wall time of training")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="threads it was trained on")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--name", choices=BUNDLED_RUNS, default="bundled", help="which bundled run it becomes")
    place.add_argument("--control", help="bundle a control run under this name instead")
    parser.add_argument("--count", type=int, default=1000, help="samples to be read")
    return parser.parse_args()


def main() -> None:
    """Copy, convert, measure, write."""
    options = _options()
    source = Run.open(options.run)
    source.load_model()  # checks the manifest
    hashes = read_json(source.path / "manifest.json")["sha256"]
    folder = make_dir(BUNDLED_RUNS[options.name] if options.control is None else CONTROLS_DIR / options.control)
    _convert(source.path, folder, KEPT if options.control is None else KEPT[:1], hashes)
    run = Run.open(folder)
    made = {
        "command": options.command,
        "commit": options.commit,
        "seconds": round(options.seconds),
        "threads": options.threads,
        "machine": platform.machine(),
        "torch": torch.__version__,
        "python": platform.python_version(),
        "weights": "exponential moving average, float16",
        "sha256_before_float16": hashes["model.safetensors"],
    }
    measured = _measure(run, options.count)
    write_json(folder / "provenance.json", made | _settings(run) | measured)
    share, loss = measured["samples"]["share"], measured["heldout_loss"]
    print(f"bundled {measured['sha256'][:8]}: classified as requested {share:.1%}; held-out loss {loss:.4f}")


def _convert(source: Path, folder: Path, kept: Sequence[str], hashes: Mapping[str, str]) -> None:
    """Copy the files of a run that are kept, and its weights as float16.

    These are the network's, and those it was trained with: of an autoencoder or a text encoder.
    """
    for name in kept:
        shutil.copyfile(source / name, folder / name)
    converted = [name for name in hashes if name not in KEPT]
    for name in converted:
        weights = load_file(source / name)
        halved = {k: v.half().contiguous() if v.is_floating_point() else v for k, v in weights.items()}
        write_bytes(folder / name, save(halved))
    write_manifest(folder, [*kept, *converted])


def _settings(run: Run) -> dict[str, Any]:
    """Return what says how a run was trained."""
    training = run.config.training
    return {
        "seed": training.seed,
        "steps": training.steps,
        "batch_size": training.batch_size,
        "objective": training.objective,
        "optimizer": training.optimizer,
        "timestep_density": training.timestep_density,
        "num_mid_blocks": run.config.model.num_mid_blocks,
    }


def _measure(run: Run, count: int) -> dict[str, Any]:
    """Return held-out loss and accuracy of a bundled run, and the SHA-256 of its weights."""
    model, digest = run.load_model()
    labels = torch.arange(count) % 10
    sampling = FLOW_SAMPLING if run.config.training.objective == "flow" else SAMPLING
    sampling = sampling if run.config.model.text is None else TEXT_SAMPLING
    network, process = run.config.sampled(model, sampling.sampler)
    images = torch.cat(list(sample_images(network, process, labels, range(count), sampling)))
    share, classifier = classifier_accuracy(images, labels)
    heldout = encoded(load_digits("test"), model.latent_space)
    losses = heldout_loss(model, run.config.noise_schedule, heldout, count=10_000)
    assert losses is not None
    return {
        "sha256": digest,
        "heldout_loss_by_quarter": losses,
        "heldout_loss": sum(losses) / len(losses),
        "heldout_count": 10_000,
        "samples": {
            "sampler": sampling.sampler,
            "steps": sampling.steps,
            "evaluations": sampling.num_evaluations(run.config.num_train_timesteps),
            "guidance_scale": sampling.guidance_scale,
            "seeds": [0, count - 1],
            "count": share.count,
            "classified_as_requested": share.hits,
            "share": share.value,
            "interval_95": share.interval,
            "classifier_sha256": classifier,
        },
    }


if __name__ == "__main__":
    main()
