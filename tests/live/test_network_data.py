"""What the live page gets of a run: its weights byte for byte, its schedules, a classifier of half the bytes."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load
from training_runs import TINY, small_config

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.text_encoder import TextConfig
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation import classifier as classifiers
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.files import write_manifest
from viz_diffusion.live.network_data import check_runs_in_page, network_data
from viz_diffusion.live.page import render
from viz_diffusion.text.catalogue import load_texts
from viz_diffusion.training.checkpoint import to_bytes
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import Run


def data_in(page: str, name: str) -> bytes:
    (text,) = re.findall(f'id="live-{name}">([^<]*)<', page)
    return base64.b64decode(text)


@pytest.fixture(scope="module")
def page() -> str:
    return render(network_data(Run.bundled()), load_texts("en"))


def test_the_weights_travel_byte_for_byte(page: str) -> None:
    weights = (Run.bundled().path / "model.safetensors").read_bytes()
    assert data_in(page, "weights") == weights
    assert f'"weights_sha256": "{hashlib.sha256(weights).hexdigest()}"' in page


def test_a_page_of_the_bundled_weights_has_at_most_four_megabytes(page: str) -> None:
    assert len(page.encode()) <= 4_000_000


def test_the_policy_names_every_script_and_style_and_nothing_else(page: str) -> None:
    (policy,) = map(html.unescape, re.findall('Content-Security-Policy" content="([^"]*)"', page))
    found = {
        kind: set(re.findall(r"sha256-([^&']*)", re.findall(f"{kind}-src ([^;]*)", policy)[0]))
        for kind in ("script", "style")
    }
    for kind in found:
        inside = re.findall(f"<{kind}>(.*?)</{kind}>", page, re.DOTALL)
        digests = {base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in inside}
        assert found[kind] == digests
    assert "unsafe-inline" not in policy
    assert "http" not in policy
    assert policy.startswith("default-src 'none';")


@pytest.mark.parametrize("name", ["no_time", "flow"])
def test_control_runs(name: str) -> None:
    run = Run.control(name)
    facts = network_data(run).facts
    assert facts["run"] == ("bundled-flow" if name == "flow" else name)
    assert facts["model"]["use_time"] == (name != "no_time")
    assert [one["name"] for one in facts["schedules"]] == (["flow", "linear"] if name == "flow" else ["linear"])
    assert np.array_equal(facts["schedules"][-1]["alphas_cumprod"], run.config.noise_schedule.alphas_cumprod)
    assert facts["defaults"]["method"] == ("euler" if name == "flow" else "ddim")


def test_the_classifier_of_the_page_sees_the_same_digits(test_digits: Digits) -> None:
    data = network_data(Run.bundled())
    assert data.classifier is not None
    assert len(data.classifier) < 570_000
    bundled, _ = DigitClassifier.bundled()
    rounded = DigitClassifier()
    rounded.load_state_dict(load(data.classifier), strict=False)
    images = test_digits.images[:100]
    apart = rounded.eval().probabilities(images) - bundled.probabilities(images)
    assert float(apart.abs().max()) < 2e-3
    assert data.facts["classifier"]["page_sha256"] == hashlib.sha256(data.classifier).hexdigest()


def saved_run(folder: Path, config: RunConfig, checkpoint: str | None = None) -> Run:
    """Return a run with untrained weights: a finished one, or one that has got as far as a checkpoint."""
    Run.create(folder, config)
    place = folder if checkpoint is None else folder / "training" / checkpoint
    place.mkdir(parents=True, exist_ok=True)
    names = ["config.json", "model.safetensors"] if checkpoint is None else ["ema.safetensors"]
    (place / names[-1]).write_bytes(to_bytes(SimpleUNet(config.model).state_dict()))
    write_manifest(place, names)
    return Run.open(folder)


def test_an_unfinished_run_gives_the_weights_of_its_newest_checkpoint(tmp_path: Path) -> None:
    run = saved_run(tmp_path / "run", small_config(6), "step-00000004")
    data = network_data(run)
    assert not run.is_finished
    assert data.weights == (run.checkpoints()[-1] / "ema.safetensors").read_bytes()
    assert data.facts["weights_sha256"] == hashlib.sha256(data.weights).hexdigest() == run.load_model()[1]


def test_a_run_on_data_of_ones_own_brings_its_names_and_its_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config = replace(
        small_config(2),
        model=replace(TINY, num_labels=3, in_channels=3, image_size=32),
        dataset="data-dir",
        data_dir=str(tmp_path),
        class_names=("cat", "dog", "tree"),
        labels=(1, 2),
        data_sha256=("a" * 64, "b" * 64),
    )
    run = saved_run(tmp_path / "run", config)
    monkeypatch.setattr(classifiers, "CLASSIFIERS_DIR", tmp_path / "classifiers")
    facts = network_data(run).facts
    assert facts["class_names"] == ["cat", "dog", "tree"]
    assert facts["defaults"]["label"] == 1
    assert facts["classifier"] is None
    weights = to_bytes(DigitClassifier(3, 3).state_dict())
    digest = hashlib.sha256(weights).hexdigest()
    folder = classifiers.classifier_dir("a" * 64)
    folder.mkdir(parents=True)
    (folder / "model.safetensors").write_bytes(weights)
    provenance = {"data_sha256": "a" * 64, "sha256": digest, "channels": 3, "num_labels": 3}
    (folder / "provenance.json").write_text(json.dumps(provenance))
    data = network_data(run)
    assert data.facts["classifier"]["sha256"] == digest
    assert data.classifier is not None
    assert load(data.classifier)["head.1.weight"].shape == torch.Size([3, 128])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"channels": (32, 520)}, "up to 512 channels, found 520"),
        ({"image_size": 260}, "up to 256 pixels a side, found 260"),
        ({"text": TextConfig(("five",))}, "takes prompts"),
        ({"fold": 1}, "works in latents"),
    ],
)
def test_what_the_page_cannot_run_is_refused(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(VizdiffInputError, match=message):
        check_runs_in_page(replace(ModelConfig(), **changes))
    check_runs_in_page(ModelConfig(image_size=256, channels=(512, 512)))
