"""The digit classifier: its accuracy on real digits, and chance level on noise."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save

from viz_diffusion.data import Digits
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation import classifier as quality
from viz_diffusion.evaluation.classifier import DigitClassifier, classifier_accuracy
from viz_diffusion.files import sha256_bytes

needs_classifier = pytest.mark.skipif(
    not (quality.CLASSIFIER_DIR / "model.safetensors").is_file(),
    reason="viz_diffusion/assets/classifier is not there yet; scripts/train_classifier.py makes it",
)

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
        predicted = torch.cat([classifier(image[None]).argmax(dim=1) for image in images])
    assert torch.equal(classifier.read(images, batch_size=7), predicted)
    labels = predicted.clone()
    labels[::3] = (labels[::3] + 1) % 10
    share, found = classifier_accuracy(images, labels)
    assert (share.hits, share.count, found) == (20, 30, digest)


def test_the_classifier_reads_what_an_image_shows(stand_in: Path, test_digits: Digits) -> None:
    assert stand_in.is_dir()
    classifier, _ = DigitClassifier.bundled()
    assert not classifier.training
    images = test_digits.images[:20]
    assert torch.equal(classifier.read(3 * images), classifier.read((3 * images).clamp(-1, 1)))


def test_features_and_probabilities_are_those_of_each_image_by_itself(stand_in: Path, test_digits: Digits) -> None:
    assert stand_in.is_dir()
    classifier, _ = DigitClassifier.bundled()
    images = 1.5 * test_digits.images[:23]
    with torch.no_grad():
        features = torch.cat([classifier.features(image[None].clamp(-1, 1)) for image in images])
        probabilities = torch.softmax(classifier.head(features), dim=1)
    found = classifier.penultimate_features(images, batch_size=7)
    assert (found.shape, found.dtype) == ((23, 128), np.float64)
    np.testing.assert_allclose(found, features.numpy(), rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(classifier.probabilities(images, batch_size=7), probabilities, rtol=1e-4, atol=1e-5)
    assert np.array_equal(classifier.penultimate_features(images.double(), batch_size=7), found)
    assert not np.allclose(found[:-1], found[1:], atol=1e-3)
    assert torch.equal(classifier.probabilities(images).argmax(dim=1), classifier.read(images))


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
    share, _ = classifier_accuracy(test_digits.images, test_digits.labels)
    assert share.count == 10_000
    assert share.value >= 0.995


@needs_classifier
@pytest.mark.parametrize("kind", ["noise", "noise of the digits' mean and spread", "shuffled pixels"])
def test_images_without_digits_are_classified_at_chance_level(
    kind: str, test_digits: Digits, rng: np.random.Generator
) -> None:
    """Negative control: images without digits give an accuracy of a tenth."""
    digits = test_digits.images[:1000]
    noise = torch.from_numpy(rng.standard_normal((1000, 1, 28, 28))).float()
    images: dict[str, Callable[[], torch.Tensor]] = {
        "noise": lambda: noise,
        "noise of the digits' mean and spread": lambda: digits.mean(dim=0) + digits.std(dim=0) * noise,
        "shuffled pixels": lambda: digits.flatten()[torch.from_numpy(rng.permutation(digits.numel()))].reshape(
            digits.shape
        ),
    }
    share, _ = classifier_accuracy(images[kind](), torch.arange(1000) % 10)
    assert share.value < 0.2
    assert share.value == pytest.approx(0.1, abs=5 * (0.1 * 0.9 / 1000) ** 0.5)
