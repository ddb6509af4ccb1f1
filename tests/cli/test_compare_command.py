"""``vizdiff compare``: losses, quality and samples of several runs, and what it refuses."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html import unescape
from pathlib import Path
from typing import Any

import pytest
import torch
from own_data import train
from refusals import refused
from shape_folder import write_shapes
from training_runs import TINY, begin, first_digits, small_config

from viz_diffusion.cli import main
from viz_diffusion.cli.evaluation_text import evaluation_values
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.evaluate import evaluate
from viz_diffusion.study import run_comparison
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import Trainer

QUICK = ("--sampler", "ddim", "--steps", "2", "--count", "20", "--device", "cpu")


def trained(path: Path, **changes: Any) -> Path:
    """Train a tiny run to its end."""
    config = small_config(3)
    run, state = begin(path, replace(config, training=replace(config.training, **changes)))
    list(Trainer(run, state, first_digits(8), first_digits(8)).run())
    return path


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with three runs: two that differ in learning rate and seed, and a copy of the first."""
    folder = tmp_path_factory.mktemp("runs")
    trained(folder / "slow", learning_rate=1e-3)
    trained(folder / "fast", learning_rate=2e-3, seed=1)
    shutil.copytree(folder / "slow", folder / "copy")
    return folder


def check_page(html: str) -> None:
    """Check that the page has the tables and the picture, no script, and nothing that it would have to load."""
    assert "script" not in html.replace("postscript", "").lower()
    assert set(re.findall(r'(?:src|href)="(.{4})', html)) == {"data"}
    assert re.search(r"default-src 'none'; img-src data:; style-src 'sha256-[^']+'; base-uri 'none'", unescape(html))
    assert [cell for cell in ("slow", "fast", "copy", "learning_rate", "0.002") if f">{cell}<" not in html] == []


@pytest.fixture(scope="module")
def compared(runs: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Return the result of comparing the three."""
    out = tmp_path_factory.mktemp("compared") / "c"
    names = [str(runs / name) for name in ("slow", "fast", "copy")]
    assert main(["compare", *names, *QUICK, "--out", str(out), "--quiet"]) == 0
    assert {file.name for file in out.iterdir()} >= {"compare.json", "run_comparison.png", "run_comparison.svg"}
    check_page((out / "compare.html").read_text())
    result: dict[str, Any] = json.loads((out / "compare.json").read_text())
    return result


def test_losses_are_those_of_the_metrics_log(runs: Path, compared: dict[str, Any]) -> None:
    for one, name in zip(compared["runs"], ("slow", "fast", "copy"), strict=True):
        entries = map(json.loads, (runs / name / "metrics.jsonl").read_text().splitlines())
        logged = [(entry["step"], entry["heldout_loss"]) for entry in entries if "heldout_loss" in entry]
        assert one["heldout_steps"] == [step for step, _ in logged]
        assert one["heldout_losses"] == pytest.approx([sum(losses) / 4 for _, losses in logged])
        assert one["heldout_loss"] == one["heldout_losses"][-1]
        assert one["trained_steps"] == 3
        assert one["weights_sha256"] == Run.open(runs / name).load_model()[1]


def test_only_settings_that_differ_are_shown(compared: dict[str, Any]) -> None:
    assert compared["different_settings"] == {"learning_rate": [1e-3, 2e-3, 1e-3], "seed": [0, 1, 0]}


def test_every_run_is_sampled_from_the_same_noise(runs: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A copy of a run gives the same images; another run does not."""
    drawn: list[Any] = []
    keep = run_comparison.drawn_runs
    monkeypatch.setattr(run_comparison, "drawn_runs", lambda *given: drawn.extend(keep(*given)) or keep(*given))
    names = [str(runs / name) for name in ("slow", "copy", "fast")]
    assert main(["compare", *names, *QUICK, "--out", str(tmp_path / "c"), "--quiet"]) == 0
    slow, copy, fast = (one.images for one in drawn)
    assert slow.shape == (10, 28, 28)
    assert (slow == copy).all()
    assert not (slow == fast).all()


def test_an_evaluation_is_shown_where_it_is_of_these_weights(runs: Path, tmp_path: Path) -> None:
    run = Run.open(runs / "slow")
    digest = run.load_model()[1]
    copy = shutil.copytree(runs / "slow", tmp_path / "slow")
    found = {"weights_sha256": digest, "frechet_excess": 1.5}
    (tmp_path / "slow.json").write_text(json.dumps(found))
    assert run_comparison.stored_evaluation(Run.open(copy), digest) == found
    (tmp_path / "slow.json").write_text(json.dumps(found | {"weights_sha256": "0" * 64}))
    assert run_comparison.stored_evaluation(Run.open(copy), digest) is None


def test_runs_of_other_data_spaces_or_conditions_are_refused(runs: Path, tmp_path: Path) -> None:
    run = Run.open(runs / "slow")
    others = {
        "data set": replace(run.config, dataset="kmnist"),
        "number of labels": replace(run.config, model=replace(TINY, num_labels=3)),
        "space": replace(run.config, model=replace(TINY, image_size=32)),
        "noise schedule": replace(run.config, schedule="cosine", model=replace(TINY, schedule=None)),
    }
    for what, config in others.items():
        with pytest.raises(VizdiffInputError, match=f"not comparable: they differ in {what}"):
            run_comparison.require_comparable([run, run, Run(tmp_path, config)])
    run_comparison.require_comparable([run, Run(tmp_path, replace(run.config, subset=5))])


@pytest.mark.parametrize(
    ("argv", "code", "said"),
    [
        (("bundled",), 2, "compare needs two runs or more, found 1"),
        (("bundled", "bundled"), 2, "the run bundled is named twice"),
        (("bundled", "bundled-flow", "--count", "5"), 2, "--count must lie in 20..10000, found 5"),
        (("bundled", "bundled-flow", "--count", "0"), 2, "--count must lie in 20..10000, found 0"),
        (("bundled", "bundled-latent"), 3, "bundled and bundled-latent are not comparable: they differ in space"),
        (("bundled", "bundled-text"), 3, "they differ in condition (label; text)"),
        (("bundled", "nowhere"), 3, "there is no run at nowhere"),
    ],
)
def test_what_cannot_be_compared_is_refused_in_one_line(
    argv: tuple[str, ...],
    code: int,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    assert said in refused(capsys, code, "compare", *argv, "--quiet")


def test_evaluate_measures_the_samples_that_are_shown(runs: Path, tmp_path: Path) -> None:
    """The same samples, made and measured here, have the same KID and FID."""
    names = [str(runs / name) for name in ("slow", "fast")]
    argv = [*QUICK, "--guidance", "1", "--evaluate", "--quiet", "--out", str(tmp_path / "c")]
    assert main(["compare", *names, *argv]) == 0
    result = json.loads((tmp_path / "c" / "compare.json").read_text())
    run = Run.open(runs / "fast")
    labels, config = torch.arange(20) % 10, SamplerConfig("ddim", 2)
    batches = sample_images(run.load_model()[0], run.config.noise_schedule, labels, range(20), config)
    train, test = (run.config.load_digits(split) for split in ("train", "test"))
    alone = evaluation_values(evaluate(torch.cat(list(batches)), labels, run.config.data_set(train), test))
    found = result["runs"][1]["evaluation"]
    assert {name: found[name] for name in alone} == json.loads(json.dumps(alone))
    assert (found["count"], found["sampler"]) == (20, "ddim")
    page, samples = (tmp_path / "c" / "compare.html").read_text(), alone["samples"]
    assert "--evaluate" in page
    assert f"{samples['kid']:.2f} ± {samples['kid_half']:.2f}" in page


def test_runs_whose_data_have_moved_are_compared(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = write_shapes(tmp_path / "shapes", each=12)
    names = [str(train(data, tmp_path / name, "--set", f"seed={seed}")) for seed, name in enumerate("ab")]
    moved = data.rename(tmp_path / "moved")
    argv = ["compare", *names, *QUICK, "--quiet", "--data-dir"]
    assert main([*argv, str(moved), "--out", str(tmp_path / "c")]) == 0
    assert "--data-dir" in (tmp_path / "c" / "compare.html").read_text()
    assert "holds other data than the run was trained on" in refused(
        capsys, 3, *argv, str(write_shapes(tmp_path / "others", each=13)), "--out", str(tmp_path / "d")
    )
    assert "was trained on mnist; leave --data-dir out" in refused(
        capsys, 3, "compare", "bundled", "bundled-flow", "--data-dir", str(moved), "--quiet"
    )
