"""Folders that cannot be flushed, links, mount points: what is written is whole, and nothing is lost."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path

import pytest
from small_trajectory import make_trajectory

from viz_diffusion import Trajectory, files
from viz_diffusion.cli import main
from viz_diffusion.errors import VizdiffIOError
from viz_diffusion.recording.store.writer import growing_store

QUICK = ["--digit", "3", "--sampler", "ddim", "--steps", "2", "--quiet"]
UNABLE = ("EINVAL", "ENOTSUP", "ENOSYS", "EBADF", "EACCES", "EPERM")


def content(folder: Path) -> dict[str, bytes]:
    """Return every file below a folder, hidden ones too."""
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


# -- flushing --------------------------------------------------------------------------------------


@pytest.fixture
def refuse_folders(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], list[int]]:
    """Let fsync of every folder fail with an error; return the descriptors that were tried."""

    def refuse(name: str) -> list[int]:
        plain, tried = os.fsync, []

        def fsync(descriptor: int) -> None:
            if stat.S_ISDIR(os.fstat(descriptor).st_mode):
                tried.append(descriptor)
                raise OSError(getattr(errno, name), os.strerror(getattr(errno, name)))
            plain(descriptor)

        monkeypatch.setattr(os, "fsync", fsync)
        return tried

    return refuse


@pytest.mark.parametrize("name", UNABLE)
def test_a_folder_that_cannot_be_flushed_costs_nothing(
    name: str, refuse_folders: Callable[[str], list[int]], tmp_path: Path
) -> None:
    tried = refuse_folders(name)
    files.write_bytes(tmp_path / "a", b"whole")
    with files.atomic_dir(tmp_path / "b") as folder:
        files.write_bytes(folder / "c", b"whole")
    make_trajectory().save(tmp_path / "t.zarr")
    Trajectory.open(tmp_path / "t.zarr")
    assert content(tmp_path / "b") == {"c": b"whole"}
    assert tried


@pytest.mark.parametrize("name", ["EIO", "ENOSPC"])
def test_a_disk_that_fails_is_an_error(name: str, refuse_folders: Callable[[str], list[int]], tmp_path: Path) -> None:
    refuse_folders(name)
    with pytest.raises(VizdiffIOError, match="cannot write"):
        files.write_bytes(tmp_path / "a", b"x")


def test_a_folder_that_may_not_be_listed_is_not_flushed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With the permissions -wx a file can be made in it, but the folder cannot be opened."""

    def refuse(*_: object) -> int:
        raise OSError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(os, "open", refuse)
    files.sync_dir(tmp_path)


@pytest.mark.parametrize("name", ["EINVAL", "ENOTSUP", "ENOSYS"])
def test_a_file_system_without_flushing_still_holds_files(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_: int) -> None:
        raise OSError(getattr(errno, name), "no flushing here")

    monkeypatch.setattr(os, "fsync", refuse)
    files.append_bytes(tmp_path / "a", b"x")
    files.write_bytes(tmp_path / "b", b"y")
    assert content(tmp_path) == {"a": b"x", "b": b"y"}


def test_commands_work_where_no_folder_can_be_flushed(
    refuse_folders: Callable[[str], list[int]], tmp_path: Path
) -> None:
    refuse_folders("EINVAL")
    assert main(["sample", "--count", "1", *QUICK, "--out", str(tmp_path / "a.png")]) == 0
    assert main(["trajectory", *QUICK, "--out", str(tmp_path / "t")]) == 0
    assert main(["train", "--steps", "2", "--batch-size", "2", "--quiet", "--out", str(tmp_path / "run")]) == 0


# -- links -----------------------------------------------------------------------------------------


def test_a_link_to_a_file_is_written_through(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "real").write_bytes(b"old")
    (tmp_path / "link").symlink_to("elsewhere/real")
    (tmp_path / "new").symlink_to("elsewhere/not yet")
    files.write_bytes(tmp_path / "link", b"new")
    files.write_bytes(tmp_path / "new", b"first")
    assert (tmp_path / "link").is_symlink()
    assert content(tmp_path / "elsewhere") == {"real": b"new", "not yet": b"first"}


def save(path: Path) -> None:
    make_trajectory().save(path)


def record(path: Path) -> None:
    with growing_store(path) as store:
        store.create("a", ("x",), (1,), (1,), "float64")
        store.commit({}, status="complete")


@pytest.mark.parametrize("write", [save, record])
def test_a_recording_to_a_link_replaces_what_it_points_to(write: Callable[[Path], None], tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    save(tmp_path / "disk" / "kept.zarr")
    (tmp_path / "link.zarr").symlink_to("disk/kept.zarr", target_is_directory=True)
    before = content(tmp_path / "disk" / "kept.zarr")
    write(tmp_path / "link.zarr")
    write(tmp_path / "plain.zarr")
    assert (tmp_path / "link.zarr").is_symlink()
    assert content(tmp_path / "disk" / "kept.zarr").keys() == content(tmp_path / "plain.zarr").keys()
    assert (content(tmp_path / "disk" / "kept.zarr") == before) == (write is save)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["disk", "link.zarr", "plain.zarr"]
    assert [path.name for path in (tmp_path / "disk").iterdir()] == ["kept.zarr"]


def test_commands_write_to_linked_folders(tmp_path: Path) -> None:
    for name in ("t", "run"):
        (tmp_path / f"{name} on another disk").mkdir()
        (tmp_path / name).symlink_to(f"{name} on another disk", target_is_directory=True)
    assert main(["trajectory", *QUICK, "--out", str(tmp_path / "t")]) == 0
    assert main(["trajectory", *QUICK, "--out", str(tmp_path / "t")]) == 0  # what is there already is replaced
    assert main(["train", "--steps", "2", "--batch-size", "2", "--quiet", "--out", str(tmp_path / "run")]) == 0
    assert (tmp_path / "t on another disk" / "trajectory.zarr" / "zarr.json").is_file()
    assert (tmp_path / "run on another disk" / "manifest.json").is_file()
    assert all((tmp_path / name).is_symlink() for name in ("t", "run"))


# -- mount points ----------------------------------------------------------------------------------


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[..., Path]:
    """Make a path behave like a mount point: it cannot be renamed, and nothing is renamed into it or out of it."""

    def make(code: int, read_only_parent: bool = False) -> Path:
        point = tmp_path / "parent" / "mounted"
        point.mkdir(parents=True)
        replace, mkdir = os.replace, Path.mkdir

        def is_inside(path: Path) -> bool:
            return point in Path(path).parents

        def replace_here(source: Path, target: Path) -> None:
            if point in (Path(source), Path(target)):
                raise OSError(code, os.strerror(code))
            if is_inside(source) != is_inside(target):
                raise OSError(errno.EXDEV, os.strerror(errno.EXDEV))
            replace(source, target)

        def mkdir_here(self: Path, *args: object, **kwargs: object) -> None:
            if read_only_parent and self.parent == point.parent:
                raise OSError(errno.EROFS, os.strerror(errno.EROFS))
            mkdir(self, *args, **kwargs)

        monkeypatch.setattr(os, "replace", replace_here)
        monkeypatch.setattr(os, "rename", replace_here)
        monkeypatch.setattr(Path, "mkdir", mkdir_here)
        return point

    return make


@pytest.mark.parametrize("code", [errno.EBUSY, errno.EXDEV, errno.EACCES], ids=["EBUSY", "EXDEV", "EACCES"])
@pytest.mark.parametrize("read_only_parent", [False, True])
def test_the_content_of_a_mount_point_is_replaced(
    code: int, read_only_parent: bool, mount: Callable[..., Path]
) -> None:
    point = mount(code, read_only_parent)
    (point / "old").write_bytes(b"old")
    (point / "both").mkdir()
    (point / "both" / "of the old").write_bytes(b"old")
    with files.atomic_dir(point) as folder:
        (folder / "both").mkdir()
        (folder / "both" / "of the new").write_bytes(b"new")
        assert (point / "old").read_bytes() == b"old"
    assert content(point.parent) == {"mounted/both/of the new": b"new"}
    assert [path.name for path in point.parent.iterdir()] == ["mounted"]


@pytest.mark.parametrize("fails_at", range(1, 5))
def test_a_mount_point_that_fails_midway_keeps_the_old_content(
    fails_at: int, mount: Callable[..., Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    point = mount(errno.EBUSY)
    for name in ("a", "b"):
        (point / name).write_bytes(b"old")
    replace, moved = os.replace, []

    def fail(source: Path, target: Path) -> None:
        replace(source, target)
        moved.append(target)
        if len(moved) == fails_at:
            replace(target, source)
            raise OSError(errno.EIO, "Input/output error")

    def write() -> None:
        with files.atomic_dir(point) as folder:
            for name in ("a", "c"):
                (folder / name).write_bytes(b"new")
            monkeypatch.setattr(os, "replace", fail)

    with pytest.raises(VizdiffIOError, match="Input/output"):
        write()
    assert content(point.parent) == {"mounted/a": b"old", "mounted/b": b"old"}
    assert sorted(path.name for path in point.iterdir()) == ["a", "b"]


def test_a_recording_to_a_mount_point(mount: Callable[..., Path]) -> None:
    point = mount(errno.EBUSY)
    save(point)
    save(point)
    record(point)
    assert not [path for path in point.parent.iterdir() if path != point]
    assert (point / "zarr.json").is_file()


def test_a_mounted_file_is_overwritten(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "mounted"
    path.write_bytes(b"old and longer")
    number = path.stat().st_ino

    def refuse(*_: object) -> None:
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr(os, "replace", refuse)
    files.write_bytes(path, b"new")
    assert content(tmp_path) == {"mounted": b"new"}
    assert path.stat().st_ino == number
    with pytest.raises(VizdiffIOError, match="busy"):
        files.write_bytes(tmp_path / "another", b"new")
    assert content(tmp_path) == {"mounted": b"new"}
