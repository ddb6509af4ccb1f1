"""Atomic writes, locks, manifests and strict JSON."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import sys
from pathlib import Path

import pytest

from viz_diffusion import files
from viz_diffusion.errors import VizdiffInputError, VizdiffIOError, VizdiffLockedError

FULL = OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_checksums_are_sha256(tmp_path: Path) -> None:
    path = tmp_path / "abc"
    path.write_bytes(b"abc")
    known = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"  # FIPS 180-4, "abc"
    assert files.sha256_bytes(b"abc") == known
    assert files.sha256_file(path) == known


# -- one file --------------------------------------------------------------------------------------


def test_atomic_write_replaces_all_at_once(tmp_path: Path) -> None:
    path = tmp_path / "kept.bin"
    path.write_bytes(b"old and longer")
    with files.atomic_write(path) as handle:
        handle.write(b"new")
        handle.flush()
        assert path.read_bytes() == b"old and longer"
    assert path.read_bytes() == b"new"
    assert names(tmp_path) == ["kept.bin"]


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt(), SystemExit(3)], ids=repr)
@pytest.mark.parametrize("old", [b"old", None])
def test_an_error_in_the_block_changes_nothing(error: BaseException, old: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "kept.bin"
    if old is not None:
        path.write_bytes(old)

    def write_half() -> None:
        with files.atomic_write(path) as handle:
            handle.write(b"half")
            raise error

    with pytest.raises(type(error)):
        write_half()
    assert names(tmp_path) == ([] if old is None else ["kept.bin"])
    assert old is None or path.read_bytes() == old


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_a_full_disk_keeps_the_old_file(call: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "kept.bin"
    path.write_bytes(b"old")

    def refuse(*_: object) -> None:
        raise FULL

    monkeypatch.setattr(os, call, refuse)
    with pytest.raises(VizdiffIOError, match=r"cannot write .*kept\.bin: No space left") as caught:
        files.write_bytes(path, b"new")
    assert caught.value.exit_code == 4
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["kept.bin"]


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
def test_a_full_device_gives_one_line() -> None:
    with (
        pytest.raises(VizdiffIOError, match="cannot write /dev/full: No space left"),
        files.io_errors("write", Path("/dev/full")),
        Path("/dev/full").open("wb") as handle,
    ):
        handle.write(b"x" * 100_000)


def test_what_is_written_is_flushed_before_it_is_renamed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The order that survives a power cut: file, rename, folder."""
    calls = []
    fsync, replace = os.fsync, os.replace

    def noted_fsync(descriptor: int) -> None:
        calls.append("folder" if os.path.isdir(f"/proc/self/fd/{descriptor}") else "file")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        calls.append("rename")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    files.write_bytes(tmp_path / "a", b"x")
    expected = ["file", "rename", "folder"] if Path("/proc/self/fd").exists() else ["file", "rename", "file"]
    assert calls == expected


def test_writing_into_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(VizdiffIOError, match=r"cannot write .*nowhere"):
        files.write_bytes(tmp_path / "nowhere" / "a", b"x")


def test_make_dir(tmp_path: Path) -> None:
    made = files.make_dir(tmp_path / "a" / "b")
    assert made.is_dir()
    assert names(made) == []
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(VizdiffIOError, match=r"cannot write to folder .*file"):
        files.make_dir(tmp_path / "file")


# -- a folder --------------------------------------------------------------------------------------


def test_atomic_dir_replaces_all_at_once(tmp_path: Path) -> None:
    target = tmp_path / "store"
    target.mkdir()
    (target / "old").write_bytes(b"old")
    with files.atomic_dir(target) as folder:
        (folder / "new").write_bytes(b"new")
        assert names(target) == ["old"]
    assert names(target) == ["new"]
    assert names(tmp_path) == ["store"]


@pytest.mark.parametrize("error", [ValueError("no"), FULL, KeyboardInterrupt()], ids=repr)
def test_an_error_keeps_the_old_folder(error: BaseException, tmp_path: Path) -> None:
    target = tmp_path / "store"
    target.mkdir()
    (target / "old").write_bytes(b"old")

    def write_half() -> None:
        with files.atomic_dir(target) as folder:
            (folder / "new").write_bytes(b"new")
            raise error

    with pytest.raises(VizdiffIOError if error is FULL else type(error)):
        write_half()
    assert names(target) == ["old"]
    assert names(tmp_path) == ["store"]


def test_a_failing_rename_brings_the_old_folder_back(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "store"
    target.mkdir()
    (target / "old").write_bytes(b"old")
    replace, renames = os.replace, []

    def second_fails(source: Path, goal: Path) -> None:
        renames.append(goal)
        if len(renames) == 2:  # the old one is out of the way, the new one not yet in
            raise OSError(errno.EIO, "Input/output error")
        replace(source, goal)

    monkeypatch.setattr(os, "replace", second_fails)
    with (
        pytest.raises(VizdiffIOError, match="Input/output"),
        files.atomic_dir(target) as folder,
    ):
        (folder / "new").write_bytes(b"new")
    assert names(target) == ["old"]
    assert names(tmp_path) == ["store"]


# -- JSON ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [float("nan"), float("inf"), -float("inf")])
def test_json_holds_no_nan(number: float, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        files.to_json({"a": [number]})
    files.write_json(tmp_path / "a.json", {"a": 1})
    with pytest.raises(ValueError, match="JSON"):
        files.write_json(tmp_path / "a.json", {"a": number})
    assert files.read_json(tmp_path / "a.json") == {"a": 1}
    assert names(tmp_path) == ["a.json"]


@pytest.mark.parametrize("text", ["ε π 😀", "a\u2028b", '"\\\n\0', "</script>", "\udcff"], ids=ascii)
def test_json_round_trip(text: str, tmp_path: Path) -> None:
    """The last text is what a file name that is not UTF-8 becomes."""
    value = {text: [text, 1.5, None, True, -(2**60)]}
    files.write_json(tmp_path / "a.json", value)
    assert files.read_json(tmp_path / "a.json") == value
    assert json.loads((tmp_path / "a.json").read_bytes()) == value


def test_unicode_is_kept_readable() -> None:
    assert files.to_json({"a": "ε"}) == '{"a": "ε"}'


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"{",
        b"nonsense",
        b"\xff\xfe",
        b"[1]",
        b"3",
        b"null",
        b'{"a": 1} x',
        b"[" * 100_000,
        b'{"a": ' + b"1" * 5000 + b"}",
    ],
    ids=lambda content: content[:12].decode("latin1"),
)
def test_what_is_no_json_object_is_refused(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(content)
    with pytest.raises(VizdiffInputError, match=r"odd\.json"):
        files.read_json(path)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(VizdiffInputError, match=r"gone\.json is missing"):
        files.read_json(tmp_path / "gone.json")
    with pytest.raises(VizdiffInputError, match=f"{tmp_path.name} must be a file, found a folder"):
        files.read_json(tmp_path)  # a folder


def test_write_json_writes_the_value(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    files.write_json(path, {"b": 1, "a": [2]})
    assert json.loads(path.read_text()) == {"b": 1, "a": [2]}
    assert hashlib.sha256(path.read_bytes()).hexdigest() == files.sha256_file(path)


# -- manifests -------------------------------------------------------------------------------------


def test_a_manifest_vouches_for_its_files(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc")
    (tmp_path / "b").write_bytes(b"")
    digests = files.write_manifest(tmp_path, ["a"])
    assert digests == {"a": hashlib.sha256(b"abc").hexdigest()}
    assert files.read_checked(tmp_path, "a") == (b"abc", digests["a"])
    with pytest.raises(VizdiffInputError, match=r"manifest\.json holds no SHA-256 of b"):  # nobody vouches for it
        files.read_checked(tmp_path, "b")
    (tmp_path / "a").write_bytes(b"abd")
    with pytest.raises(VizdiffInputError, match=r"a is not what was written.*restore"):
        files.read_checked(tmp_path, "a")
    (tmp_path / "a").unlink()
    with pytest.raises(VizdiffInputError, match="a is missing"):
        files.read_checked(tmp_path, "a")
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(VizdiffInputError, match=r"manifest\.json is missing"):
        files.read_checked(tmp_path, "b")


# -- locks -----------------------------------------------------------------------------------------


def test_a_lock_names_its_holder(tmp_path: Path) -> None:
    (tmp_path / ".lock").write_bytes(b" 4194305999\n")  # of a holder that has ended
    with files.lock(tmp_path / ".lock"):
        with pytest.raises(VizdiffLockedError, match=rf"written by another process \({os.getpid()}\); wait") as caught:
            files.lock(tmp_path / ".lock").__enter__()
        assert caught.value.exit_code == 5
    with files.lock(tmp_path / ".lock"):
        pass


@pytest.mark.skipif(sys.platform == "win32", reason="flock is POSIX's")
@pytest.mark.parametrize(
    ("code", "kind"), [(errno.ENOLCK, VizdiffIOError), (errno.EIO, VizdiffIOError), (errno.EAGAIN, VizdiffLockedError)]
)
def test_only_a_lock_that_is_held_is_said_to_be(
    code: int, kind: type[Exception], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A file system that cannot lock is no other process."""
    import fcntl

    def refuse(*_: object) -> None:
        raise OSError(code, os.strerror(code))

    monkeypatch.setattr(fcntl, "flock", refuse)
    with pytest.raises(kind, match=r"\.lock: " if kind is VizdiffIOError else "another process"):
        files.lock(tmp_path / ".lock").__enter__()
