"""Running a command that must fail."""

from __future__ import annotations

import pytest

from viz_diffusion.cli import main


def refused(capsys: pytest.CaptureFixture[str], code: int, *argv: str) -> str:
    """Run a command that must fail with ``code``; return the one line that says why, the last on stderr.

    With ``--quiet`` it is the only one.
    """
    capsys.readouterr()
    assert main(list(argv)) == code
    out, err = capsys.readouterr()
    lines = err.strip().splitlines()
    assert out == ""
    assert lines[-1].startswith(("vizdiff: ", "vizdiff 出错："))
    assert "Traceback" not in err
    assert "--quiet" not in argv or len(lines) == 1, err
    return lines[-1]
