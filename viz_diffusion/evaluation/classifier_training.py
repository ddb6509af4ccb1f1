"""Training of a classifier on a data set of one's own, bound to it by the SHA-256 of its training images.

Knows nothing about samples or denoisers.
"""

from __future__ import annotations

import math
import platform
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor
from torch.nn import functional

from viz_diffusion.data import Digits
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.classifier import PROVENANCE, DigitClassifier
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.files import make_dir, sha256_bytes, write_bytes, write_json

BATCH_SIZE = 64


def jitter(images: Tensor, generator: torch.Generator, padding_mode: str = "border") -> Tensor:
    """Turn, scale, shear and shift each of (N, C, H, W) images a little.

    ``padding_mode`` is that of ``grid_sample``: by default an image goes on beyond its edge as its border.
    """
    count = len(images)

    def draw(width: float) -> Tensor:
        return (torch.rand(count, generator=generator) * 2 - 1) * width

    angle, scale = draw(math.radians(12)), 1 + draw(0.1)
    cos, sin = torch.cos(angle) * scale, torch.sin(angle) * scale
    first = torch.stack([cos, -sin + draw(0.1), draw(0.14)], dim=1)
    second = torch.stack([sin, cos, draw(0.14)], dim=1)
    grid = functional.affine_grid(torch.stack([first, second], dim=1), list(images.shape), align_corners=False)
    return functional.grid_sample(images, grid, align_corners=False, padding_mode=padding_mode)


def train_classifier(
    data: Digits, steps: int, seed: int = 0, on_step: Callable[[int, float], None] = lambda *_: None
) -> DigitClassifier:
    """Train a classifier; images are drawn with replacement, each class equally often.

    Parameters
    ----------
    on_step
        Called with (steps done, loss).

    Raises
    ------
    VizdiffInputError
        Where there is only one class.
    """
    if len(data.present) < 2:
        raise VizdiffInputError("a classifier needs images of at least two classes, found one")
    by_label = {label: torch.nonzero(data.labels == label)[:, 0] for label in data.present}
    generator = torch.Generator().manual_seed(seed)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        classifier = DigitClassifier(int(data.images.shape[1]), data.num_labels)
        optimizer = torch.optim.AdamW(classifier.parameters(), weight_decay=0.02)
        schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, max_lr=6e-3, total_steps=steps, pct_start=0.2)
        classifier.train()
        for step in range(steps):
            places = torch.rand(BATCH_SIZE, 2, generator=generator).tolist()
            chosen = [(by_label[data.present[int(u * len(data.present))]], v) for u, v in places]
            rows = torch.stack([own[int(v * len(own))] for own, v in chosen])
            logits = classifier(jitter(data.images[rows], generator))
            loss = functional.cross_entropy(logits, data.labels[rows], label_smoothing=0.05)
            optimizer.zero_grad(set_to_none=True)
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            schedule.step()
            on_step(step + 1, loss.item())
    return classifier.eval().requires_grad_(False)


def save_classifier(
    classifier: DigitClassifier, folder: Path, data: Digits, test: Digits, facts: dict[str, Any]
) -> dict[str, Any]:
    """Measure the accuracy on the held-out images once, and write the classifier; return what its provenance says."""
    accuracy = Share(int((classifier.read(test.images) == test.labels).sum()), len(test))
    weights = save({name: value.detach().contiguous() for name, value in classifier.state_dict().items()})
    provenance = {
        **facts,
        "sha256": sha256_bytes(weights),
        "data_sha256": data.sha256,
        "channels": int(data.images.shape[1]),
        "num_labels": data.num_labels,
        "class_names": list(data.class_names),
        "test_accuracy": accuracy.value,
        "test_correct": accuracy.hits,
        "test_count": accuracy.count,
        "test_interval_95": accuracy.interval,
        "made": time.strftime("%Y-%m-%d"),
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    make_dir(folder)
    write_bytes(folder / "model.safetensors", weights)
    write_json(folder / PROVENANCE, provenance)
    return provenance
