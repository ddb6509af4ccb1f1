"""Many samples and trajectories: memory, time, root hashes and estimates, each row measured in processes of its own.

    python benchmarks/many.py                    # a tiny network, about 10 minutes on one core: every row but the last
    python benchmarks/many.py --row memory       # or hashes, flat, estimate, statistics; s3 needs moto and s3fs
    python benchmarks/many.py --row bundled      # 2,000 digits by DDIM 50 and the bundled weights, and 50,000 from them

Prints one row a line. The times of rows flat, estimate and bundled count only on a quiet machine.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

COUNTS = (100, 1000, 10_000)
STEPS, KILLS = 10, 10


def fill_one(kind: str, count: int, where: str, shard: str) -> dict[str, Any]:
    """Fill a store with a tiny network in this process; return what it took."""
    import torch

    from viz_diffusion.diffusion.sampler_config import SamplerConfig
    from viz_diffusion.diffusion.schedule import NoiseSchedule
    from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
    from viz_diffusion.launch import Launch
    from viz_diffusion.recording.many.filling import estimate_seconds, fill, own_missing
    from viz_diffusion.recording.many.images import Images, read_seeds
    from viz_diffusion.recording.many.samples import SampleMaker
    from viz_diffusion.recording.many.trajectories import TrajectoryMaker
    from viz_diffusion.recording.many.workers import find_worker
    from viz_diffusion.recording.store.blocks import BlockPlan, BlockStore
    from viz_diffusion.recording.store.places import StorePlace

    torch.set_num_threads(1)
    torch.manual_seed(0)
    network = SimpleUNet(ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2)).eval()
    network.requires_grad_(False)
    make = {"samples": SampleMaker, "trajectories": TrajectoryMaker}[kind]
    images = Images(read_seeds(f"0-{count - 1}"), list(range(10)))
    maker = make(network, NoiseSchedule.named("linear"), SamplerConfig("ddim", STEPS), images, (1, 28, 28))
    plan = BlockPlan(count, maker.block, {"kind": kind, "threads": 1, **images.facts()})
    store = BlockStore(StorePlace(where), plan)
    store.begin(join=True)
    todo = own_missing(store, find_worker(shard, Launch()), check=True)
    expected = sum(map(maker.num_runs, todo)) * estimate_seconds(maker.run, STEPS) if todo else 0.0
    begun = time.perf_counter()
    fill(store, todo, maker.make, lambda _: None)
    seconds = time.perf_counter() - begun
    return {
        "root": store.finish(),
        "seconds": seconds,
        "seconds_estimate": expected,
        "bytes_estimate": maker.num_bytes(plan.num_blocks),
        "peak_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024,
    }


def read_one(where: str) -> dict[str, Any]:
    """Compute statistics over a store of trajectories in this process; return its peak memory."""
    from viz_diffusion.recording.many.statistics import trajectory_statistics
    from viz_diffusion.recording.many.trajectories import TrajectoryStore

    begun = time.perf_counter()
    found = trajectory_statistics(TrajectoryStore(where))
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"count": found.count, "seconds": time.perf_counter() - begun, "peak_mib": peak}


def started(*words: object) -> subprocess.Popen[str]:
    """Start this file in a process of its own, with one thread."""
    command = [sys.executable, __file__, *map(str, words)]
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "OMP_NUM_THREADS": "1"})


def result(process: subprocess.Popen[str]) -> dict[str, Any]:
    """Return what a process of this file says."""
    said, _ = process.communicate()
    if process.returncode:
        raise SystemExit(f"a process of this benchmark ended with {process.returncode}")
    return dict(json.loads(said))


def show(name: str, found: object, reach: str = "") -> None:
    """Print one row."""
    print(f"{name:58} {found!s:42} {reach}", flush=True)


def memory(folder: Path) -> None:
    """Print the extra memory of many samples and trajectories."""
    for kind in ("samples", "trajectories"):
        peaks = {n: result(started("--fill", kind, n, folder / f"{kind}-{n}.zarr"))["peak_mib"] for n in (100, 10_000)}
        words = f"{peaks[10_000] - peaks[100]:+.1f} MiB ({peaks[100]:.0f} MiB at 100)"
        show(f"extra resident memory, {kind}, T = {STEPS}, 10,000 over 100", words, "at most 50 MiB")


def hashes(folder: Path) -> None:
    """Print how many different root hashes workers and kills leave."""
    for kind, count in (("samples", 1000), ("trajectories", 300)):
        roots = set()
        for workers in (1, 2, 3, 8):
            where = folder / f"{kind}-by-{workers}.zarr"
            processes = [started("--fill", kind, count, where, f"{i}/{workers}") for i in range(workers)]
            roots.add(next(filter(None, [result(one)["root"] for one in processes])))
        draw, where, killed = random.Random(1), folder / f"{kind}-killed.zarr", 0
        for _ in range(KILLS):
            process = started("--fill", kind, count, where)
            begun = len(list(where.glob("seeds/blocks/*")))
            while process.poll() is None and len(list(where.glob("seeds/blocks/*"))) < begun + 1:
                time.sleep(0.02)
            time.sleep(draw.uniform(0, 0.3))
            if process.poll() is None:
                process.send_signal(signal.SIGKILL)
                killed += 1
            process.communicate()
        roots.add(result(started("--fill", kind, count, where))["root"])
        words = f"{len(roots)} ({next(iter(roots))[:12]}…), {killed} kills"
        show(f"root hashes, {kind}, by 1, 2, 3, 8 workers and after kills", words, "one")


def flat(folder: Path) -> None:
    """Print the time of one sample as their number grows."""
    for kind in ("samples", "trajectories"):
        times = {n: result(started("--fill", kind, n, folder / f"{kind}-flat-{n}.zarr"))["seconds"] / n for n in COUNTS}
        words = ", ".join(f"{1000 * seconds:.2f}" for seconds in times.values())
        show(f"ms per sample, {kind}, at {', '.join(map(str, COUNTS))}", words, "flat within 10%")


def estimate(folder: Path) -> None:
    """Print how far the estimates of bytes and seconds are from what a store took."""
    for kind in ("samples", "trajectories"):
        where = folder / f"{kind}-estimate.zarr"
        found = result(started("--fill", kind, 2000, where))
        taken = sum(path.stat().st_size for path in where.rglob("*") if path.is_file())
        show(f"estimated bytes, {kind}", f"{found['bytes_estimate'] / taken - 1:+.2%} of {taken:,}", "within 5%")
        share = found["seconds_estimate"] / found["seconds"] - 1
        show(f"estimated seconds, {kind}", f"{share:+.1%} of {found['seconds']:.1f}", "within 20%")


def statistics(folder: Path) -> None:
    """Print the extra memory of statistics over many trajectories."""
    peaks = []
    for count in (100, 10_000):
        where = folder / f"trajectories-{count}.zarr"
        result(started("--fill", "trajectories", count, where))
        peaks.append(result(started("--read", where))["peak_mib"])
    words = f"{peaks[1] - peaks[0]:+.1f} MiB ({peaks[0]:.0f} MiB at 100)"
    show("extra resident memory, statistics, 10,000 over 100", words, "at most 50 MiB")


def bundled(folder: Path) -> None:
    """Print the time of 2,000 digits by the bundled weights, and of 50,000 at that pace."""
    command = [
        sys.executable,
        "-m",
        "viz_diffusion",
        "sample",
        "--run",
        "bundled",
        "--sampler",
        "ddim",
        "--steps",
        "50",
    ]
    command += ["--guidance", "1", "--seeds", "0-1999", "--out", str(folder / "bundled.zarr"), "--json", "--quiet"]
    found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
    seconds = found["sampling_seconds"]
    show("2,000 digits, DDIM 50, bundled weights", f"{seconds:.0f} s, estimated {found['seconds_estimate']:.0f} s")
    show("50,000 digits at that pace", f"{25 * seconds / 3600:.2f} hours")


def s3(folder: Path) -> None:
    """Print whether a store on a local S3 server is that on disk; needs ``pip install moto[server] s3fs``."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(port=0)
    server.start()
    host, port = server.get_host_and_port()
    keys = {"AWS_ACCESS_KEY_ID": "a", "AWS_SECRET_ACCESS_KEY": "b", "AWS_DEFAULT_REGION": "us-east-1"}
    os.environ.update(keys, AWS_ENDPOINT_URL=f"http://{host}:{port}")
    boto3.client("s3").create_bucket(Bucket="many")
    for kind in ("samples", "trajectories"):
        where = f"s3://many/{kind}.zarr"
        parts = [result(started("--fill", kind, 200, where, f"{i}/2")) for i in range(2)]
        local = result(started("--fill", kind, 200, folder / f"{kind}.zarr"))
        read = f", {result(started('--read', where))['count']} read" if kind == "trajectories" else ""
        words = f"{'equal' if parts[1]['root'] == local['root'] else 'different'} root hashes{read}"
        show(f"two workers on S3 (moto) and one on disk, {kind}", words, "equal")
    server.stop()


ROWS: dict[str, Callable[[Path], None]] = {
    "memory": memory,
    "hashes": hashes,
    "flat": flat,
    "estimate": estimate,
    "statistics": statistics,
}
OTHERS = {"s3": s3, "bundled": bundled}
"""Rows that are only measured where they are asked for."""


def main() -> None:
    """Measure the rows, or be one of their processes."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--row", choices=[*ROWS, *OTHERS])
    parser.add_argument("--fill", nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--read", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.fill:
        kind, count, where, *shard = given.fill
        print(json.dumps(fill_one(kind, int(count), where, shard[0] if shard else "0/1")))
    elif given.read:
        print(json.dumps(read_one(given.read)))
    else:
        for name, row in {**ROWS, **OTHERS}.items():
            if given.row == name or (given.row is None and name in ROWS):
                with tempfile.TemporaryDirectory() as folder:
                    row(Path(folder))


if __name__ == "__main__":
    main()
