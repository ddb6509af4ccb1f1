"""Mutations of files: cut, flipped, inserted, deleted and spliced, most of them at the beginning and the end."""

from __future__ import annotations

import random
from collections.abc import Iterator


def mutants(data: bytes, count: int, seed: int = 0) -> Iterator[bytes]:
    """Yield ``count`` mutants of ``data``, each with one to eight changes; never ``data`` itself."""
    rng = random.Random(seed)
    made = 0
    while made < count:
        mutant = bytearray(data)
        for _ in range(rng.randint(1, 8)):
            _change(mutant, data, rng)
        if bytes(mutant) != data:
            made += 1
            yield bytes(mutant)


def _change(mutant: bytearray, data: bytes, rng: random.Random) -> None:
    if not mutant:
        mutant += rng.randbytes(4)
        return
    place = rng.choice([_near_an_end(len(mutant), rng), rng.randrange(len(mutant))])
    kind = rng.randrange(5)
    if kind == 0:
        del mutant[place:]
    elif kind == 1:
        mutant[place] ^= 1 << rng.randrange(8)
    elif kind == 2:
        mutant[place:place] = rng.randbytes(rng.randint(1, 8))
    elif kind == 3:
        del mutant[place : place + rng.randint(1, 16)]
    else:
        begin = rng.randrange(len(data))
        part = data[begin : begin + rng.randint(1, 64)]
        mutant[place : place + len(part)] = part


def _near_an_end(length: int, rng: random.Random) -> int:
    return rng.randrange(min(length, 512)) if rng.random() < 0.7 else length - 1 - rng.randrange(min(length, 128))
