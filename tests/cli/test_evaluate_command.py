"""``vizdiff evaluate``: its texts, its remarks, and what it refuses."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from viz_diffusion.cli import main
from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.evaluation_text import FEW, evaluation_lines, how_sampled, remarks_on
from viz_diffusion.data import Digits
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.evaluation import likelihood
from viz_diffusion.evaluation.evaluate import Evaluation, QualityMetrics
from viz_diffusion.evaluation.intervals import Share
from viz_diffusion.files import write_manifest
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import Run

TEXT = Terminal(False, True).text


def found(count: int, excess: float, kid: float = 1.0) -> SimpleNamespace:
    samples = SimpleNamespace(kid=kid, kid_half=0.4)
    return SimpleNamespace(count=count, samples=samples, excess=excess, excess_half=0.05)


@pytest.mark.parametrize(
    ("config", "text"),
    [
        (SamplerConfig("ddim", 50, 1.0), "DDIM, 50 steps, no guidance"),
        (SamplerConfig("ddpm", 1000, 1.5), "DDPM, 1000 steps, guidance 1.5"),
        (SamplerConfig("dpm-solver++", 20, 1.0), "DPM-Solver++(2M), 20 steps, no guidance"),
        (SamplerConfig("ddim", 50, 1.0, eta=0.5, clip=False), "DDIM, 50 steps, η = 0.5, unclipped, no guidance"),
        (
            SamplerConfig("ddpm", 50, 1.0, variance="beta_tilde", timestep_spacing="linspace"),
            "DDPM, 50 steps, variance beta_tilde, linspace spacing, no guidance",
        ),
    ],
)
def test_whatever_changes_the_samples_is_named(config: SamplerConfig, text: str) -> None:
    assert how_sampled(config, TEXT) == text


def test_few_samples_and_distances_within_their_intervals_are_remarked() -> None:
    labels = lambda one: [label for label, _ in remarks_on(one, TEXT)]  # noqa: E731
    assert labels(found(2000, 0.16)) == []
    assert labels(found(FEW - 1, 0.16)) == ["Few"]
    assert labels(found(100, 0.04)) == ["Few", "Chance"]
    (fid,) = remarks_on(found(2000, 0.04), TEXT)
    assert fid[1].startswith("by FID, samples")
    (kid,) = remarks_on(found(2000, 0.16, kid=0.3), TEXT)
    assert kid[1].startswith("by KID, samples"), "FID still separates them, so it is not named"


def test_accuracy_never_stands_alone_and_the_headline_is_kid_and_the_difference_in_fid() -> None:
    metrics = QualityMetrics(Share(96, 100), (), 0.33, 1.13, 0.35, 0.72, 0.79, Share(0, 100), 9.0)
    real = QualityMetrics(Share(499, 500), (), 0.16, 0.01, 0.08, 0.83, 0.82, Share(0, 100), 9.0)
    evaluation = Evaluation("0123456789", 100, 100, metrics, real, 0.007, real, 0.161, 0.042)
    lines = evaluation_lines(evaluation, "DDIM", TEXT)
    text = dict(lines)
    assert text["Quality"].startswith("KID x1000 1.13 ± 0.35, unbiased: 0 for real digits; FID-MNIST exceeds that of")
    assert "by 0.161 ± 0.042, both of 100 images (95%)" in text["Quality"]
    assert "96 of 100 classified as requested" in text["Accuracy"]
    assert text["Accuracy"].endswith("accuracy alone says nothing about variety: see recall")
    first, *others = [line for label, line in lines if label == ""]
    assert first.split() == ["accuracy", "FID-MNIST(01234567)", "KID", "x1000", "precision", "recall", "near-copies"]
    assert others[0].split() == ["samples", "96.0%", "0.33", "1.13", "72.0%", "79.0%", "0"]
    assert [label for label, _ in lines].index("Quality") < [label for label, _ in lines].index("Accuracy")


def test_an_unwritable_file_is_named_before_anything_is_sampled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("viz_diffusion.cli.record.sample_all", lambda *_: pytest.fail("sampled"))
    (tmp_path / "file").write_text("not a folder")
    assert main(["evaluate", "--run", "bundled", "--quiet", "--out", str(tmp_path / "file" / "found.json")]) == 4
    assert str(tmp_path / "file") in capsys.readouterr().err


def first(digits: Digits, count: int) -> Digits:
    return Digits(digits.images[:count], digits.labels[:count])


@pytest.mark.usefixtures("few_likelihoods")
def test_other_pictures_are_not_read_by_the_digits_classifier(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("viz_diffusion.cli.record.sample_all", lambda *_: pytest.fail("sampled"))
    bundled = Run.bundled()
    config = json.loads((bundled.path / "config.json").read_text()) | {"dataset": "fashion-mnist"}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "model.safetensors").write_bytes((bundled.path / "model.safetensors").read_bytes())
    write_manifest(tmp_path, ["config.json", "model.safetensors"])
    load = RunConfig.load_digits
    monkeypatch.setattr(RunConfig, "load_digits", lambda _, split: first(load(bundled.config, split), 5000))
    monkeypatch.setattr(
        likelihood, "measure_likelihood", partial(likelihood.measure_likelihood, count=4, decoder_counts=(100, 300))
    )
    assert main(["evaluate", "--run", str(tmp_path), "--json"]) == 0
    said = capsys.readouterr()
    result = json.loads(said.out)
    assert "this run is of fashion-mnist" in said.err
    assert result["samples"] is result["real"] is result["classifier_sha256"] is None
    assert 0.02 < result["mean_loss"] < 0.0225, "what needs no classifier is measured all the same"
    terms = [result[name] for name in ("bits_last", "bits_middle", "bits_decoder")]
    assert result["bits_per_pixel"] == pytest.approx(sum(terms))
    gained = result["bits_decoder"] - result["bits_categorical_decoder"]
    assert result["bits_per_pixel_categorical"] == pytest.approx(sum(terms) - gained)
    assert gained > 0.3
    assert "L_T 0.00003 + L_1 to L_999 0.8" in said.err
    assert "known to be black costs 0.51 bits, one that is known to be grey 1.31" in said.err
    assert "fitted to 300 training digits" in said.err
