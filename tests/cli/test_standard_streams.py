"""stdout and stderr that are closed, broken, full or of a narrow encoding: the command does its work all the same."""

from __future__ import annotations

import contextlib
import io
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from viz_diffusion.cli import main
from viz_diffusion.cli.standard_streams import StandardStream
from viz_diffusion.errors import VizdiffIOError

ROOT = Path(__file__).parents[2]
ENCODINGS = ("ascii", "cp437", "latin-1", "cp1252", "utf-8", "utf-16", "shift_jis", "cp037")


def shell(line: str, folder: Path, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run a line of shell in which ``vizdiff`` is the command."""
    script = f'vizdiff() {{ "{sys.executable}" -m viz_diffusion "$@"; }}\n{line}'
    # an empty entry would mean the current folder, without which Python itself does not start
    paths = [str(ROOT), *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(paths), "OMP_NUM_THREADS": "1", **variables}
    return subprocess.run(
        ["bash", "-c", script], capture_output=True, text=True, cwd=folder, env=environment, timeout=200, check=False
    )


@contextlib.contextmanager
def stdout_in(encoding: str) -> Iterator[io.BytesIO]:
    """Give ``sys.stdout`` an encoding; yield the bytes that arrive."""
    arrived = io.BytesIO()
    stream = io.TextIOWrapper(arrived, encoding=encoding)
    with contextlib.redirect_stdout(stream):
        yield arrived
    stream.detach()


# -- encodings -------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("lang", ["en", "zh"])
def test_json_is_json_in_every_encoding(encoding: str, lang: str, capsys: pytest.CaptureFixture[str]) -> None:
    with stdout_in("utf-8") as plain:
        assert main(["lessons", "--lang", lang, "--json"]) == 0
    with stdout_in(encoding) as arrived:
        assert main(["lessons", "--lang", lang, "--json"]) == 0
    assert json.loads(arrived.getvalue().decode(encoding)) == json.loads(plain.getvalue())
    if not encoding.startswith("utf"):
        arrived.getvalue().decode(encoding).encode("ascii")
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_character_that_cannot_be_written_is_replaced(encoding: str) -> None:
    with stdout_in("utf-8") as plain:
        assert main(["lessons", "--lang", "zh"]) == 0
    with stdout_in(encoding) as arrived:
        assert main(["lessons", "--lang", "zh"]) == 0
    expected = plain.getvalue().decode().encode(encoding, "replace").decode(encoding)
    assert arrived.getvalue().decode(encoding) == expected
    assert ("?" in expected) == (encoding in ("ascii", "cp437", "latin-1", "cp1252", "cp037", "shift_jis"))


def test_a_file_name_that_is_no_unicode_is_said() -> None:
    arrived = io.BytesIO()
    stream = StandardStream(io.TextIOWrapper(arrived, encoding="utf-8"), is_result=True)
    print("a\udcffb", file=stream, flush=True)
    assert arrived.getvalue() == b"a?b\n"


def test_the_locale_c_costs_no_output(tmp_path: Path) -> None:
    code = "from viz_diffusion.cli import main; [main(['lessons', '--lang', 'zh', *more]) for more in ([], ['--json'])]"
    done = shell(
        f'"{sys.executable}" -c "{code}"',
        tmp_path,
        LC_ALL="C",
        PYTHONUTF8="0",
        PYTHONCOERCECLOCALE="0",
    )
    assert done.returncode == 0, done.stderr
    lines = done.stdout.splitlines()
    assert "????" in lines[0]
    assert len(json.loads(lines[-1])["lessons"]) == len(lines) - 1


# -- streams that are not there, or break ----------------------------------------------------------


CLOSED = {"stdout": ">&-", "stderr": "2>&-", "both": ">&- 2>&-", "all three": ">&- 2>&- <&-"}


@pytest.mark.parametrize("closed", CLOSED.values(), ids=CLOSED.keys())
def test_closed_streams_cost_nothing(closed: str, tmp_path: Path) -> None:
    command = "vizdiff sample --count 1 --sampler ddim --steps 2 --out a.png --json"
    done = shell(f"{command} {closed}; echo code $? >code; vizdiff nonsense {closed}; echo code $? >>code", tmp_path)
    assert (tmp_path / "code").read_text().split() == ["code", "0", "code", "2"]
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    if closed == CLOSED["stderr"]:
        assert json.loads(done.stdout)["count"] == 1
    assert "Traceback" not in done.stderr


def test_no_file_gets_the_descriptor_of_a_closed_stream(tmp_path: Path) -> None:
    """What a library writes to descriptor 2 must not land in a recording."""
    code = (
        "import os; from viz_diffusion.cli import main; main(['lessons', '--json'])\n"
        "opened = open('first', 'wb'); os.write(2, b'from a library'); open('code', 'w').write(str(opened.fileno()))"
    )
    shell(f'"{sys.executable}" -c "{code}" 2>&-', tmp_path)
    assert int((tmp_path / "code").read_text()) > 2
    assert (tmp_path / "first").read_bytes() == b""


def test_streams_may_be_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As in pythonw, and in a service on Windows."""
    monkeypatch.setattr(sys, "stdout", None)
    monkeypatch.setattr(sys, "stderr", None)
    assert main(["sample", "--count", "1", "--sampler", "ddim", "--steps", "2", "--out", str(tmp_path / "a.png")]) == 0
    assert main(["lessons"]) == 0
    assert main(["lessons", "--json"]) == 0
    assert main(["--help"]) == 0
    assert main(["nonsense"]) == 2
    assert sys.stdout is None
    assert (tmp_path / "a.png").is_file()


@pytest.mark.parametrize("command", ["lessons", "info --json", "--help"])
def test_a_reader_that_leaves_is_no_error(command: str, tmp_path: Path) -> None:
    done = shell(f"vizdiff {command} | head -c 3; echo ${{PIPESTATUS[0]}}", tmp_path)
    assert done.stdout.split()[-1].endswith("0")
    assert [line for line in done.stderr.splitlines() if not line.startswith("Loading")] == []


def test_a_reader_of_the_messages_that_leaves_stops_nothing(tmp_path: Path) -> None:
    line = "vizdiff train --steps 3 --batch-size 2 --device cpu --out run 2> >(true); echo $?"
    assert shell(line, tmp_path).stdout.strip() == "0"
    assert (tmp_path / "run" / "manifest.json").is_file()


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("command", ["lessons", "lessons --json", "--help", "--version"])
def test_a_result_that_finds_no_room_is_an_error_of_one_line(command: str, tmp_path: Path) -> None:
    done = shell(f"vizdiff {command} >/dev/full", tmp_path)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1] == "vizdiff: cannot write the result to stdout: No space left on device"


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_messages_that_find_no_room_stop_nothing(tmp_path: Path) -> None:
    line = "vizdiff lessons 2>/dev/full >a; echo $?; vizdiff nonsense 2>/dev/full; echo $?"
    assert shell(line, tmp_path).stdout.split() == ["0", "2"]


class Broken(io.StringIO):
    """A terminal that was closed at the other end."""

    def write(self, text: str) -> int:  # noqa: ARG002
        raise OSError(5, "Input/output error")

    def isatty(self) -> bool:
        return True


def test_a_closed_terminal_does_not_stop_a_training(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(sys, "stderr", Broken())
    monkeypatch.setenv("TERM", "xterm")
    run = tmp_path / "run"
    assert main(["train", "--steps", "3", "--batch-size", "2", "--device", "cpu", "--out", str(run)]) == 0
    assert (run / "manifest.json").is_file()


def test_a_failure_of_the_result_is_not_forgotten() -> None:
    """A program that probes a stream with a write ignores what that raises."""

    class Full(io.StringIO):
        def write(self, text: str) -> int:  # noqa: ARG002
            raise OSError(28, "No space left on device")

    stream = StandardStream(Full(), is_result=True)
    for _ in range(2):
        with pytest.raises(VizdiffIOError, match="No space left"):
            stream.write("")
    with pytest.raises(VizdiffIOError, match="No space left"):
        stream.flush()
    assert not stream.isatty()
    StandardStream(Full(), is_result=False).write("a message")  # a control: only results are missed


def test_a_removed_folder_is_named(tmp_path: Path) -> None:
    """PyTorch's libraries end the process there without a word about the reason."""
    line = "mkdir gone && cd gone && rmdir ../gone && vizdiff lessons"
    done = shell(line, tmp_path)
    assert done.returncode == 4
    assert done.stderr.splitlines()[-1] == "vizdiff: the current folder was removed; change to another one"


def test_warnings_as_errors_stop_no_command(tmp_path: Path) -> None:
    line = "vizdiff trajectory --sampler ddim --steps 2 --out t --quiet && vizdiff info --json"
    done = shell(line, tmp_path, PYTHONWARNINGS="error")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["run"] == "bundled"
