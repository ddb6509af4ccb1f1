"""Train on samples, test on real digits: is what the model makes as good to learn from as real digits?

    python benchmarks/train_on_samples.py --count 10000     # 60000 takes an hour and more of one core

A classifier is trained on N samples of the bundled weights with the labels that were requested, and another in the same
way on N real training digits with as many of each label; both are tested on the 10,000 test digits. Samples of a wrong
digit are wrong labels, and samples that are too alike teach less: both lower the first number (the classification
accuracy score of Ravuri & Vinyals 2019). Two controls: samples of which a tenth have labels one too high, which
must be worse, and three tenths of the real digits, which say how little the number of images matters.

Samples are made by DDIM in 50 steps; sample k has the label k mod 10 and the seed k. They are rounded to the 256 grey
levels that real digits have.
"""

from __future__ import annotations

import argparse
import time

import torch
from torch import Tensor

from viz_diffusion.data import load_digits
from viz_diffusion.data.images import Digits
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.evaluation.classifier_training import train_classifier
from viz_diffusion.evaluation.intervals import Share, paired_difference
from viz_diffusion.training.run import Run

SCALES = (1.0, 1.5)
WRONG = 0.1


def samples(count: int, scale: float) -> Digits:
    """Return N samples of the bundled weights with the labels that were requested."""
    run = Run.bundled()
    model, _ = run.load_model()
    labels, done, parts = torch.arange(count) % 10, 0, []
    config = SamplerConfig("ddim", 50, guidance_scale=scale)
    for part in sample_images(model, run.config.noise_schedule, labels, range(count), config):
        parts.append(eight_bits(part))
        done += len(part)
        print(f"\rguidance {scale:g}: {done} of {count}   ", end="", flush=True)
    return Digits(torch.cat(parts)[:count], labels)


def eight_bits(images: Tensor) -> Tensor:
    """Round images in -1 .. 1 to 256 grey levels."""
    return (images.clamp(-1, 1) * 127.5 + 127.5).round() / 127.5 - 1


def mislabelled(digits: Digits) -> Digits:
    """Return the digits with every tenth label one too high."""
    wrong = (torch.arange(len(digits)) // 10) % round(1 / WRONG) == 0
    return Digits(digits.images, torch.where(wrong, (digits.labels + 1) % 10, digits.labels))


def main() -> None:
    """Sample, train, test, print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--steps", type=int, default=4000, help="steps of 64 images that each classifier is trained")
    options = parser.parse_args()
    begun = time.perf_counter()
    real, test = load_digits("train").first_of_each(min(options.count, 54_210)), load_digits("test")
    sampled = {f"samples, guidance {scale:g}": samples(options.count, scale) for scale in SCALES}
    sets = {
        f"real digits ({len(one):,})": one for one in (real, real.take(torch.arange(len(real) * 3 // 10)))
    } | sampled
    sets["samples, guidance 1, a tenth of the labels wrong"] = mislabelled(sampled["samples, guidance 1"])
    read: dict[str, Tensor] = {}
    print(f"\n\n{options.count:,} samples, {options.steps:,} training steps, {torch.get_num_threads()} threads\n")
    print("| trained on | accuracy on 10,000 test digits | less than real digits |\n|---|--:|--:|")
    for name, digits in sets.items():
        read[name] = train_classifier(digits, options.steps).read(test.images) == test.labels
        share = Share(int(read[name].sum()), len(test))
        less = ""
        if len(read) > 1:
            change, low, high = paired_difference(next(iter(read.values())).numpy(), read[name].numpy())
            less = f"{change:+.2%} ({low:+.2%} to {high:+.2%})"
        low_share, high_share = share.interval
        accuracy = f"{share.value:.2%} ({low_share:.2%} to {high_share:.2%})"
        print(f"| {name} | {accuracy} | {less} |", flush=True)
    print(f"\n{time.perf_counter() - begun:.0f} s")


if __name__ == "__main__":
    main()
