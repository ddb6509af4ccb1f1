"""The interventions of ``vizdiff intervene``: their options, and the comparison with the plain generation."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from matplotlib.text import Text
from PIL import Image

from viz_diffusion.cli import main
from viz_diffusion.cli.intervention_options import InterventionOptions, parse
from viz_diffusion.diffusion.interventions import (
    WithInterventions,
    drop_label,
    freeze_timestep,
    guide_within,
    network_inputs,
    switch_label,
)
from viz_diffusion.diffusion.network_inputs import NetworkInputs
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.plots.film_captions import strip_height
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.run import Run
from viz_diffusion.views import comparison as compare

STEPS = ["--sampler", "ddim", "--steps", "10", "--run", "bundled", "--quiet"]


def inputs_along(denoiser: WithInterventions, recorded: Trajectory) -> NetworkInputs:
    return network_inputs(denoiser, int(recorded.labels[0]), recorded.timesteps.tolist(), recorded.guidance_scale)


def recorded(out: Path, *argv: str, command: str = "intervene") -> tuple[Trajectory, dict]:
    """Run ``vizdiff intervene``; return the recording of the plain run, and what the JSON file says."""
    assert main([command, *STEPS, *argv, "--out", str(out)]) == 0
    return Trajectory.open(out / "trajectory.zarr"), json.loads((out / "trajectory.json").read_text())


def same(one: Trajectory, two: Trajectory) -> bool:
    return all(np.array_equal(getattr(one, name), getattr(two, name)) for name in ("x_t", "eps_pred", "x0_pred", "x0"))


# -- what is read ----------------------------------------------------------------------------------


def test_options_are_read() -> None:
    assert not parse()
    assert parse(switch="8@500") == InterventionOptions(switch=(8, 500))
    assert parse(switch="0@-1", clock="reversed", guide_within="0:999") == InterventionOptions(
        (0, -1), ("reversed", 0), False, (0, 999)
    )
    assert parse(clock="frozen:0", drop_label=True) == InterventionOptions(None, ("frozen", 0), True)
    assert parse(clock="shuffled").clock == ("shuffled", 0)
    assert parse(clock="shuffled:17").clock == ("shuffled", 17)


def test_label_and_guidance_change_at_the_samplers_own_timestep(make_unet: Callable[..., SimpleUNet]) -> None:
    found = parse(switch="8@500", clock="reversed", guide_within="100:900").wrap(make_unet(), 1000)
    assert found.interventions == "switch 8@500, guide-within 100:900, clock reversed"
    _, t, y = found.changed(torch.zeros(2), torch.tensor([950, 950]), torch.tensor([3, 10]))
    assert (t.tolist(), y.tolist()) == ([49, 49], [3, 3])
    _, t, y = found.changed(torch.zeros(2), torch.tensor([500, 500]), torch.tensor([3, 10]))
    assert (t.tolist(), y.tolist()) == ([499, 499], [8, 10])


REFUSED = {
    "--switch": ["", "8", "8@", "8@1000", "8@-2", "10@5", "8@5.0", "8@500@3", "٨@500"],
    "--clock": ["", "frozen", "frozen:", "frozen:1000", "frozen:-1", "shuffled:x", "shuffled:", "reversed:1", "no"],
    "--guide-within": ["", "5", "5:", "9:5", "0:1000", "-1:5", "a:b"],
}


@pytest.mark.parametrize(("option", "value"), [(option, value) for option in REFUSED for value in REFUSED[option]])
def test_a_bad_value_is_one_line_and_code_2(
    option: str, value: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["intervene", f"{option}={value}", "--out", str(tmp_path / "out")]) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert len(err.splitlines()) == 1
    assert option in err
    assert repr(value) in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        (["--drop-label", "--switch", "8@500"], "--switch"),
        (["--drop-label", "--guide-within", "1:2"], "--guide-within"),
        (["--guide-within", "1:2", "--guidance", "1"], "--guidance 1"),
        (["--clock", "shuffled:9999999999999999999"], "--seed"),
        (["--switch", "8@500", "--frames", "12"], "1..11"),
        ([], "--switch, --clock, --drop-label or --guide-within"),
    ],
)
def test_what_makes_no_sense_together_is_refused(
    argv: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["intervene", *argv]) == 2
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert said in err


# -- what is recorded ------------------------------------------------------------------------------


def test_switched_at_the_ends_it_is_the_plain_run_of_the_one_or_the_other_digit(tmp_path: Path) -> None:
    three, said = recorded(tmp_path / "a", "--digit", "3", "--switch", "8@999", "--guidance", "2")
    eight, _ = recorded(tmp_path / "b", "--digit", "8", "--guidance", "2", command="trajectory")
    changed = Trajectory.open(tmp_path / "a" / "changed.zarr")
    assert same(changed, eight)
    assert not same(changed, three)
    assert (three.interventions, changed.interventions) == ("", "switch 8@999")
    assert changed.labels.tolist() == three.labels.tolist() == [3]
    assert said["compare"]["equal_until_left"] == 10  # only the noise they begin with

    recorded(tmp_path / "c", "--digit", "3", "--switch", "8@-1", "--guidance", "2")
    assert same(Trajectory.open(tmp_path / "c" / "changed.zarr"), three)


def test_a_switch_that_comes_too_late_is_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Ten steps of 100 each end at t = 99: no input changes at t = 50, and the images are the same."""
    loud = [option for option in STEPS if option != "--quiet"]
    assert main(["intervene", *loud, "--digit", "3", "--switch", "8@50", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().err
    assert "no input of the network changes (switch 8@50): the last step is at t = 99" in said
    assert same(Trajectory.open(tmp_path / "trajectory.zarr"), Trajectory.open(tmp_path / "changed.zarr"))
    assert "unchanged: as 3, by the bundled classifier" in said
    assert main(["intervene", *loud, "--digit", "3", "--switch", "8@500", "--out", str(tmp_path / "b")]) == 0
    assert "no input of the network changes" not in capsys.readouterr().err


def test_a_switch_in_mid_run_leaves_the_run_before_it_as_it_was_and_is_obeyed(tmp_path: Path) -> None:
    plain, said = recorded(tmp_path, "--digit", "3", "--switch", "8@499", "--count", "4", "--frames", "10,6,5,1")
    changed = Trajectory.open(tmp_path / "changed.zarr")
    before = plain.timesteps > 499
    assert np.array_equal(plain.eps_pred[:, before], changed.eps_pred[:, before])
    assert not np.array_equal(plain.eps_pred[:, ~before][:, 0], changed.eps_pred[:, ~before][:, 0])
    found = said["compare"]
    assert found["interventions"] == "switch 8@499"
    assert found["timesteps"] == [999, 599, 499, 99]
    assert found["told_labels"] == [3, 3, 8, 8]
    assert found["told_timesteps"] == found["timesteps"]
    assert found["equal_until_left"] == 5  # at t = 499 the label is 8, but x_t was computed before
    assert found["x0_pred_apart"][:2] == [0, 0]
    assert found["x0_pred_apart"][2] > 0.1
    wanted = np.sqrt(np.square(plain.x0[0] - changed.x0[0], dtype=np.float64).mean())
    assert found["x0_apart"] == pytest.approx(wanted)
    assert found["plain_read_as_3"]["count"] + found["changed_read_as_8"]["count"] >= 7
    assert found["changed_read_as_3"]["count"] <= 1
    assert "switch 8@499" in found["caption"]
    assert "of the digit 3" in found["caption"]
    with Image.open(tmp_path / "compare.png") as picture, Image.open(tmp_path / "compare.gif") as film:
        assert picture.size == (3200, 1800)
        assert film.n_frames == 11
        assert film.width == (2 * 28 + 2) * 8
        high = strip_height(28 * 8)
        assert film.height == 28 * 8 + 2 * high  # the inputs above, the counter below
        heads = []
        for frame in range(11):
            film.seek(frame)
            heads.append(np.asarray(film.convert("L"))[:high])
    half = film.width // 2
    assert all(np.array_equal(head[:, :half], heads[0][:, :half]) for head in heads)
    switched = [not np.array_equal(head[:, half:], heads[0][:, half:]) for head in heads]
    assert switched == [*(~before).tolist(), True]
    assert (tmp_path / "compare.svg").read_text().startswith("<?xml")
    with Image.open(tmp_path / "steps.gif") as film:
        assert film.height > 28 * 8


def test_a_recording_made_so_is_not_reported_as_a_digit(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    recorded(tmp_path, "--digit", "3", "--drop-label")
    store = tmp_path / "changed.zarr"
    capsys.readouterr()
    assert main(["report", "--trajectory", str(store), "--out", str(tmp_path / "r.html")]) != 0
    assert "drop-label" in capsys.readouterr().err.splitlines()[-1]


# -- what is measured ------------------------------------------------------------------------------


def pair(unet: SimpleUNet, linear: NoiseSchedule, *changes: object) -> tuple[Trajectory, Trajectory, WithInterventions]:
    """Record three steps plain and changed."""
    other = WithInterventions(unet, *changes)
    runs = (
        record_generation(net, linear, torch.tensor([3]), [0], SamplerConfig("ddim", 4, guidance_scale=2.0))
        for net in (unet, other)
    )
    return *runs, other


INPUTS = {
    "nothing": ((), (3, 3, 3, 3), (999, 749, 499, 249), (2, 2, 2, 2), []),
    "switch": ((switch_label(8, 499),), (3, 3, 8, 8), (999, 749, 499, 249), (2, 2, 2, 2), ["y"]),
    "drop": ((drop_label(),), (None,) * 4, (999, 749, 499, 249), (2, 2, 2, 2), ["y"]),
    "guidance": ((guide_within(400, 800),), (3, 3, 3, 3), (999, 749, 499, 249), (1, 2, 2, 1), ["s"]),
    "clock": ((freeze_timestep(7),), (3, 3, 3, 3), (7, 7, 7, 7), (2, 2, 2, 2), ["t"]),
}


@pytest.mark.parametrize("name", INPUTS)
def test_the_figure_shows_the_inputs_of_the_network(
    name: str, make_unet: Callable[..., SimpleUNet], linear: NoiseSchedule
) -> None:
    changes, labels, timesteps, guidance, symbols = INPUTS[name]
    plain, changed, other = pair(make_unet(), linear, *changes)
    inputs = inputs_along(other, plain)
    assert (inputs.labels, inputs.timesteps, inputs.guidance) == (labels, timesteps, guidance)
    data = compare.measure(
        plain, changed, inputs_along(WithInterventions(other.denoiser), plain), inputs, frames="4,3,2,1"
    )
    written = [text.get_text() for text in compare.draw(data)["compare"].findobj(Text)]
    named = {"y": "label y", "t": "given t", "s": "guidance s"}
    assert [s for s, name in named.items() if name in written] == symbols
    assert written.count("∅") == (4 if name == "drop" else 0)
    found = compare.facts(data)
    assert (found["equal_until_left"] == 0) == (name == "nothing")
    assert (found["x0_apart"] == 0) == (name == "nothing")


LEFT = (999, 749, 499, 249, 249)
"""t at four steps, and the last one again for the finished picture."""


@pytest.mark.parametrize("name", INPUTS)
def test_the_film_says_which_half_is_which_and_what_changes_when(
    name: str, make_unet: Callable[..., SimpleUNet], linear: NoiseSchedule
) -> None:
    plain, changed, other = pair(make_unet(), linear, *INPUTS[name][0])
    plain_inputs, inputs = (inputs_along(denoiser, plain) for denoiser in (WithInterventions(other.denoiser), other))
    data = compare.measure(plain, changed, plain_inputs, inputs)
    heads = compare.heads(data, np.arange(5))
    left, right = ([head[side] for head in heads] for side in (0, 1))
    wanted = {
        "nothing": ([""] * 5, [""] * 5),
        "switch": ([": label y = 3"] * 5, [": label y = 3"] * 2 + [": label y = 3 → 8"] * 3),
        "drop": ([": label y = 3"] * 5, [": label y = 3 → ∅"] * 5),
        "guidance": (
            [": guidance s = 2"] * 5,
            [f": guidance s = 2{more}" for more in (" → 1", "", "", " → 1", " → 1")],
        ),
        "clock": ([f": given t = {t}" for t in LEFT], [f": given t = {t} → 7" for t in LEFT]),
    }[name]
    wanted = ([f"unchanged{said}" for said in wanted[0]], [f"changed{said}" for said in wanted[1]])
    assert ([words for words, _ in left], [words for words, _ in right]) == wanted
    assert not any(marked for _, marked in left)
    assert [marked for _, marked in right] == ["→" in words for words, _ in right]


def test_runs_from_another_noise_are_not_compared(make_unet: Callable[..., SimpleUNet], linear: NoiseSchedule) -> None:
    plain, _, other = pair(make_unet(), linear)
    unrelated = record_generation(other, linear, torch.tensor([3]), [1], SamplerConfig("ddim", 4, guidance_scale=2.0))
    inputs = inputs_along(other, plain)
    with pytest.raises(VizdiffInputError, match="one noise"):
        compare.measure(plain, unrelated, inputs, inputs)


def test_impossible_options_are_usage_errors() -> None:
    with pytest.raises(VizdiffUsageError, match="choose one"):
        parse(switch="8@500", drop_label=True)


def test_ten_lines_switch_a_three_into_an_eight(tmp_path: Path) -> None:
    run = Run.bundled()
    unet, _ = run.load_model()
    schedule = run.config.noise_schedule
    intervened = WithInterventions(unet, switch_label(8, at=500))  # a 3, until t = 500; then an 8
    found = [
        record_generation(
            denoiser, schedule, torch.tensor([3]), config=SamplerConfig("ddim", 100, guidance_scale=1.5), seeds=[0]
        )
        for denoiser in (intervened, unet)
    ]
    found[0].save(tmp_path / "three_then_eight.zarr")
    assert Trajectory.open(tmp_path / "three_then_eight.zarr").interventions == "switch 8@500"
    classifier, _ = DigitClassifier.bundled()
    assert [int(classifier.read(torch.from_numpy(one.x0))) for one in found] == [8, 3]
    before = found[0].timesteps > 500
    assert np.array_equal(found[0].x_t[:, before], found[1].x_t[:, before])
