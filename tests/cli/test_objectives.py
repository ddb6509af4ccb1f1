"""Runs of every objective on the command line: trained, sampled, recorded, evaluated and shown."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from refusals import refused
from training_runs import TINY, begin, first_digits

from viz_diffusion.cli import main
from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.evaluation_text import how_sampled
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.config import RunConfig, TrainConfig
from viz_diffusion.training.run import Run
from viz_diffusion.training.thumbnails import Thumbnails
from viz_diffusion.training.trainer import Trainer

LAST_LINES = {"v": None, "x0": None, "flow": "flow"}


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A tiny finished run of each objective but epsilon."""
    digits, found = first_digits(20), {}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Thumbnails, "STEPS", 1)
        for objective, last_line in LAST_LINES.items():
            training = TrainConfig(steps=3, batch_size=4, warmup_steps=2, objective=objective)
            path = tmp_path_factory.mktemp("runs") / objective
            list(Trainer(*begin(path, RunConfig(replace(TINY, schedule=last_line), training)), digits, digits).run())
            found[objective] = path
    return found


def said(capsys: pytest.CaptureFixture[str], *argv: str) -> dict[str, object]:
    """Run a command; return its JSON object."""
    assert main([*argv, "--json"]) == 0
    return json.loads(capsys.readouterr().out)


# -- training --------------------------------------------------------------------------------------


def test_training_writes_the_objective_and_its_network(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--objective", "flow", "--timestep-density", "logit-normal", "--steps", "1", "--batch-size", "2"]
    assert main(["train", *options, "--subset", "10", "--quiet", "--out", str(out)]) == 0
    config = Run.open(out).config
    assert (config.training.objective, config.training.timestep_density) == ("flow", "logit-normal")
    assert (config.model.schedule, config.schedule) == ("flow", "linear")


@pytest.mark.parametrize(
    ("argv", "line"),
    [
        (["--objective", "score"], "--objective must be one of epsilon, v, x0, flow, found 'score'"),
        (["--objective", "flow", "--timestep-density", "x"], "--timestep-density must be uniform or logit-normal"),
        (["--timestep-density", "bump"], "--timestep-density must be uniform or logit-normal, found 'bump'"),
        (["--timestep-density", "logit-normal"], "--timestep-density goes with --objective flow, not with epsilon"),
        (["--objective", "v", "--resume", "somewhere"], "--resume goes on with the run's own folder, data and recipe"),
    ],
)
def test_impossible_objectives_are_refused(
    argv: list[str], line: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = [] if "--resume" in argv else ["--out", str(tmp_path / "run")]
    assert line in refused(capsys, 2, "train", *argv, *out)
    assert not (tmp_path / "run").exists()


def test_a_network_without_time_has_any_objective(tmp_path: Path) -> None:
    out = tmp_path / "run"
    options = ["--no-time", "--objective", "flow", "--steps", "1", "--batch-size", "2", "--subset", "10"]
    assert main(["train", *options, "--quiet", "--out", str(out)]) == 0
    assert Run.open(out).config.model.schedule is None


# -- sampling and evaluation -----------------------------------------------------------------------


@pytest.mark.parametrize("sampler", ["ddpm", "ddim", "dpm-solver++", "euler", "heun"])
@pytest.mark.parametrize("objective", LAST_LINES)
def test_every_sampler_samples_every_objective(
    objective: str, sampler: str, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["sample", "--run", str(runs[objective]), "--count", "3", "--sampler", sampler, "--steps", "4"]
    found = said(capsys, *argv, "--out", str(tmp_path / "digits.npz"))
    assert (found["objective"], found["steps"]) == (objective, 4)
    assert found["evaluations"] == (7 if sampler == "heun" else 4)


@pytest.mark.usefixtures("few_likelihoods")
def test_an_evaluation_states_objective_and_evaluations(
    runs: dict[str, Path], capsys: pytest.CaptureFixture[str]
) -> None:
    argv = ["evaluate", "--run", str(runs["flow"]), "--count", "20", "--sampler", "heun", "--steps", "2", "--json"]
    assert main(argv) == 0
    printed = capsys.readouterr()
    found = json.loads(printed.out)
    assert found["objective"] == "flow"
    assert "objective flow" in printed.err
    assert "Heun, 2 steps of two evaluations, the last of one" in printed.err
    # the run's last held-out loss is of other images and noise
    recorded = json.loads((runs["flow"] / "metrics.jsonl").read_text().splitlines()[-1])["heldout_loss"]
    assert found["mean_loss"] == pytest.approx(sum(recorded) / 4, rel=0.1)


def test_only_heun_s_steps_are_explained() -> None:
    assert how_sampled(SamplerConfig("euler", 5), Terminal(False, True).text) == "Euler, 5 steps, no guidance"


def test_info_states_the_objective_of_the_run(
    runs: dict[str, Path], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Run, "choose", lambda _=None: Run.open(runs["flow"]))
    assert said(capsys, "info")["run_objective"] == "flow"


# -- pages -----------------------------------------------------------------------------------------


@pytest.mark.usefixtures("few_compared_steps")
def test_the_page_says_what_a_flow_network_predicts(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    page = tmp_path / "report.html"
    sampler = ["--sampler", "ddim", "--steps", "8"]
    argv = ["report", "--run", str(runs["flow"]), *sampler, "--lessons", "training", "--out", str(page)]
    found = said(capsys, *argv)
    assert found["lessons"]["training"]["objective"] == "flow"
    text = page.read_text(encoding="utf-8")
    plain = re.sub(r"<[^>]*>", "", text)
    assert "This network was trained by flow matching" in plain
    assert "(flow matching)" in text


@pytest.mark.usefixtures("short_tsne")
def test_embeddings_are_drawn_of_a_flow_network(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = said(capsys, "embeddings", "--run", str(runs["flow"]), "--out", str(tmp_path))
    assert found["model"]["time_dim"] == TINY.time_dim


@pytest.mark.parametrize(("command", "out"), [("report", "out.html"), ("deck", "out.pptx"), ("worksheet", "out")])
def test_lessons_are_not_measured_in_another_process(
    command: str, out: str, runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    argv = [command, "--run", str(runs["flow"]), "--sampler", "heun", "--steps", "20", "--out", str(tmp_path / out)]
    line = refused(capsys, 2, *argv)
    assert "--sampler heun samples this run in its own process, flow" in line
    assert "vizdiff trajectory --sampler heun" in line


def test_an_intervened_flow_recording(runs: dict[str, Path], tmp_path: Path) -> None:
    """On the run's noise schedule, where the network answers as an ε-network."""
    argv = ["intervene", "--run", str(runs["flow"]), "--sampler", "ddim", "--steps", "5", "--switch", "8@500"]
    assert main([*argv, "--quiet", "--out", str(tmp_path)]) == 0
    changed = Trajectory.open(tmp_path / "changed.zarr")
    assert (changed.interventions, changed.prediction_type) == ("switch 8@500", "epsilon")


# -- recordings ------------------------------------------------------------------------------------


def test_a_heun_recording_of_a_flow_network(
    runs: dict[str, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the flow's own process: x̂_0 = x - σ v, with the network's own velocity v; and its page."""
    options = ["--sampler", "heun", "--steps", "5", "--guidance", "2", "--no-clip"]
    argv = ["trajectory", "--run", str(runs["flow"]), *options]
    assert main([*argv, "--quiet", "--out", str(tmp_path / "heun")]) == 0
    found = Trajectory.open(tmp_path / "heun" / "trajectory.zarr")
    assert (found.sampler, found.prediction_type, found.schedule.scaling) == ("heun", "flow", "flow")
    assert found.timesteps.tolist() == [999, 799, 599, 399, 199]
    assert found.inner_steps is not None
    assert found.inner_steps.tolist() == [0, 1, 2, 3]
    assert found.inner_timesteps.tolist() == [799, 599, 399, 199]
    model, _ = Run.open(runs["flow"]).load_model()
    network, _ = Run.open(runs["flow"]).config.sampled(model, "heun")
    for step, t in enumerate(found.timesteps.tolist()):
        x = torch.from_numpy(found.x_t[:, step])
        times = torch.tensor([t])
        label, null = (network(x, times, torch.tensor([label])) for label in (5, 10))
        velocity, sigma = null + 2 * (label - null), (t + 1) / 1000
        torch.testing.assert_close(torch.from_numpy(found.x0_pred[:, step]), x - sigma * velocity, rtol=1e-5, atol=1e-5)
        ahead = torch.from_numpy(found.x_t[:, step + 1] if step < 4 else found.x0)
        if step == 4:
            torch.testing.assert_close(ahead, x - sigma * velocity, rtol=1e-5, atol=1e-5)
    page, which = tmp_path / "page.html", ["--trajectory", str(tmp_path / "heun"), "--run", str(runs["flow"])]
    assert "step" in said(capsys, "report", *which, "--out", str(page))["left_out"]
    line = refused(capsys, 3, "worksheet", *which)
    assert "is of the process flow (flow), and lessons measure a variance-preserving noise schedule" in line


@pytest.mark.parametrize(("objective", "kind"), [("v", "v_prediction"), ("x0", "sample")])
def test_a_recording_says_what_the_network_predicts(
    objective: str, kind: str, runs: dict[str, Path], tmp_path: Path
) -> None:
    argv = ["trajectory", "--run", str(runs[objective]), "--sampler", "ddim", "--steps", "5", "--guidance", "2"]
    assert main([*argv, "--quiet", "--out", str(tmp_path)]) == 0
    found = Trajectory.open(tmp_path / "trajectory.zarr")
    assert (found.prediction_type, found.schedule.scaling) == (kind, "variance_preserving")
    model, _ = Run.open(runs[objective]).load_model()
    for step, t in enumerate(found.timesteps.tolist()):
        x, times = torch.from_numpy(found.x_t[:, step]), torch.tensor([t])
        label, null = (model(x, times, torch.tensor([label])) for label in (5, 10))
        eps = null + 2 * (label - null)
        torch.testing.assert_close(torch.from_numpy(found.eps_pred[:, step]), eps, rtol=1e-4, atol=1e-4)
