"""matplotlib's settings of the user, where they are broken: figures need none of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from viz_diffusion.cli import main

ROOT = Path(__file__).parents[2]
NOT_UTF8 = b"\xff\xfe backend: \xe9\n"
DRAW = """
import hashlib
from small_trajectory import make_trajectory
from viz_diffusion import draw_strip
from viz_diffusion.plots.saving import figure_bytes
import matplotlib
print(hashlib.sha256(figure_bytes(draw_strip(make_trajectory()), "png")).hexdigest())
print(matplotlib.get_backend(auto_select=False))
"""


def draw(folder: Path, code: str = DRAW, **variables: str) -> list[str]:
    """Run code in a process of its own in ``folder``; return the last line that it prints, as words."""
    paths = os.pathsep.join([str(ROOT), str(ROOT / "tests" / "helpers")])
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("MPL", "MATPLOTLIB"))}
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**environment, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1", **variables},
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout.split()


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The digest of the figure without any settings."""
    return draw(tmp_path_factory.mktemp("plain"))[0]


@pytest.mark.parametrize("backend", ["absent", "module://not_installed.backend", "qtagg", "", "svg"])
def test_a_backend_does_not_matter(backend: str, undisturbed: str, tmp_path: Path) -> None:
    digest, chosen = draw(tmp_path, MPLBACKEND=backend)
    assert digest == undisturbed
    if backend in ("svg", "qtagg"):  # the user's own plots get the backend that was asked for
        assert chosen == backend


def test_the_variable_is_there_again(tmp_path: Path) -> None:
    code = DRAW + "import os; print(os.environ['MPLBACKEND'], 'MPLCONFIGDIR' in os.environ)"
    (tmp_path / "matplotlibrc").write_bytes(NOT_UTF8)
    assert draw(tmp_path, code, MPLBACKEND="absent")[-2:] == ["absent", "False"]


@pytest.mark.parametrize("place", ["folder", "MATPLOTLIBRC", "MPLCONFIGDIR", "style", "odd values"])
def test_settings_that_cannot_be_read_do_not_matter(place: str, undisturbed: str, tmp_path: Path) -> None:
    settings = tmp_path / "settings"
    (settings / "stylelib").mkdir(parents=True)
    variables = {}
    if place == "folder":
        (tmp_path / "matplotlibrc").write_bytes(NOT_UTF8)
    elif place == "odd values":
        (tmp_path / "matplotlibrc").write_text("backend: absent\nfont.size: huge\nnonsense\ntext.usetex: True\n")
    elif place == "style":
        (settings / "stylelib" / "mine.mplstyle").write_bytes(NOT_UTF8)
        variables["MPLCONFIGDIR"] = str(settings)
    else:
        (settings / "matplotlibrc").write_bytes(NOT_UTF8)
        variables[place] = str(settings)
    assert draw(tmp_path, **variables)[0] == undisturbed


@pytest.mark.parametrize("folder", ["file/below", "/proc/nothing"])
def test_a_settings_folder_that_cannot_be_written_does_not_matter(
    folder: str, undisturbed: str, tmp_path: Path
) -> None:
    (tmp_path / "file").touch()
    assert draw(tmp_path, MPLCONFIGDIR=str(tmp_path / folder))[0] == undisturbed


def test_the_folder_is_the_same_after_the_import(tmp_path: Path) -> None:
    (tmp_path / "matplotlibrc").write_bytes(NOT_UTF8)
    assert draw(tmp_path, DRAW + "import os; print(os.getcwd())")[-1] == str(tmp_path)


def test_commands_work_with_a_backend_that_is_not_there(tmp_path: Path) -> None:
    code = (
        "from viz_diffusion.cli import main\n"
        "print(main(['info', '--quiet', '--json']), main(['forward', '--digit', '3', '--out', 'f', '--quiet']))"
    )
    assert draw(tmp_path, code, MPLBACKEND="absent")[-2:] == ["0", "0"]
    assert (tmp_path / "f" / "forward.png").is_file()
    assert main(["info", "--quiet"]) == 0  # a control: in this process, with a working one
