"""Nothing in the program loads pickles, and no file that is read can run code or lead out of its folder."""

from __future__ import annotations

import ast
import os
import pickle
import shutil
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from small_trajectory import assert_same, make_trajectory

from viz_diffusion.data import load_digits
from viz_diffusion.deck.template import SlideTemplate
from viz_diffusion.errors import VizdiffError
from viz_diffusion.files import read_arrays, read_json
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.run import Run

PACKAGE = Path(__file__).parents[2] / "viz_diffusion"
BANNED = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "marshal", "shelve"}


def unsafe(source: str) -> list[int]:
    """Return the lines of a module's source that load pickles, or could."""
    found = []
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            bad = any(name.name.split(".")[0] in BANNED for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            bad = (node.module or "").split(".")[0] in BANNED
        elif isinstance(node, ast.Call):
            bad = _unsafe_call(node)
        else:
            bad = isinstance(node, ast.Name) and node.id in {"eval", "exec"}
        if bad:
            found.append(node.lineno)
    return found


def _unsafe_call(node: ast.Call) -> bool:
    given = {keyword.arg: keyword.value for keyword in node.keywords}
    name = ast.unparse(node.func)
    if name.endswith("torch.load"):
        return not (isinstance(given.get("weights_only"), ast.Constant) and given["weights_only"].value is True)
    allowed = given.get("allow_pickle")
    if allowed is not None and not (isinstance(allowed, ast.Constant) and allowed.value is False):
        return True
    return name in ("np.load", "numpy.load") and allowed is None  # NumPy's default is safe, and has not always been


def test_no_module_uses_pickle() -> None:
    modules = sorted(PACKAGE.rglob("*.py"))
    assert len(modules) > 200
    found = {path.name: lines for path in modules if (lines := unsafe(path.read_text("utf-8")))}
    assert found == {}


@pytest.mark.parametrize(
    "source",
    [
        "import pickle",
        "from joblib import load",
        "torch.load(path)",
        "torch.load(path, weights_only=False)",
        "torch.load(path, weights_only=wanted)",
        "np.load(path, allow_pickle=True)",
        "np.load(path)",
        "np.savez(path, allow_pickle=anything)",
        "exec(text)",
    ],
)
def test_control_what_is_looked_for_is_found(source: str) -> None:
    assert unsafe(source) == [1]
    assert unsafe("torch.load(path, weights_only=True); np.load(path, allow_pickle=False)") == []


class Payload:
    """Makes a file when it is loaded."""

    def __init__(self, canary: Path) -> None:
        self.canary = canary

    def __reduce__(self) -> tuple[Callable[..., object], tuple[str]]:
        return os.mkdir, (str(self.canary),)


def _in_run(name: str) -> Callable[[Path, bytes], object]:
    def load(folder: Path, data: bytes) -> object:
        run = folder / "run"
        shutil.copytree(Run.bundled().path, run)
        (run / name).write_bytes(data)
        return Run.open(run).load_model()

    return load


def _file(name: str, read: Callable[[Path], object]) -> Callable[[Path, bytes], object]:
    def load(folder: Path, data: bytes) -> object:
        (folder / name).write_bytes(data)
        return read(folder / name)

    return load


def _idx(folder: Path, data: bytes) -> object:
    for name in ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte"):
        (folder / name).write_bytes(data)
    (folder / "t10k-labels-idx1-ubyte").write_bytes(data)
    return load_digits("train", "data-dir", folder)


def _object_array(folder: Path, _: bytes) -> object:
    np.savez(folder / "a.npz", a=np.array([Payload(folder / "canary")], object))
    return read_arrays(folder / "a.npz", "make it again")


LOADERS: dict[str, Callable[[Path, bytes], object]] = {
    "weights": _in_run("model.safetensors"),
    "config": _in_run("config.json"),
    "manifest": _in_run("manifest.json"),
    "recording": _file("a.zarr", Trajectory.open),
    "zip recording": _file("a.zip", Trajectory.open),
    "arrays": _file("a.npz", lambda path: read_arrays(path, "make it again")),
    "array of objects": _object_array,
    "json": _file("a.json", read_json),
    "template": _file("a.pptx", SlideTemplate.open),
    "digits": _idx,
}


@pytest.mark.parametrize("name", LOADERS)
def test_a_pickle_is_never_loaded(name: str, tmp_path: Path) -> None:
    data = pickle.dumps(Payload(tmp_path / "canary"))
    with pytest.raises(VizdiffError):
        LOADERS[name](tmp_path, data)
    assert not (tmp_path / "canary").exists()
    pickle.loads(data)
    assert (tmp_path / "canary").exists()  # a control: the payload works


def test_members_of_a_zip_file_lead_nowhere(tmp_path: Path) -> None:
    path = tmp_path / "in" / "a.zip"
    path.parent.mkdir()
    make_trajectory().save(path)
    with zipfile.ZipFile(path, "a") as archive:
        for name in ("../evil", "/tmp/evil", "x_t/../../evil", "C:\\evil", "activations/../../evil/zarr.json"):
            archive.writestr(name, "evil")
    assert_same(Trajectory.open(path), make_trajectory())
    assert sorted(entry.name for entry in tmp_path.rglob("*")) == ["a.zip", "in"]
