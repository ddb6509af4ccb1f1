"""Two generations from the same noise, compared side by side with one scrubber."""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from page_reading import grey, pixels, reads, seek
from report_fakes import fake_comparisons, fake_page, fake_player

from viz_diffusion.report import Player, write_report

expect = pytest.importorskip("playwright.sync_api").expect
pytestmark = pytest.mark.browser
Visit = Callable[..., SimpleNamespace]


def names(page: object) -> list[str]:
    return [page.locator(f"#ui-picture-name{which}").inner_text() for which in ("", "-2")]  # type: ignore[attr-defined]


@pytest.mark.parametrize("width", [390, 1280])
def test_another_digit_beside_it(report: Path, players: tuple[Player, ...], visit: Visit, width: int) -> None:
    page = visit(report, viewport={"width": width, "height": 844}).page
    assert not page.locator("#ui-x_t-2").is_visible()
    page.locator("#ui-compare").select_option(label="digit 8")
    expect(page.locator("#ui-x_t-2")).to_be_visible()
    assert names(page) == ["digit 5", "digit 8"]
    main, other = players[0], players[2]
    for frame in (0, 331, 640, 999):
        seek(page, frame)
        left = main.left[frame]
        nearest = int(np.argmin(np.abs(other.left - left)))
        assert reads(page) == (str(left), str(left - 1))
        assert reads(page, "-2") == (str(other.left[nearest]), str(other.timesteps[nearest]))
        assert np.array_equal(pixels(page, "x_t"), grey(main.x_t[frame]))
        assert np.array_equal(pixels(page, "x_t-2"), grey(other.x_t[nearest]))
        assert np.array_equal(pixels(page, "x0_pred-2"), grey(other.x0_pred[nearest]))
    seek(page, 1000)
    assert reads(page, "-2") == ("0", "finished")
    assert np.array_equal(pixels(page, "x_t-2"), grey(other.x_t[-1]))
    boxes = [page.locator(f"#ui-x_t{which}").bounding_box() for which in ("", "-2")]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert boxes[0]["width"] == boxes[1]["width"]
    assert boxes[0]["x"] + boxes[0]["width"] <= boxes[1]["x"]
    assert boxes[1]["x"] + boxes[1]["width"] <= width
    page.locator("#ui-compare").select_option("")
    expect(page.locator("#ui-x_t-2")).not_to_be_visible()
    assert names(page)[0] == "finished image"


def test_what_differs_is_named_and_steps_are_matched_by_share(report: Path, visit: Visit) -> None:
    page = visit(report).page
    guided, ddim = fake_comparisons()
    page.locator("#ui-compare").select_option(label="DDIM, 100 steps")
    expect(page.locator("#ui-x_t-2")).to_be_visible()
    assert names(page) == ["DDPM, 1000 steps", "DDIM, 100 steps"]
    seek(page, 520)
    assert reads(page)[0] == "480"
    assert reads(page, "-2") == ("48", str(ddim.timesteps[13]))
    assert np.array_equal(pixels(page, "x_t-2"), grey(ddim.x_t[13]))
    seek(page, 999)
    assert reads(page, "-2")[0] == "4", "not finished before the recorded run is"
    assert (
        page.locator("#ui-scrubber")
        .get_attribute("aria-valuetext")
        .endswith("; second run: DDIM, 100 steps, 4 steps left")
    )
    page.locator("#ui-compare").select_option(label="guidance 3")
    expect(page.locator("#ui-picture-name-2")).to_have_text("guidance 3")
    assert names(page) == ["guidance 1", "guidance 3"]
    seek(page, 0)
    assert np.array_equal(pixels(page, "x_t-2"), grey(guided.x_t[0]))


def test_a_run_is_not_compared_with_itself(report: Path, visit: Visit) -> None:
    page = visit(report).page
    options = page.locator("#ui-compare option")
    disabled = "(all) => all.filter((one) => one.disabled).map((one) => one.textContent)"
    assert options.evaluate_all(disabled) == ["digit 5"]
    page.locator("#ui-compare").select_option(label="digit 8")
    expect(page.locator("#ui-x_t-2")).to_be_visible()
    page.get_by_role("radio", name="with the label 3").check(force=True)
    expect(page.locator("#ui-picture-name")).to_have_text("digit 3")
    page.get_by_role("radio", name="with the label 8").check(force=True)
    expect(page.locator("#ui-x_t-2")).not_to_be_visible()
    assert page.locator("#ui-compare").input_value() == ""
    assert options.evaluate_all(disabled) == ["digit 8"]


def test_both_play_together(report: Path, visit: Visit) -> None:
    page = visit(report).page
    page.locator("#ui-compare").select_option(label="digit 3")
    page.select_option("#ui-speed", "4")
    page.locator("#ui-play").click()
    expect(page.locator("#ui-left")).to_have_text("0", timeout=30_000)
    assert reads(page, "-2") == ("0", "finished")


def test_only_one_thing_ever_differs(report: Path, visit: Visit) -> None:
    page = visit(report).page
    values = page.locator("#ui-compare option").evaluate_all("(all) => all.map((one) => one.value).filter(Boolean)")
    settings = "({ digit, guidance, sampler, total }) => ({ digit, guidance, way: sampler + total })"
    runs = page.evaluate(f"runs.map({settings})")
    kinds = set()
    for digit in (5, 3, 8):
        for value in values:
            page.locator("#ui-compare").select_option("")
            page.get_by_role("radio", name=f"with the label {digit}").check(force=True)
            expect(page.locator("#ui-frames")).to_contain_text(f"Digit {digit}")
            if runs[int(value)] == next(run for run in runs if run["digit"] == digit):
                continue
            page.locator("#ui-compare").select_option(value)
            expect(page.locator("#ui-x_t-2")).to_be_visible()
            left = runs[page.evaluate("runs.indexOf(player.run)")]
            differing = [name for name, one in left.items() if one != runs[int(value)][name]]
            assert len(differing) == 1, (digit, value, differing)
            kinds.add(differing[0])
            checked = page.locator("input[name=digit]:checked").get_attribute("value")
            assert runs[int(str(checked))] == left, "the digit that is marked is the one that is shown"
    assert kinds == {"digit", "guidance", "way"}


def test_a_guidance_is_compared_with_the_recorded_digit_alone(
    report: Path, players: tuple[Player, ...], visit: Visit
) -> None:
    page = visit(report).page
    page.get_by_role("radio", name="with the label 3").check(force=True)
    expect(page.locator("#ui-frames")).to_contain_text("Digit 3")
    page.locator("#ui-compare").select_option(label="guidance 3")
    expect(page.locator("#ui-x_t-2")).to_be_visible()
    assert page.get_by_role("radio", name="with the label 5").is_checked()
    assert names(page) == ["guidance 1", "guidance 3"]
    assert page.locator("#ui-both").inner_text() == "Same noise; both runs: digit 5, DDPM, 1000 steps"
    assert page.locator("#ui-said").inner_text().startswith("Back to the digit 5")
    seek(page, 1000)
    assert np.array_equal(pixels(page, "x_t"), grey(players[0].x_t[-1])), "the five again"
    page.get_by_role("radio", name="with the label 8").check(force=True)
    expect(page.locator("#ui-x_t-2")).not_to_be_visible()
    assert page.locator("#ui-compare").input_value() == ""
    assert page.locator("#ui-said").inner_text() == "The comparison was of the digit 5; it is over"
    page.locator("#ui-compare").select_option(label="digit 3")
    expect(page.locator("#ui-x_t-2")).to_be_visible()
    assert names(page) == ["digit 8", "digit 3"], "of any two digits only the digit differs"


@pytest.mark.parametrize(
    ("lang", "space", "words"),
    [
        ("en", "latent", (["on pixels", "in latents"], "decoded image", "Both runs: digit 5, DDPM, 1000 steps")),
        ("zh", "pixel", (["在潜空间中", "在像素上"], "预测的图像", "两次生成相同的是：数字 5")),
    ],
)
def test_another_network_is_named_with_what_differs(
    lang: str, space: str, words: tuple[list[str], str, str], players: tuple[Player, ...], visit: Visit, tmp_path: Path
) -> None:
    note = "Of other noise, by another network."
    network = dataclasses.replace(fake_player(5, 25, noise=False, seed=4), space=space, note=note)
    runs = [dataclasses.replace(one, space="pixel" if space == "latent" else "latent") for one in players]
    compared = tuple(dataclasses.replace(one, space=runs[0].space) for one in fake_comparisons())
    page = dataclasses.replace(fake_page(tuple(runs)), comparisons=(*compared, network), lang=lang, space=runs[0].space)
    write_report(page, tmp_path / "page.html")
    page = visit(tmp_path / "page.html", viewport={"width": 390, "height": 844}).page
    shown, guess, both = words
    page.get_by_role("radio").nth(0).check(force=True)
    page.locator("#ui-compare").select_option(label=shown[1])
    expect(page.locator("#ui-x_t-2")).to_be_visible()
    assert names(page) == shown
    assert page.locator("#ui-guess-name-2").inner_text() == guess
    expect(page.locator("#ui-both")).to_have_text(re.compile(f"^{re.escape(both)}.*{re.escape(note)}$"))
    assert page.locator("input[name=digit]:checked").get_attribute("value") == "0", "the recorded digit is back"
    seek(page, 0)
    assert np.array_equal(pixels(page, "x_t-2"), grey(network.x_t[0]))
    assert np.array_equal(pixels(page, "x0_pred-2"), grey(network.x0_pred[0]))
    boxes = [page.locator(f"#ui-x0_pred{which}").bounding_box() for which in ("", "-2")]
    assert boxes[0]["y"] == boxes[1]["y"]
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    page.locator("#ui-compare").select_option(index=1)
    assert note not in page.locator("#ui-both").inner_text(), "another label is of the same network and noise"
