"""The judge is judged: its interval by hand, its eyes on real digits and on noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from viz_diffusion import quality
from viz_diffusion.data import Digits
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import sha256_bytes
from viz_diffusion.quality import DigitClassifier, Share, paired_difference, read_as_asked, share_difference

needs_classifier = pytest.mark.skipif(
    not (quality.CLASSIFIER_DIR / "model.safetensors").is_file(),
    reason="viz_diffusion/assets/classifier is not there yet; scripts/train_classifier.py makes it",
)

# -- the interval ----------------------------------------------------------------------------------


def test_known_intervals() -> None:
    z2 = 1.959963984540054**2
    low, high = Share(95, 100).interval
    assert (round(low, 4), round(high, 4)) == (0.8882, 0.9785)
    assert Share(10, 10).interval == pytest.approx((10 / (10 + z2), 1), abs=1e-12)  # 0.7225
    assert Share(0, 10).interval == pytest.approx((0, z2 / (10 + z2)), abs=1e-12)  # 0.2775
    assert Share(0, 1).interval == pytest.approx((0, z2 / (1 + z2)), abs=1e-12)


@pytest.mark.parametrize(
    ("one", "other", "expected"),
    [
        (Share(56, 70), Share(48, 80), (0.0524, 0.3339)),
        (Share(9, 10), Share(3, 10), (0.1705, 0.8090)),
        (Share(5, 56), Share(0, 29), (-0.0381, 0.1926)),
        (Share(0, 10), Share(0, 20), (-0.1611, 0.2775)),
        (Share(10, 10), Share(0, 10), (0.6075, 1.0)),
    ],
)
def test_differences_of_shares_have_the_published_intervals(
    one: Share, other: Share, expected: tuple[float, float]
) -> None:
    """Newcombe 1998, table II, method 10."""
    assert share_difference(one, other) == pytest.approx(expected, abs=6e-5)


@pytest.mark.parametrize(("hits", "count"), [(1, 10), (5, 10), (95, 100), (999, 1000), (3, 7)])
def test_the_interval_ends_where_the_score_test_says_no(hits: int, count: int) -> None:
    """Its ends are the p at which (p̂ - p)² = z² p(1 - p)/n."""
    share, z2 = hits / count, 1.959963984540054**2
    ends = sorted(np.roots([1 + z2 / count, -2 * share - z2 / count, share**2]))
    assert Share(hits, count).interval == pytest.approx(tuple(ends), rel=1e-9)


def test_the_interval_covers_the_truth_95_times_in_100(rng: np.random.Generator) -> None:
    for truth in (0.1, 0.5, 0.97):
        hits = rng.binomial(200, truth, 4000)
        inside = [low <= truth <= high for low, high in (Share(int(hit), 200).interval for hit in hits)]
        # Wilson's coverage wavers within about 2 points of 95%, plus 5 standard errors of 4000 tries
        assert abs(np.mean(inside) - 0.95) < 0.02 + 5 * (0.95 * 0.05 / 4000) ** 0.5


def test_an_interval_of_a_paired_difference_holds_the_truth_as_often_as_it_says() -> None:
    """At small N, near all, and with tied pairs, where standard errors alone hold it too seldom."""
    rng = np.random.default_rng(0)
    cases = [(40, (0.9, 0.06, 0.02, 0.02)), (40, (0.4, 0.2, 0.1, 0.3)), (64, (0.95, 0.03, 0.01, 0.01))]
    held, naive = np.zeros((3, 2, 1500), dtype=bool), np.zeros((3, 2, 1500), dtype=bool)
    for case, (n, shares) in enumerate(cases):
        for row, factor in enumerate((1.0, 0.9)):
            truth = shares[0] + shares[1] - factor * (shares[0] + shares[2])
            for k, kinds in enumerate(rng.choice(4, (1500, n), p=shares)):
                first, second = kinds <= 1, (kinds == 0) | (kinds == 2)
                found, low, high = paired_difference(first, second, factor)
                held[case, row, k] = low <= truth <= high
                error = (first - factor * second).std(ddof=1) / np.sqrt(n)
                naive[case, row, k] = abs(found - truth) <= 1.96 * error
    assert held.mean(axis=2).min() > 0.935
    assert held.mean() < 0.985
    assert naive.mean(axis=2).min() < 0.9


def test_a_paired_difference_has_its_known_ends() -> None:
    first, second = np.arange(50) < 40, np.arange(50) % 2 == 0
    difference, low, high = paired_difference(first, second)
    assert difference == pytest.approx(0.3)
    assert paired_difference(second, first) == pytest.approx((-0.3, -high, -low))
    assert paired_difference(first, second, factor=0.0)[1:] == pytest.approx(Share(40, 50).interval)
    # all pairs agree: Wilson's ends, unequal pairs or not
    everyone = np.ones(64, dtype=bool)
    score = Share(64, 64).interval[0]
    assert paired_difference(everyone, everyone) == pytest.approx((0, score - 1, 1 - score))
    same = np.arange(64) < 32
    assert paired_difference(same, same)[1] < -0.01
    assert paired_difference(same, same)[2] > 0.01
    assert paired_difference(everyone, ~everyone)[1] > 0.9


def test_a_share_in_words() -> None:
    assert str(Share(95, 100)) == "95 of 100 (95.0%, 95% interval 88.8% to 97.8%)"


# -- the classifier --------------------------------------------------------------------------------


@pytest.fixture
def stand_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put a classifier of random weights where the bundled one would be."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        content = save(DigitClassifier().state_dict())
    (tmp_path / "model.safetensors").write_bytes(content)
    (tmp_path / "provenance.json").write_text(json.dumps({"sha256": sha256_bytes(content)}))
    monkeypatch.setattr(quality, "CLASSIFIER_DIR", tmp_path)
    return tmp_path


def test_hits_are_counted_one_by_one(stand_in: Path, test_digits: Digits) -> None:
    images = test_digits.images[:30]
    classifier, digest = DigitClassifier.bundled()
    assert digest == json.loads((stand_in / "provenance.json").read_text())["sha256"]
    with torch.no_grad():
        seen = torch.cat([classifier(image[None]).argmax(dim=1) for image in images])
    assert torch.equal(classifier.read(images, batch_size=7), seen)
    labels = seen.clone()
    labels[::3] = (labels[::3] + 1) % 10
    share, found = read_as_asked(images, labels)
    assert (share.hits, share.count, found) == (20, 30, digest)


def test_the_classifier_reads_what_an_image_shows(stand_in: Path, test_digits: Digits) -> None:
    assert stand_in.is_dir()
    classifier, _ = DigitClassifier.bundled()
    assert not classifier.training
    images = test_digits.images[:20]
    assert torch.equal(classifier.read(3 * images), classifier.read((3 * images).clamp(-1, 1)))


@pytest.mark.parametrize("place", [3, 200, -1])
def test_a_changed_classifier_is_refused(place: int, stand_in: Path) -> None:
    content = bytearray((stand_in / "model.safetensors").read_bytes())
    content[place] ^= 1
    (stand_in / "model.safetensors").write_bytes(content)
    with pytest.raises(VizdiffInputError, match=r"model\.safetensors.*install"):
        DigitClassifier.bundled()


def test_other_weights_do_not_fit(stand_in: Path) -> None:
    content = save({"head.1.weight": torch.zeros(10, 3)})
    (stand_in / "model.safetensors").write_bytes(content)
    (stand_in / "provenance.json").write_text(json.dumps({"sha256": sha256_bytes(content)}))
    with pytest.raises(VizdiffInputError, match="does not fit"):
        DigitClassifier.bundled()


@needs_classifier
def test_the_bundled_classifier_reads_real_digits(test_digits: Digits) -> None:
    share, _ = read_as_asked(test_digits.images, test_digits.labels)
    assert share.count == 10_000
    assert share.value >= 0.995


@needs_classifier
@pytest.mark.parametrize("kind", ["noise", "noise of the digits' mean and spread", "shuffled pixels"])
def test_what_is_no_digit_is_read_as_asked_by_luck_alone(
    kind: str, test_digits: Digits, rng: np.random.Generator
) -> None:
    """A control that must fail: nothing is drawn here, so a tenth is what guessing gives."""
    digits = test_digits.images[:1000]
    noise = torch.from_numpy(rng.standard_normal((1000, 1, 28, 28))).float()
    images: dict[str, Callable[[], torch.Tensor]] = {
        "noise": lambda: noise,
        "noise of the digits' mean and spread": lambda: digits.mean(dim=0) + digits.std(dim=0) * noise,
        "shuffled pixels": lambda: digits.flatten()[torch.from_numpy(rng.permutation(digits.numel()))].reshape(
            digits.shape
        ),
    }
    share, _ = read_as_asked(images[kind](), torch.arange(1000) % 10)
    assert share.value < 0.2
    assert share.value == pytest.approx(0.1, abs=5 * (0.1 * 0.9 / 1000) ** 0.5)
