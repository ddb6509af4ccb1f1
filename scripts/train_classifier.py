"""Train the digit classifier that judges samples, and write it into the package's assets.

    python scripts/train_classifier.py [--epochs 12] [--out viz_diffusion/assets/classifier]

Uses the 60,000 training digits only; the accuracy on the 10,000 test digits is measured once, at the end.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from viz_diffusion.data import load_digits
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.classifier_training import jitter
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.files import make_dir, sha256_bytes, write_bytes, write_json


def jittered_digits(images: Tensor, generator: torch.Generator) -> Tensor:
    """Jitter digits, black beyond their edge: 0 once -1 is shifted to 0."""
    return jitter(images + 1, generator, "zeros") - 1


def main() -> None:
    """Train, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch-size", type=int, default=128)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("viz_diffusion/assets/classifier"))
    options = parser.parse_args()

    torch.manual_seed(options.seed)
    generator = torch.Generator().manual_seed(options.seed)
    data = load_digits("train")
    classifier = DigitClassifier().to(memory_format=torch.channels_last)
    steps_per_epoch = len(data) // options.batch_size
    optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=6e-3, total_steps=options.epochs * steps_per_epoch, pct_start=0.2
    )
    begun = time.perf_counter()
    for epoch in range(options.epochs):
        order = torch.randperm(len(data), generator=generator)
        total = 0.0
        for rows in order[: steps_per_epoch * options.batch_size].split(options.batch_size):
            logits = classifier(jittered_digits(data.images[rows], generator))
            loss = functional.cross_entropy(logits, data.labels[rows], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            schedule.step()
            total += loss.item()
        elapsed = time.perf_counter() - begun
        print(
            f"epoch {epoch + 1}/{options.epochs}  loss {total / steps_per_epoch:.4f}  {elapsed:.0f} s",
            flush=True,
        )

    classifier.eval()
    test = load_digits("test")
    accuracy = Share(int((classifier.read(test.images) == test.labels).sum()), len(test))
    weights = save({name: value.detach().contiguous() for name, value in classifier.state_dict().items()})
    make_dir(options.out)
    write_bytes(options.out / "model.safetensors", weights)
    write_json(
        options.out / "provenance.json",
        {
            "command": f"python scripts/train_classifier.py --epochs {options.epochs} --seed {options.seed}",
            "sha256": sha256_bytes(weights),
            "test_accuracy": accuracy.value,
            "test_correct": accuracy.hits,
            "test_count": accuracy.count,
            "test_interval_95": accuracy.interval,
            "seconds": round(time.perf_counter() - begun),
            "torch": torch.__version__,
            "python": platform.python_version(),
        },
    )
    print(f"test accuracy {accuracy}")


if __name__ == "__main__":
    main()
