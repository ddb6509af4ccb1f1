"""The bundled digits, read once in a process, and what commands compute of them alone, computed once.

Each command that a test calls loads the 60,000 training digits, and reports and evaluations fit Gaussians to them: a
second of processor time, and three more. Here the same objects are handed out each time. What computes them is the
package's own code, and a test whose subject is one of these functions imports it by its name, which is not replaced.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from viz_diffusion.data import Digits, captions, loading
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.evaluation import evaluate, likelihood
from viz_diffusion.lessons.training import loss_by_timestep

SHA256 = {
    "train": "cb37f728e19f85b03b2f6ce2e349f2b605d1ec13480acb0727fb8a8e2f077827",
    "test": "0d065c19f0ee08c0701039b764f86327a5f7624ff0405aaf3840e4082810861e",
}


@pytest.fixture(autouse=True, scope="session")
def bundled_digits_once() -> Iterator[None]:
    """Replace the reading of the bundled digits; at the end, see that no test has changed them."""
    read, folder, known = loading._bundled, loading._BUNDLED_DIR, loading._BUNDLED_SHA256
    shared: dict[str, Digits] = {}

    def bundled(split: str) -> Digits:
        if folder != loading._BUNDLED_DIR or loading._BUNDLED_SHA256 is not known:
            return read(split)
        if split not in shared:
            shared[split] = read(split)
        return shared[split]

    def of_bundled(compute: Callable[..., Any], key: Callable[..., object]) -> Callable[..., Any]:
        """Remember what is computed of the bundled digits; ``key`` returns the digits and what else it depends on."""
        results: dict[object, Any] = {}

        @functools.wraps(compute)
        def remembering(*args: Any, **kwargs: Any) -> Any:
            digits, rest = key(*args, **kwargs)
            split = next((split for split, kept in shared.items() if kept is digits), None)
            if split is None:
                return compute(*args, **kwargs)
            if (split, rest) not in results:
                results[split, rest] = compute(*args, **kwargs)
            return results[split, rest]

        return remembering

    def of_losses(schedule: NoiseSchedule, data: Digits) -> tuple[Digits, object]:
        return data, (schedule.betas.tobytes(), schedule.alphas_cumprod.tobytes())

    def of_captions(digits: Digits, thresholds: Any = None) -> tuple[Digits | None, object]:
        return (digits if thresholds is None else None), None

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(loading, "_bundled", bundled)
        losses = of_bundled(likelihood.gaussian_losses, of_losses)
        for module in (likelihood, loss_by_timestep):
            patch.setattr(module, "gaussian_losses", losses)
        gaussian = of_bundled(evaluate._label_gaussian, lambda digits, label: (digits, label))
        patch.setattr(evaluate, "_label_gaussian", gaussian)
        patch.setattr(captions.CaptionedDigits, "of", of_bundled(captions.CaptionedDigits.of, of_captions))
        yield
    for split, kept in shared.items():
        assert Digits(kept.images, kept.labels).sha256 == SHA256[split], f"a test has changed the {split} digits"
