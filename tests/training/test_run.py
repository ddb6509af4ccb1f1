"""The run folder: finished or visibly unfinished, its damage refused by name, and which run is chosen."""

from __future__ import annotations

import hashlib
import os
import shutil
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file
from training_runs import flip

from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import read_json, sha256_file, write_json
from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.run import Run

# -- finished or not -------------------------------------------------------------------------------


def test_a_finished_run_loads_its_averaged_weights(uninterrupted: Path) -> None:
    run = Run.open(uninterrupted)
    assert run.is_finished
    model, digest = run.load_model()
    assert digest == hashlib.sha256((uninterrupted / "model.safetensors").read_bytes()).hexdigest()
    assert digest == read_json(uninterrupted / "manifest.json")["sha256"]["model.safetensors"]
    ema = load_file(run.checkpoints()[-1] / "ema.safetensors")
    weights = load_file(run.checkpoints()[-1] / "model.safetensors")
    for name, value in model.state_dict().items():
        assert torch.equal(value, ema[name])
    assert any(not torch.equal(ema[name], weights[name]) for name in ema)
    assert not model.training
    assert not any(weight.requires_grad for weight in model.parameters())


def test_trained_steps_are_those_of_the_weights(uninterrupted: Path, stopped_at_103: Path) -> None:
    assert Run.open(uninterrupted).trained_steps == 106
    assert Run.open(stopped_at_103).trained_steps == 103


def test_the_notebook_summary_shows_the_weights_of_the_newest_checkpoint(stopped: Path) -> None:
    newest = sha256_file(stopped / "training" / "step-00000007" / "ema.safetensors")
    summary = Run.open(stopped)._repr_html_()
    assert newest in summary
    assert "6 of 9 steps" in summary  # the last logged step
    shutil.rmtree(stopped / "training")
    assert "none yet" in Run.open(stopped)._repr_html_()


def test_a_budget_of_one_has_the_singular(stopped: Path) -> None:
    config = Run.open(stopped).config
    once = replace(config, training=replace(config.training, steps=1))
    assert (config.budget, once.budget, replace(once, minutes=1).budget) == ("9 steps", "1 step", "1 minute")


def test_the_manifest_lists_every_file(uninterrupted: Path) -> None:
    digests = read_json(uninterrupted / "manifest.json")["sha256"]
    assert set(digests) == {"config.json", "metrics.jsonl", "samples.safetensors", "model.safetensors"}
    assert digests == {name: sha256_file(uninterrupted / name) for name in digests}


def test_without_a_manifest_a_run_is_unfinished(finished: Path) -> None:
    (finished / "manifest.json").unlink()
    run = Run.open(finished)
    assert not run.is_finished
    _, digest = run.load_model()  # of the newest checkpoint
    assert digest == sha256_file(run.checkpoints()[-1] / "ema.safetensors")
    shutil.rmtree(finished / "training")
    with pytest.raises(VizdiffInputError, match="finished is half-written"):
        run.load_model()
    with pytest.raises(VizdiffInputError, match="finished is half-written"):
        run.resume()


def test_a_folder_holds_one_run(finished: Path, config: RunConfig) -> None:
    with pytest.raises(VizdiffInputError, match="already holds a run"):
        Run.create(finished, config)


def test_a_folder_without_a_run_is_refused(tmp_path: Path) -> None:
    with pytest.raises(VizdiffInputError, match=r"there is no run at .*nowhere"):
        Run.open(tmp_path / "nowhere")
    with pytest.raises(VizdiffInputError, match="no config"):
        Run.open(tmp_path)


# -- damage ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("place", [0, 9, 300, -1])
def test_a_flipped_byte_in_the_weights_is_detected(place: int, finished: Path) -> None:
    flip(finished / "model.safetensors", place)
    with pytest.raises(VizdiffInputError, match=r"model\.safetensors is not what was written"):
        Run.open(finished).load_model()


@pytest.mark.parametrize("damage", ["cut", "empty", "missing"])
def test_incomplete_weights_are_detected(damage: str, finished: Path) -> None:
    path = finished / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else b"")
    if damage == "missing":
        path.unlink()
    with pytest.raises(VizdiffInputError, match=r"model\.safetensors"):
        Run.open(finished).load_model()


def replace_weights(path: Path, weights: dict[str, torch.Tensor]) -> None:
    """Write other weights and adapt the manifest."""
    save_file(weights, path / "model.safetensors")
    adapt_manifest(path)


def adapt_manifest(path: Path) -> None:
    manifest = read_json(path / "manifest.json")
    manifest["sha256"]["model.safetensors"] = sha256_file(path / "model.safetensors")
    write_json(path / "manifest.json", manifest)


@pytest.mark.parametrize("kind", ["wider", "one missing", "one more"])
def test_weights_of_another_shape_are_named(kind: str, finished: Path, config: RunConfig) -> None:
    weights = load_file(finished / "model.safetensors")
    if kind == "wider":
        weights = dict(SimpleUNet(replace(config.model, embedding_dim=32)).state_dict())
        message = r"down_inner\.0\.condition\.weight should have shape \(16, 16\), found \(16, 32\)"
    elif kind == "one missing":
        del weights["conv_in.bias"]
        message = r"conv_in\.bias should have shape \(8,\), found None"
    else:
        weights["extra"] = torch.zeros(3)
        message = r"extra should have shape None, found \(3,\)"
    replace_weights(finished, weights)
    with pytest.raises(VizdiffInputError, match=rf"model\.safetensors.*{message}") as caught:
        Run.open(finished).load_model()
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("number", [float("nan"), float("-inf")])
def test_non_finite_weights_are_refused(number: float, finished: Path) -> None:
    weights = load_file(finished / "model.safetensors")
    weights["conv_in.bias"][3] = number
    replace_weights(finished, weights)
    with pytest.raises(VizdiffInputError, match=r"model\.safetensors.*not finite"):
        Run.open(finished).load_model()


def test_a_file_that_is_not_safetensors_is_refused(finished: Path) -> None:
    (finished / "model.safetensors").write_bytes(b"\x80\x04\x95 this is a pickle")
    adapt_manifest(finished)
    with pytest.raises(VizdiffInputError, match=r"model\.safetensors is not a safetensors file"):
        Run.open(finished).load_model()


@pytest.mark.parametrize("manifest", [b"", b"[]", b"{}", b'{"sha256": []}', b'{"sha256": null}', b'{"sha256": 3}'])
def test_an_invalid_manifest_is_refused(manifest: bytes, finished: Path) -> None:
    (finished / "manifest.json").write_bytes(manifest)
    with pytest.raises(VizdiffInputError, match=r"manifest\.json|model\.safetensors"):
        Run.open(finished).load_model()


def test_a_config_changed_after_training_is_detected(finished: Path) -> None:
    """The manifest holds the SHA-256 of config.json: the weights belong to one noise schedule."""
    values = read_json(finished / "config.json")
    values["schedule"] = "cosine"
    write_json(finished / "config.json", values)
    with pytest.raises(VizdiffInputError, match=r"config\.json"):
        Run.open(finished).load_model()


@pytest.mark.parametrize("damage", ["cut", "empty", "no steps", "flipped"])
def test_damaged_thumbnails_are_refused(damage: str, finished: Path) -> None:
    path = finished / "samples.safetensors"
    if damage == "no steps":
        save_file({"images": torch.zeros(1, 10, 28, 28, dtype=torch.uint8)}, path)
    elif damage == "flipped":
        flip(path, -1)
    else:
        path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else b"")
    with pytest.raises(VizdiffInputError, match=r"samples\.safetensors"):
        Run.open(finished).load_samples()


@pytest.mark.parametrize(
    ("entries", "named"), [({"images"}, "found images"), ({"steps", "images", "x"}, "found images, steps, x")]
)
def test_thumbnails_of_an_unfinished_run_with_other_entries_are_refused(
    entries: set[str], named: str, finished: Path
) -> None:
    """An unfinished run has no manifest to compare the file with."""
    (finished / "manifest.json").unlink()
    save_file({name: torch.zeros(1) for name in entries}, finished / "samples.safetensors")
    with pytest.raises(VizdiffInputError, match=rf"samples\.safetensors must hold steps and images, {named}"):
        Run.open(finished).load_samples()


# -- which run -------------------------------------------------------------------------------------


def test_the_newest_finished_run_is_chosen(
    uninterrupted: Path, stopped_at_103: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = shutil.copytree(uninterrupted, tmp_path / "package" / "weights")
    monkeypatch.setitem(BUNDLED_RUNS, "bundled", Path(bundled))
    monkeypatch.chdir(tmp_path)
    assert Run.choose().is_bundled
    assert Run.choose().name == "bundled"
    runs = [("a-newer", uninterrupted), ("z-older", uninterrupted), ("new but unfinished", stopped_at_103)]
    for age, (name, source) in enumerate(runs):
        shutil.copytree(source, tmp_path / "runs" / name)
        for file in (tmp_path / "runs" / name).rglob("*"):
            os.utime(file, (1e9 - 1000 * age, 1e9 - 1000 * age))
    assert Run.choose().path.name == "a-newer"
    assert not Run.choose().is_bundled
    os.utime(tmp_path / "runs" / "z-older" / "manifest.json", (2e9, 2e9))
    assert Run.choose().path.name == "z-older"
    assert Run.choose("bundled").path == Path(bundled)
    assert Run.choose("runs/new but unfinished").name == "new but unfinished"
    assert Run.choose(str(tmp_path / "runs" / "a-newer")).path.name == "a-newer"
    with pytest.raises(VizdiffInputError, match="there is no run at nothing"):
        Run.choose("nothing")
