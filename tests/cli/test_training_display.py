"""The display of a training: on a terminal, in a log, and with ``--quiet``."""

from __future__ import annotations

import io
import re
import sys

import pytest

from viz_diffusion.cli import training_display
from viz_diffusion.cli.console import Terminal
from viz_diffusion.cli.training_display import clock, line, rows, watch
from viz_diffusion.text.catalogue import load_texts
from viz_diffusion.training.trainer import Progress, TrainingEvaluation

TEXTS = load_texts("en")
EARLY = Progress(3, None, 0.9, 40.0)
LATER = Progress(1240, 2480, 0.05, 351.6, 211.8, TrainingEvaluation(1200, (0.0912, 0.0251, 0.0061, 0.0008), 7))


def test_the_table_names_every_value() -> None:
    shown = dict(rows(LATER, 0.0412, TEXTS))
    assert shown["Step"].startswith("1,240 of 2,480")
    assert shown["Step"].count("━") == shown["Step"].count("╌") == 12  # half done
    assert shown["Loss"] == "0.0412"
    assert shown["Held-out"] == "0.0308, by quarter of t  0.0912  0.0251  0.0061  0.0008  (step 1,200)"
    assert shown["Images/s"] == "352"
    assert shown["Time left"] == "3:32"
    assert shown["Samples"].startswith("7 ")


def test_a_narrow_terminal_gets_a_plain_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="cp437"))
    assert dict(rows(LATER, 0.0412, TEXTS))["Step"].endswith("  " + "#" * 12 + "-" * 12)


def test_unknown_values_are_left_out() -> None:
    shown = dict(rows(EARLY, 0.9, TEXTS))
    assert shown["Step"].startswith("3 of ?")
    assert "━" not in shown["Step"]
    assert shown["Held-out"] == "not measured yet"
    assert shown["Time left"] == "still timing the first steps"
    assert "Samples" not in shown
    assert line(EARLY, 0.9, TEXTS) == "step 3, loss 0.9000, 40 images/s"


def test_one_line_says_the_same() -> None:
    assert line(LATER, 0.0412, TEXTS) == "step 1,240 of 2,480, loss 0.0412, held-out 0.0308, 352 images/s, 3:32 left"


DURATIONS = {0: "0:00", 59.6: "1:00", 61: "1:01", 3599.4: "59:59", 3600: "1:00:00", 36061: "10:01:01"}


@pytest.mark.parametrize(("seconds", "text"), DURATIONS.items())
def test_clock(seconds: float, text: str) -> None:
    assert clock(seconds) == text


def steps(count: int) -> list[Progress]:
    return [Progress(step, count, 1.0 if step == 1 else 0.0, 10.0, 1.0) for step in range(1, count + 1)]


@pytest.fixture
def hours(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """A clock that is set by hand."""
    now = [0.0]
    monkeypatch.setattr(training_display.time, "perf_counter", lambda: now[0])
    return now


def test_a_log_gets_a_line_now_and_then_and_one_at_the_end(
    hours: list[float], capsys: pytest.CaptureFixture[str]
) -> None:
    with watch(Terminal(False, False)) as show:
        for now in steps(100):
            hours[0] += 1.0
            loss = show(now)
    said = capsys.readouterr().err.splitlines()
    assert [int(re.search(r"step (\d+)", one)[1]) for one in said] == [30, 60, 90, 100]
    assert all(one.startswith("Training  step ") for one in said)
    assert loss == pytest.approx(0.98**99)


def test_quiet_says_nothing(hours: list[float], capsys: pytest.CaptureFixture[str]) -> None:
    with watch(Terminal(False, True)) as show:
        for now in steps(100):
            hours[0] += 10.0
            show(now)
    assert capsys.readouterr() == ("", "")


def test_a_terminal_gets_a_table_that_stays(hours: list[float], monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    with watch(Terminal(False, False)) as show:
        for now in [*steps(3), LATER, Progress(2480, 2480, 0.01, 352.0, 0.0, LATER.evaluation)]:
            hours[0] += 1.0
            show(now)
    text = screen.getvalue()
    assert "\x1b[?25l" in text
    assert text.rstrip().endswith("\x1b[?25h")  # the cursor is back
    last = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", text).rsplit("Step", 1)[1]
    assert "2,480 of 2,480" in last
    assert "Time left 0:00" in last


def test_the_cursor_comes_back_after_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    class Screen(io.StringIO):
        def isatty(self) -> bool:
            return True

    screen = Screen()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "xterm")
    with pytest.raises(KeyboardInterrupt), watch(Terminal(False, False)):
        raise KeyboardInterrupt
    assert screen.getvalue().rstrip().endswith("\x1b[?25h")
