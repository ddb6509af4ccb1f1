"""Recordings of ``vizdiff trajectory``: activations, their form on disk, and a recording that is cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import zarr
from PIL import Image
from refusals import refused

from viz_diffusion.cli import main
from viz_diffusion.cli.record import find_modules
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.store.layout import partial_path
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.run import Run
from viz_diffusion.views import feature_maps as activations

ROOT = Path(__file__).parents[2]
STEPS = ["--sampler", "ddim", "--steps", "10", "--run", "bundled", "--quiet"]


def recorded(out: Path, *argv: str) -> tuple[Trajectory, dict[str, Any]]:
    """Run ``vizdiff trajectory``; return the recording and what the JSON file says."""
    assert main(["trajectory", *STEPS, *argv, "--out", str(out)]) == 0
    return Trajectory.open(out / "trajectory.zarr"), json.loads((out / "trajectory.json").read_text())


# -- activations -----------------------------------------------------------------------------------


def test_what_is_drawn_is_what_the_modules_give(tmp_path: Path) -> None:
    """The recording's activations are those of the network evaluated again on the recorded x_t, t and label."""
    globs = ["--activations", "up.outer.*", "--activations", "time_mlp", "--activations", "conv_in"]
    found, said = recorded(tmp_path, "--digit", "3", *globs, "--frames", "10,4,1")
    assert found.activation_steps.tolist() == [0, 6, 9]
    model, _ = Run.bundled().load_model()
    outputs: dict[str, np.ndarray] = {}
    hooks = [
        model.get_submodule(name).register_forward_hook(
            lambda _, __, y, name=name: outputs.update({name: y[0].numpy()})
        )
        for name in found.activations
    ]
    for k, step in enumerate(found.activation_steps.tolist()):
        with torch.no_grad():
            model(torch.from_numpy(found.x_t[:, step]), torch.tensor([int(found.timesteps[step])]), torch.tensor([3]))
        for name, values in found.activations.items():
            np.testing.assert_allclose(values[0, k], outputs[name], rtol=0, atol=1e-4 * np.abs(outputs[name]).max())
    for hook in hooks:
        hook.remove()
    facts = said["activations"]
    assert facts["modules"] == ["conv_in", "up_outer.0"]  # in the order of the network, not of the command
    assert facts["shapes"] == [[32, 14, 14], [32, 14, 14]]
    assert facts["left_out"] == ["time_mlp (no feature maps)"]
    assert facts["steps_left"] == said["steps_left"] == [10, 4, 1]
    for name, rms in zip(facts["modules"], facts["rms"], strict=True):
        wanted = np.sqrt(np.square(found.activations[name][0], dtype=np.float64).mean(axis=(1, 2, 3)))
        np.testing.assert_allclose(rms, wanted)
    for name, (channels, *sizes) in zip(facts["modules"], facts["shapes"], strict=True):
        assert f"{name} ({channels}×{sizes[0]}×{sizes[1]}: " in facts["caption"]
    with Image.open(tmp_path / "activations.png") as picture:
        assert picture.size == (3200, 1800)
        assert picture.text["Description"] == facts["caption"]
    assert (tmp_path / "activations.svg").is_file()


def test_listening_changes_nothing_and_without_globs_nothing_is_kept(tmp_path: Path) -> None:
    plain, said = recorded(tmp_path / "a")
    with_activations, _ = recorded(tmp_path / "b", "--activations", "*")
    assert np.array_equal(plain.x0, with_activations.x0)
    assert np.array_equal(plain.eps_pred, with_activations.eps_pred)
    assert not plain.activations
    assert len(with_activations.activations) > 8
    assert "activations" not in said
    assert not (tmp_path / "a" / "activations.png").exists()


def test_modules_without_maps_are_recorded_and_said_to_be_not_drawn(tmp_path: Path) -> None:
    found, said = recorded(tmp_path, "--activations", "*emb")
    assert said["activations"]["left_out"] == ["label_emb (no feature maps)"]
    assert found.activations["label_emb"].shape[:2] == (1, 6)
    assert not (tmp_path / "activations.png").exists()


def test_the_channels_shown_vary_most_over_the_picture() -> None:
    """Two made-up modules: one channel is large but even, one small but varied, one large and varied at one frame."""
    rng = np.random.default_rng(0)
    values = np.zeros((1, 2, 9, 4, 4), dtype=np.float32)
    values[:, :, 0] = 100.0
    values[0, :, 1:7] = rng.standard_normal((2, 6, 4, 4))
    values[0, 1, 7] = 90 * rng.standard_normal((4, 4))
    base = record_generation(
        Zero(),
        NoiseSchedule.named(),
        torch.tensor([1]),
        [0],
        SamplerConfig(steps=2, guidance_scale=1.0),
        image_shape=(1, 4, 4),
    )
    made = {"one": values, "two": values[:, :, ::-1].copy(), "three": values}
    data = activations.measure(replace(base, activations=made, activation_steps=np.array([0, 1])))
    assert [len(block.channels) for block in data.blocks] == [4, 4, 4]
    for block, mirrored in zip(data.blocks, (False, True, False), strict=True):
        chosen = sorted((8 - block.channels) if mirrored else block.channels)
        assert 7 in chosen
        assert 0 not in chosen
        assert 8 not in chosen
    np.testing.assert_array_equal(data.blocks[0].maps, values[0][:, data.blocks[0].channels])


class Zero(torch.nn.Module):
    """Sees no noise anywhere."""

    null_label = 10

    def forward(self, x: torch.Tensor, t: torch.Tensor, y: torch.Tensor) -> torch.Tensor:  # noqa: ARG002
        return torch.zeros_like(x)


def test_modules_and_images_that_a_recording_has_not_are_named() -> None:
    base = record_generation(
        Zero(),
        NoiseSchedule.named(),
        torch.tensor([1, 2]),
        [0, 1],
        SamplerConfig(steps=2, guidance_scale=1.0),
        image_shape=(1, 4, 4),
    )
    made = {"conv_in": np.ones((2, 2, 3, 4, 4), dtype=np.float32)}
    kept = replace(base, activations=made, activation_steps=np.array([0, 1]))
    with pytest.raises(VizdiffInputError, match=r"module 'conv_out'; it has conv_in$"):
        activations.draw_feature_maps(kept, ["conv_in", "conv_out"])
    for sample in (2, -1):
        with pytest.raises(VizdiffInputError, match=rf"sample must lie in 0\.\.1 .* found {sample}$"):
            activations.draw_feature_maps(kept, sample=sample)


def test_frames_are_the_modules_timesteps(make_unet: Any) -> None:
    unet: SimpleUNet = make_unet()
    _, at = find_modules(unet, ["mid*"], SamplerConfig("ddim", 10, 1.5), None)
    assert at.tolist() == [999, 599, 399, 299, 199, 99]  # 10, 6, 4, 3, 2 and 1 steps left
    with pytest.raises(VizdiffUsageError, match="'nothing'"):
        find_modules(unet, ["nothing"], SamplerConfig("ddim", 10, 1.5), None)


@pytest.mark.parametrize(
    ("argv", "words"),
    [
        (["--activations", "nothing"], "no module is called 'nothing'"),
        (["--activations", "mid*", "--frames", "7"], "1..6"),
        (["--dtype", "float64"], "--dtype must be float32 or float16, found 'float64'"),
    ],
)
def test_what_cannot_be_recorded_is_one_line(
    argv: list[str], words: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert words in refused(capsys, 2, "trajectory", *STEPS, *argv, "--out", str(tmp_path / "o"))
    assert not (tmp_path / "o" / "trajectory.zarr").exists()


# -- the form on disk ------------------------------------------------------------------------------


def test_float16_takes_half_and_compress_less_and_all_are_the_same_run(tmp_path: Path) -> None:
    forms = {"plain": [], "half": ["--dtype", "float16"], "packed": ["--compress"]}
    found = {name: recorded(tmp_path / name, *argv)[0] for name, argv in forms.items()}
    size = {name: sum(entry.stat().st_size for entry in (tmp_path / name).rglob("c.*")) for name in forms}
    assert 0.45 < size["half"] / size["plain"] < 0.6
    assert size["packed"] < 0.95 * size["plain"]
    assert np.array_equal(found["plain"].x_t, found["packed"].x_t)
    assert not np.array_equal(found["plain"].x_t, found["half"].x_t)
    np.testing.assert_allclose(found["half"].x_t, found["plain"].x_t, rtol=2**-11, atol=2**-24)
    assert zarr.open_group(tmp_path / "half" / "trajectory.zarr", mode="r")["x_t"].dtype == np.float16


def test_both_runs_of_a_comparison_are_stored_alike(tmp_path: Path) -> None:
    argv = ["intervene", *STEPS, "--switch", "8@500", "--dtype", "float16", "--out", str(tmp_path)]
    assert main(argv) == 0
    for name in ("trajectory", "changed"):
        assert zarr.open_group(tmp_path / f"{name}.zarr", mode="r")["x_t"].dtype == np.float16


# -- opened again ----------------------------------------------------------------------------------


def test_a_zip_is_a_recording_like_its_folder(short_recording: Path, tmp_path: Path) -> None:
    Trajectory.open(short_recording / "trajectory.zarr").save(tmp_path / "share.zip")
    figure = ["export", "--figure", "steps", "--format", "png", "--run", "bundled", "--quiet"]
    for source, out in ((short_recording, "folder.png"), (tmp_path / "share.zip", "zip.png")):
        assert main([*figure, "--trajectory", str(source), "--out", str(tmp_path / out)]) == 0
    assert (tmp_path / "folder.png").read_bytes() == (tmp_path / "zip.png").read_bytes()


KILLED = """
import signal, sys
import viz_diffusion.recording.generation as record

def stop(step):
    if step.t == int(sys.argv[1]):
        print("here", flush=True)
        signal.pause()  # until it is killed

whole = record.record_generation
record.record_generation = lambda *args, on_step, **kwargs: whole(*args, on_step=stop, **kwargs)
from viz_diffusion.cli import main
main(sys.argv[2:])
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a ``vizdiff trajectory`` that was killed in its 121st step of 1000."""
    out = tmp_path_factory.mktemp("killed") / "out"
    argv = ["trajectory", "--run", "bundled", "--guidance", "1", "--quiet", "--out", str(out)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(
        [sys.executable, "-c", KILLED, "879", *argv], stdout=subprocess.PIPE, text=True, env=environment
    ) as child:
        try:
            assert child.stdout.readline() == "here\n"
            root, deadline = partial_path(out / "trajectory.zarr") / "zarr.json", time.monotonic() + 60
            while json.loads(json.loads(root.read_bytes())["attributes"]["recorded"])["begun_steps"] != 100:
                assert time.monotonic() < deadline, "its first hundred steps were never said to be on disk"
                time.sleep(0.05)
        finally:
            child.kill()  # it waits for that
    assert child.returncode == -signal.SIGKILL
    return out


@pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX")
def test_a_killed_command_says_how_far_it_got(killed: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    report = ["report", "--run", "bundled", "--trajectory", str(killed), "--out", str(tmp_path / "r.html")]
    line = refused(capsys, 3, *report)
    assert "cut off after 100 of 1000 steps of samples 0..0 of 1" in line
    assert "--allow-partial" in line
    line = refused(capsys, 3, *report, "--allow-partial")
    assert "before its first image was finished" in line
    found = Trajectory.open(killed / "trajectory.zarr", allow_partial=True)
    assert (found.num_images, found.num_steps) == (1, 100)
    assert found.stopped == "100 of 1000 steps of samples 0..0 of 1"


def test_of_a_recording_cut_off_later_the_finished_images_can_be_shown(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = Run.bundled()
    model, digest = run.load_model()
    seen = 0

    def stop(_: object) -> None:
        nonlocal seen
        seen += 1
        if seen == 5:  # 3 steps of the first 16 images, then 2 of the last
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        record_generation(
            model,
            run.config.noise_schedule,
            torch.full((17,), 5),
            range(17),
            SamplerConfig("ddim", 3, guidance_scale=1.5),
            weights_sha256=digest,
            store=tmp_path / "trajectory.zarr",
            on_step=stop,
        )
    figure = ["export", "--figure", "steps", "--run", "bundled", "--quiet", "--out", str(tmp_path / "steps.png")]
    line = refused(capsys, 3, *figure, "--trajectory", str(tmp_path))
    assert "cut off after 2 of 3 steps of samples 16..16 of 17" in line
    assert main([*figure, "--trajectory", str(tmp_path), "--allow-partial"]) == 0
    assert (tmp_path / "steps.png").is_file()
    assert "--trajectory" in refused(capsys, 2, *figure, "--allow-partial")
