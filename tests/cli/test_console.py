"""Progress where there is no terminal: when a line is said, and what it promises."""

from __future__ import annotations

import re

import pytest

from viz_diffusion.cli.console import FIRST_LINE_SECONDS, LINE_SECONDS, LogProgress, Terminal, duration


class Clock:
    """Seconds that a test moves by hand."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


def run(seconds_a_step: float, steps: int, total: int | None) -> list[str]:
    """Return the lines of a stage whose steps all take as long."""
    clock, lines = Clock(), []
    progress = LogProgress(lines.append, clock)
    for done in range(1, steps + 1):
        clock.now += seconds_a_step
        progress.update(done, total, "companions")
    return lines


def test_the_first_line_tells_what_is_left_from_the_steps_so_far() -> None:
    lines = run(0.05, 1000, 1000)
    assert lines[0] == "companions: 4%, about 50 s left"
    assert len(lines) == 1 + int((50 - FIRST_LINE_SECONDS - 1e-9) // LINE_SECONDS)
    left = [int(re.search(r"about (\d+) s left", line)[1]) for line in lines]  # type: ignore[index]
    assert left == sorted(left, reverse=True)


def test_a_slow_stage_promises_no_less_than_it_takes() -> None:
    lines = run(1.0, 300, 300)
    assert lines[0] == "companions: 1%, about 5 min left"


@pytest.mark.parametrize("total", [40, None])
def test_a_short_stage_says_nothing_more(total: int | None) -> None:
    assert run(0.01, 40, total) == []


def test_a_stage_without_a_total_says_how_long_it_has_been_at_it() -> None:
    assert run(5.0, 4, None) == ["companions (5 s so far)", "companions (20 s so far)"]


def test_durations_are_rounded_up_for_people() -> None:
    texts = {0: "1 s", 7.2: "8 s", 19.5: "20 s", 41: "50 s", 60: "1 min", 75: "1 min 20 s", 299: "5 min", 370: "7 min"}
    assert {seconds: duration(seconds) for seconds in texts} == texts


def test_lines_go_to_a_log_and_none_with_quiet(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr("viz_diffusion.cli.console.FIRST_LINE_SECONDS", -1.0)
    for quiet in (False, True):
        with Terminal(False, quiet).progress("Sampling", "five images", None) as update:
            update(1, 4, "five images")
    out, err = capsys.readouterr()
    assert out == ""
    first, second = err.splitlines()
    assert first == "Sampling  five images"
    assert second.startswith("Sampling  five images: 25%, about ")
