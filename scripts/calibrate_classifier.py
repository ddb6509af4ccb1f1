"""Calibrate the bundled digit classifier by one temperature, and write it beside its weights.

    python scripts/calibrate_classifier.py

The classifier was trained on all 60,000 training digits, and none was held out from it. So the temperature is fitted on
a random half of the 10,000 test digits, and measured on the other half.
"""

from __future__ import annotations

import platform

import torch

from viz_diffusion.data import load_digits
from viz_diffusion.evaluation.calibration import Calibration
from viz_diffusion.evaluation.classifier import BATCH, CLASSIFIER_DIR, DigitClassifier

SEED = 0


@torch.no_grad()
def main() -> None:
    """Compute the logits of all test digits, fit, measure, write."""
    classifier, digest = DigitClassifier.bundled()
    digits = load_digits("test")
    logits = torch.cat([classifier(part) for part in digits.images.split(BATCH)]).double().numpy()
    rows = torch.randperm(len(digits), generator=torch.Generator().manual_seed(SEED)).numpy()
    half = len(rows) // 2
    found = Calibration.measure(logits, digits.labels.numpy(), rows[:half], rows[half:])
    made = {
        "command": "python scripts/calibrate_classifier.py",
        "split": f"random halves of the {len(rows)} test digits, seed {SEED}; no training digit was held out",
        "torch": torch.__version__,
        "python": platform.python_version(),
    }
    found.save(CLASSIFIER_DIR, digest, made)
    print(found)


if __name__ == "__main__":
    main()
