"""How this process was started: alone, or as one of several by torchrun, accelerate launch or srun.

Reads environment variables only. Imports no PyTorch, so that a command can ask before it loads anything.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import NamedTuple

from viz_diffusion.errors import VizdiffUsageError

_SETS = (
    ("RANK", "WORLD_SIZE", "LOCAL_RANK"),  # torchrun and accelerate launch
    ("SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"),  # srun; used where MASTER_ADDR is set
)


class Launch(NamedTuple):
    """The place of this process among those that were started together."""

    rank: int = 0
    """0 .. world_size-1. Process 0 writes, displays and evaluates."""
    world_size: int = 1
    """Number of processes."""
    local_rank: int = 0
    """Number of the process on its machine, and of the GPU that it takes."""

    @property
    def is_main(self) -> bool:
        """Whether this is process 0."""
        return self.rank == 0


def launched(environment: Mapping[str, str] | None = None) -> Launch:
    """Read how this process was started.

    The tasks of ``srun`` belong together only where ``MASTER_ADDR`` names the machine of task 0. Without it each task
    trains alone, since a Slurm job may as well run several trainings.

    Parameters
    ----------
    environment
        The environment variables; by default those of this process.

    Raises
    ------
    VizdiffUsageError
        Where the variables contradict each other, or ``MASTER_ADDR`` is missing.
    """
    values = os.environ if environment is None else environment
    has_address = bool(values.get("MASTER_ADDR"))
    for names in _SETS[: 1 + has_address]:
        if names[0] in values and names[1] in values:
            launch = Launch(*(_whole(values, name) for name in names))
            if not launch.rank < launch.world_size:
                raise VizdiffUsageError(
                    f"{names[0]} must be below {names[1]}, which is {launch.world_size}, found {launch.rank}; "
                    "start the processes with torchrun or srun"
                )
            if launch.world_size > 1 and not has_address:
                raise VizdiffUsageError(
                    f"{names[1]} is {launch.world_size}, but MASTER_ADDR is not set; start the processes with "
                    "torchrun, or set it to the name of the first machine"
                )
            return launch
    return Launch()


def _whole(values: Mapping[str, str], name: str) -> int:
    found = values.get(name, "0")
    if not (found.isascii() and found.isdecimal()):
        raise VizdiffUsageError(f"{name} must be a whole number, found {found!r}; start the processes with torchrun")
    return int(found)
