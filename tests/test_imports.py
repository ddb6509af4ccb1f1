"""Imports: what they load, and the layers of the package."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest

import viz_diffusion

ROOT = Path(__file__).parents[1]
HEAVY = ("torch", "torchvision", "matplotlib", "seaborn", "zarr", "scipy", "sklearn", "PIL")


def python(code: str, *argv: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [sys.executable, "-c", code, *argv], capture_output=True, text=True, check=False, env=environment
    )


REPORT = f"print('loaded:', [name for name in {HEAVY} if name in sys.modules])"


@pytest.mark.parametrize(
    "code",
    [
        "import viz_diffusion; dir(viz_diffusion); viz_diffusion.__version__",
        "from viz_diffusion import NoiseSchedule; NoiseSchedule.named()",
        "import viz_diffusion.cli",
    ],
)
def test_importing_loads_nothing_heavy(code: str) -> None:
    done = python(f"import sys; {code}; {REPORT}")
    assert done.stdout.strip() == "loaded: []", done.stderr


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["sample", "--help"], ["no-such-command"], ["lessons"]])
def test_help_and_the_list_of_lessons_load_nothing_heavy(argv: list[str]) -> None:
    report = REPORT.replace("('torch'", "('numpy', 'rich', 'torch'")
    assert "numpy" in report
    code = f"import sys; from viz_diffusion.cli import main; code = main(sys.argv[1:]); {report}; print(code)"
    done = python(code, *argv)
    assert done.stdout.splitlines()[-2:] == ["loaded: []", "2" if argv == ["no-such-command"] else "0"], done.stderr


def test_lessons_and_reports_of_recordings_load_no_statistics_before_they_are_needed() -> None:
    code = (
        "from viz_diffusion.lessons.base import all_lessons; import viz_diffusion.study.recording_study; all_lessons()"
    )
    done = python(
        f"import sys; {code}; print([name for name in ('scipy', 'sklearn', 'seaborn') if name in sys.modules])"
    )
    assert done.stdout.strip() == "[]", done.stderr


def test_the_facts_of_an_installation_load_no_library_but_torch() -> None:
    """``vizdiff info`` asks torch for the device and its threads, and reads the other versions from their metadata."""
    unused = ("matplotlib", "seaborn", "scipy", "sklearn", "zarr", "torchvision", "diffusers")
    report = f"print([name for name in {unused} if name in sys.modules])"
    done = python(f"import sys; from viz_diffusion.cli import main; main(['info', '--json']); {report}")
    assert done.stdout.splitlines()[-1] == "[]", done.stdout + done.stderr


def test_control_the_check_can_fail() -> None:
    assert "'zarr'" in python(f"import sys; import zarr; {REPORT}").stdout


def test_drawing_schedules_and_recordings_never_touch_torch() -> None:
    modules = (
        "diffusion.schedule",
        "recording.trajectory",
        "plots.strip",
        "plots.grid",
        "plots.curves",
        "plots.embeddings",
        "plots.film",
    )
    imports = "; ".join(f"import viz_diffusion.{module}" for module in modules)
    done = python(f"import sys; {imports}; print('torch' in sys.modules)")
    assert done.stdout.strip() == "False", done.stderr


def test_every_public_name_loads_and_is_listed() -> None:
    assert dir(viz_diffusion) == sorted(viz_diffusion.__all__)
    for name in viz_diffusion.__all__:
        value = getattr(viz_diffusion, name)
        assert name == "__version__" or value.__module__.startswith("viz_diffusion.")
    with pytest.raises(AttributeError, match="no_such_name"):
        _ = viz_diffusion.no_such_name


def test_the_public_names_are_declared_once_in_the_stub() -> None:
    stub = (ROOT / "viz_diffusion" / "__init__.pyi").read_text(encoding="utf-8")
    listed = ast.literal_eval(stub.partition("__all__ = ")[2].partition("]")[0] + "]")
    assert sorted(listed) == list(viz_diffusion.__all__)


def test_floors_hold() -> None:
    lint_imports = Path(sys.executable).with_name("lint-imports")
    if not lint_imports.is_file():
        pytest.skip("import-linter is not installed")
    done = subprocess.run(
        [lint_imports, "--no-cache"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "0 broken" in done.stdout
