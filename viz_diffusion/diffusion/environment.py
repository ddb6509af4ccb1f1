"""What the last bits of a result depend on besides its inputs: PyTorch, device, threads, processor.

Sums are added up in another order on another processor, with other libraries, or in another number of threads.
"""

from __future__ import annotations

import platform
import re
from functools import lru_cache
from pathlib import Path

import torch


def environment(device: torch.device) -> dict[str, str | int]:
    """Return the version of PyTorch, the device, the number of threads and the processor, as JSON values by name."""
    values: dict[str, str | int] = {
        "torch": str(torch.__version__),
        "device": device.type,
        "threads": torch.get_num_threads(),
        "machine": f"{platform.system()} {platform.machine()} {torch.backends.cpu.get_cpu_capability()}",
        "processor": processor(),
    }
    return values | ({"gpu": torch.cuda.get_device_name(device)} if device.type == "cuda" else {})


@lru_cache(maxsize=1)
def processor() -> str:
    """Return the name of the processor, as far as the system gives it."""
    try:
        cpuinfo = Path("/proc/cpuinfo").read_text(encoding="utf-8", errors="replace")
    except OSError:
        cpuinfo = ""
    match = re.search(r"^model name\s*:\s*(.+)$", cpuinfo, re.MULTILINE)
    return match[1].strip() if match else platform.processor()
