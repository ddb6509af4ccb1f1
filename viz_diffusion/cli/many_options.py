"""Options for many images: seeds, several workers, and going on with a store."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

from viz_diffusion.cli.option_groups import MANY, OptionGroup, option
from viz_diffusion.cli.options import check_at_least, check_seed
from viz_diffusion.errors import VizdiffUsageError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray


@dataclass(frozen=True)
class ManyOptions:
    """The options as a command line gives them; None where one is not given."""

    seeds: str | None = None
    """A list of seeds, such as ``0-49999``."""
    shard: str | None = None
    """Which worker of how many this is: ``i/n``."""
    resume: bool = False
    """Whether to go on with a store that is there."""
    batch_size: int | None = None
    """Images of one batch of the network."""
    export: Path | None = None
    """File for another program's evaluator."""

    @property
    def given(self) -> list[str]:
        """The names of those that are given."""
        return [field.name for field in fields(self) if getattr(self, field.name) not in (None, False)]

    def refuse(self, needs: str) -> None:
        """Refuse the options that are given, since they need something else."""
        if self.given:
            raise VizdiffUsageError(f"`{self.given[0]}` {needs}")

    def chosen_seeds(self, seed: int, default_seed: int, count: int | None, default_count: int) -> NDArray[np.int64]:
        """Return the seeds of all images, (N,) int64.

        Raises
        ------
        VizdiffUsageError
            Where they contradict ``--count`` or ``--seed``.
        """
        import numpy as np

        from viz_diffusion.recording.many.images import MOST, read_seeds

        if self.seeds is None:
            number = default_count if count is None else count
            check_at_least("--count", number, 1)
            if number > MOST:
                raise VizdiffUsageError(f"--count must be at most {MOST:,}, found {number:,}; make several stores")
            check_seed(seed, number)
            return np.arange(seed, seed + number, dtype=np.int64)
        seeds = read_seeds(self.seeds)
        if seed != default_seed:
            raise VizdiffUsageError("--seed and --seeds exclude each other; give one")
        if count not in (None, len(seeds)):
            raise VizdiffUsageError(f"--count {count} contradicts --seeds, which are {len(seeds):,}; leave one out")
        return seeds


def many_options(*, samples: bool) -> OptionGroup:
    """Return the options, which a command gets as :class:`ManyOptions`; ``samples``: with those of finished images."""
    own = [
        option("--seeds", str, "Seeds of the images, such as 0-49999 or 0-9,12.", metavar="LIST", heading=MANY),
        option(
            "--shard",
            str,
            "Make only part i of n of the store, i = 0 to n-1, as in a Slurm array; torchrun needs no option.",
            metavar="I/N",
            heading=MANY,
        ),
        option("--resume", bool, "Check the store that is there, and make what is missing or damaged.", heading=MANY),
    ]
    if samples:
        own += [
            option(
                "--batch-size",
                int,
                "Images of one batch of the network; another size changes images by rounding.",
                default="20",
                heading=MANY,
            ),
            option(
                "--export",
                Path,
                "File to write for other evaluators once the store is complete: .npz (arr_0, uint8, NHWC; ADM) or "
                ".zip of PNG files (EDM2).",
                heading=MANY,
            ),
        ]

    def build(**values: Any) -> ManyOptions:
        values["resume"] = bool(values["resume"])
        if values.get("batch_size") is not None:
            check_at_least("--batch-size", values["batch_size"], 1)
        return ManyOptions(**values)

    return OptionGroup(tuple(own), build)


MANY_SAMPLES, MANY_TRAJECTORIES = many_options(samples=True), many_options(samples=False)
