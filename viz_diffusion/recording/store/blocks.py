"""A store of many samples that is filled block by block, by one worker or by several at once.

A block is one chunk of samples of every array. Each worker writes whole blocks, makes a mark for each that is written,
and needs no other worker to be alive; whoever finds all marks completes the store. So the files are the same for any
number of workers, and after any end of any of them. It knows nothing about networks or samplers.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.files import damage_named, parse_json, read_json, sha256_bytes, to_json
from viz_diffusion.recording.store.layout import SCHEMA_VERSION, SUMS, from_attributes, to_attributes
from viz_diffusion.recording.store.metadata_sums import sealed
from viz_diffusion.recording.store.places import StorePlace

MARKS = "seeds/blocks"
"""Where the marks lie: inside an array, in whose folder zarr looks for nothing but chunks."""
ROOT_HASH = "root_sha256"
"""The root's attribute with one hash of all chunks."""
_OF_A_BLOCK = ("recorded", "sha256", "status", "metadata_sha256")
"""Attributes of a block's own store that do not hold for the whole."""
_FREE = ("threads",)
"""Entries of a plan that a worker takes from the store in place of its own."""


@dataclass(frozen=True, eq=False)
class BlockPlan:
    """What a store is to hold: a worker joins a store only where both have the same plan."""

    count: int
    """Samples."""
    block: int
    """Samples in one block; the last block may be filled up."""
    facts: Mapping[str, Any]
    """JSON values by name: what the samples are made of, and how."""

    @property
    def num_blocks(self) -> int:
        """Number of blocks."""
        return -(-self.count // self.block)

    def as_json(self) -> dict[str, Any]:
        """Return the plan as the store keeps it."""
        return {"count": self.count, "block": self.block, **self.facts}


class BlockStore:
    """A store that is filled block by block; see the module.

    Parameters
    ----------
    place
        Where it is, or will be.
    plan
        What it is to hold.
    """

    def __init__(self, place: StorePlace, plan: BlockPlan) -> None:
        self.place, self.plan = place, plan
        self._digest = ""

    def begin(self, *, join: bool, replace: bool = False) -> dict[str, Any]:
        """Begin the store, or join the one that is there; return its plan.

        Parameters
        ----------
        join
            Whether to go on with one that is there and has the same plan.
        replace
            Whether to remove the recording that is there first, also one that was not made in blocks.

        Raises
        ------
        VizdiffInputError
            Where there is something else, a store of another plan, or one that is not to be joined.
        """
        if replace and _attributes(self.place) is not None:
            self.place.remove()
        begun = read_plan(self.place) is None and self._write_root()
        found = read_plan(self.place) or {}
        wanted = json.loads(to_json(self.plan.as_json()))
        for name in sorted({*found, *wanted} - {*_FREE}):
            if found.get(name) != wanted.get(name):
                raise VizdiffInputError(
                    f"{self.place.name} holds something else: its {name} is {_short(found.get(name))}, not "
                    f"{_short(wanted.get(name))}; choose another `out`, or replace it with `force`"
                )
        if not begun and not join:
            raise VizdiffInputError(
                f"{self.place.name} exists, with {self.num_marked:,} of {self.plan.num_blocks:,} blocks; `resume` "
                "makes what is missing, `force` makes everything anew"
            )
        self._digest = sha256_bytes(to_json(found).encode())
        self.place.sweep()
        return found

    @property
    def num_marked(self) -> int:
        """Number of blocks that have a mark."""
        return len(self.place.names(MARKS) & {_mark(k) for k in range(self.plan.num_blocks)})

    def missing(self, blocks: Iterable[int], *, check: bool = False) -> list[int]:
        """Return which of some blocks are missing; with ``check``, also those whose files are not what was written."""
        marked = self.place.names(MARKS)
        return [k for k in blocks if _mark(k) not in marked or (check and not self._is_whole(k))]

    def put(self, k: int, folder: Path, facts: Mapping[str, Any] | None = None) -> None:
        """Move block k into the store.

        Parameters
        ----------
        folder
            A complete store, by a StoreWriter, that holds this block only; it is empty afterwards.
        facts
            JSON values that the block's mark keeps.
        """
        root = read_json(folder / "zarr.json")
        attributes = from_attributes(root["attributes"])
        arrays, sums = {}, {}
        for name in sorted(attributes["sha256"]):
            meta = read_json(folder / name / "zarr.json")
            by_sample = next(iter(meta["dimension_names"]), "") == "sample"
            if by_sample:
                meta["shape"][0] = self.plan.count
            for line in (folder / name / SUMS).read_text().splitlines():
                digest, key = line.split("  ", 1)
                number = f"c.{k}" + key.removeprefix("c.0") if by_sample else key
                self.place.take(folder / name / key, f"{name}/{number}")
                sums[f"{name}/{number}"] = digest
            arrays[name] = meta
        groups = {path.parent.relative_to(folder).as_posix() for path in folder.rglob("zarr.json")} - {".", *arrays}
        mark = {
            "plan": self._digest,
            "arrays": arrays,
            "groups": sorted(groups),
            "attributes": {name: value for name, value in attributes.items() if name not in _OF_A_BLOCK},
            "facts": dict(facts or {}),
            "sums": sums,
        }
        self.place.write(f"{MARKS}/{_mark(k)}", to_json(mark).encode())

    def facts(self) -> Iterator[tuple[int, dict[str, Any]]]:
        """Yield each block's number and the facts that its mark keeps, in order."""
        for k in range(self.plan.num_blocks):
            yield k, self._read_mark(k)["facts"]

    def finish(self, **attributes: Any) -> str | None:
        """Complete the store where no block is missing; return its root hash, None where some are.

        The root hash is the SHA-256 of the lines ``SHA256 of SHA256SUMS  array``, sorted by array; each SHA256SUMS
        has its array's chunks in order. Several workers may complete a store: all write the same bytes.

        Raises
        ------
        VizdiffInputError
            Where blocks do not have the same arrays.
        """
        if self.missing(range(self.plan.num_blocks)):
            return None
        first, sums = self._read_mark(0), self._gathered()
        digests = {name: sha256_bytes(data) for name, data in sums.items()}
        root_hash = hashlib.sha256("".join(f"{digests[name]}  {name}\n" for name in sums).encode()).hexdigest()
        for name, data in sums.items():
            self.place.write(f"{name}/{SUMS}", data, sync=True)
            self.place.write(f"{name}/zarr.json", to_json(first["arrays"][name]).encode(), sync=True)
        for name in first["groups"]:
            group = {"zarr_format": 3, "node_type": "group", "attributes": {}}
            self.place.write(f"{name}/zarr.json", to_json(group).encode(), sync=True)
        facts = {
            **first["attributes"],
            **attributes,
            "recorded": self._recorded(self.plan.count, first["arrays"]),
            "plan": read_plan(self.place),
            "status": "complete",
            "sha256": digests,
            ROOT_HASH: root_hash,
        }
        root = {"zarr_format": 3, "node_type": "group", "attributes": to_attributes(facts)}
        data = to_json(sealed(root, first["arrays"].__getitem__, sorted(digests))).encode()
        self.place.write("zarr.json", data, sync=True)
        return root_hash

    def _gathered(self) -> dict[str, bytes]:
        """Return each array's SHA256SUMS, by name, sorted: its chunks in the order of the blocks."""
        first = self._read_mark(0)
        lines: dict[str, list[str]] = {name: [] for name in sorted(first["arrays"])}
        shared: dict[str, str] = {}  # chunks that every block has, such as those of the timesteps
        for k in range(self.plan.num_blocks):
            mark = self._read_mark(k)
            same = (mark["arrays"], mark["attributes"]) == (first["arrays"], first["attributes"])
            for key, digest in mark["sums"].items():
                name, _, chunk = key.rpartition("/")
                if key not in shared:
                    lines[name].append(f"{digest}  {chunk}\n")
                if first["arrays"][name]["dimension_names"][:1] != ["sample"]:
                    same = same and shared.setdefault(key, digest) == digest
            if not same:
                raise VizdiffInputError(f"{self.place.name}: block {k} does not fit block 0; begin the store anew")
        return {name: "".join(text).encode() for name, text in lines.items()}

    def _recorded(self, samples: int, arrays: Mapping[str, Any] | None = None) -> dict[str, int]:
        steps = arrays["timesteps"]["shape"][0] if arrays and "timesteps" in arrays else 0
        aim = {"aim_samples": self.plan.count, "aim_steps": steps or self.plan.facts.get("steps") or 0}
        return {"samples": samples, "steps": steps, "begun_samples": 0, "begun_steps": 0, **aim}

    def _write_root(self) -> bool:
        """Write the root of a new store; return False where another worker was first."""
        others = sorted(name for name in self.place.names("") if not name.startswith("."))
        if others and self.place.read("zarr.json") is None:
            raise VizdiffInputError(f"{self.place.name} holds other things ({others[0]}); choose another `out`")
        facts = {
            "schema_version": SCHEMA_VERSION,
            "status": "recording",
            "recorded": self._recorded(0),
            "plan": self.plan.as_json(),
        }
        root = {"zarr_format": 3, "node_type": "group", "attributes": to_attributes(facts)}
        return self.place.create("zarr.json", to_json(sealed(root, lambda _: {}, ())).encode())

    def _read_mark(self, k: int) -> dict[str, Any]:
        name = f"{MARKS}/{_mark(k)}"
        data = self.place.read(name)
        with damage_named(f"{self.place.name}/{name}", "`resume` makes the block again"):
            mark = parse_json(b"" if data is None else data)
            if mark["plan"] != self._digest:
                raise VizdiffInputError(
                    f"{self.place.name}: block {k} was made by another plan; `resume` makes it again"
                )
            return dict(mark)

    def _is_whole(self, k: int) -> bool:
        """Return whether every file of a block is what was written."""
        try:
            sums = self._read_mark(k)["sums"]
        except VizdiffInputError:
            return False
        return all(
            (data := self.place.read(key)) is not None and sha256_bytes(data) == digest for key, digest in sums.items()
        )


def read_plan(place: StorePlace) -> dict[str, Any] | None:
    """Return the plan of the store at a place; None where there is nothing.

    Raises
    ------
    VizdiffInputError
        Where there is something else, or a store without a plan.
    """
    attributes = _attributes(place)
    if attributes is None:
        return None
    plan = attributes.get("plan")
    if not isinstance(plan, dict):
        raise VizdiffInputError(
            f"{place.name} is a recording that was not made in blocks; `force` replaces it, another `out` keeps it"
        )
    return plan


def _attributes(place: StorePlace) -> dict[str, Any] | None:
    """Return the attributes of the store at a place; None where there is nothing.

    Raises
    ------
    VizdiffInputError
        Where there is something else: it is never replaced.
    """
    data = place.read("zarr.json")
    if data is None:
        return None
    with damage_named(f"{place.name}/zarr.json", "choose another `out`"):
        attributes = from_attributes(parse_json(data)["attributes"])
    if "schema_version" not in attributes:
        raise VizdiffInputError(f"{place.name} is no recording of this program; choose another `out`")
    return attributes


def is_in_blocks(folder: Path) -> bool:
    """Return whether a folder is a store that was made in blocks; False for whatever else is there."""
    try:
        return read_plan(StorePlace(folder)) is not None
    except VizdiffInputError:
        return False


def _mark(k: int) -> str:
    return f"{k:06d}.json"


def _short(value: Any) -> str:
    text = to_json(value)
    return text if len(text) <= 40 else f"{text[:39]}…"
