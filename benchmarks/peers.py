"""How good after how long? Ours beside what a user would train instead, on this machine.

    pip install -e '.[bench]'
    python benchmarks/peers.py rate               # quiet machine, about 8 minutes: images/s of every arm, interleaved
    python benchmarks/peers.py train ours         # one run for each of 2, 5, 10 and 20 minutes
    python benchmarks/peers.py train course       # snapshots at 2, 5, 10, 20 and 60 minutes
    python benchmarks/peers.py train guidance
    python benchmarks/peers.py judge [ARM …]      # 500 samples of each snapshot, accuracy and FID-MNIST
    python benchmarks/peers.py draw               # benchmarks/PEERS.md, PEERS.json and images/peers.png

How many images an arm may train on in m minutes is decided by ``rate`` alone, in one run in which all arms take
turns; so ``train`` may run beside other work, be killed at any time, and go on when called again. What is already
trained or judged is not done again. ``train guidance-fast`` is optional: the same peer at a learning rate of 1e-3.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import time
from pathlib import Path
from typing import Any

import torch
from peers_arms import ARMS, Arm, Way, fresh, our_config, sample_ours, sample_peer, training_steps
from peers_report import write_report

from viz_diffusion.data import Digits, load_digits
from viz_diffusion.errors import VizdiffError, VizdiffInputError, VizdiffUsageError
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.evaluation.evaluate import evaluate
from viz_diffusion.files import lock, make_dir, read_json, sha256_file, write_json
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.loop import TrainState
from viz_diffusion.training.run import Run
from viz_diffusion.training.trainer import Trainer

HERE = Path(__file__).parent
COUNT = 500
WARM_STEPS = 2
SAVE_SECONDS = 60.0
CHECKPOINT_STEPS = 200


def main() -> None:
    """Parse, and do one part."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=HERE / "peers-work", help="folder of everything that is kept")
    parser.add_argument("--threads", type=int, default=os.cpu_count(), help="of PyTorch")
    parts = parser.add_subparsers(dest="part", required=True)
    rating = parts.add_parser("rate", help="measure training images/s of all arms in turns")
    rating.add_argument("--rounds", type=int, default=3)
    rating.add_argument("--seconds", type=float, default=20.0, help="for each arm, format and round")
    training = parts.add_parser("train", help="train one arm, or go on with it")
    training.add_argument("arm", choices=ARMS)
    judging = parts.add_parser("judge", help="judge every snapshot that is not judged yet")
    judging.add_argument("arms", nargs="*", metavar="ARM", help=f"{', '.join(ARMS)}; all by default")
    judging.add_argument("--minutes", type=float, nargs="*", help="only these marks")
    parts.add_parser("draw", help="write table, numbers and picture")
    options = parser.parse_args()
    torch.set_num_threads(options.threads)
    work = make_dir(options.work)
    try:
        if options.part == "rate":
            rate(work, options.rounds, options.seconds)
        elif options.part == "train":
            with lock(make_dir(work / options.arm) / ".lock"):
                train_arm(ARMS[options.arm], work)
        elif options.part == "judge":
            judge(work, options.arms or list(ARMS), options.minutes)
        else:
            write_report(read_json(work / "rate.json"), read_json(work / "judged.json"), HERE)
    except VizdiffError as error:
        parser.exit(error.exit_code, f"peers.py: {error}\n")


# -- how fast ----------------------------------------------------------------------------------------


def rate(work: Path, rounds: int, seconds: float) -> None:
    """Let every arm train in both formats in turns; write every round, and the faster format's median."""
    data = load_digits("train")
    kinds = [
        (arm, precision)
        for arm in ARMS.values()
        for precision in ("float32", "bfloat16")
        if arm.name != "guidance-fast"
    ]
    arms = {f"{arm.name} {precision}": training_steps(arm, data, precision) for arm, precision in kinds}
    found: dict[str, list[float]] = {name: [] for name in arms}
    load = []
    for number in range(rounds):
        for name, steps in arms.items():
            found[name].append(images_per_second(steps, seconds))
            load.append(os.getloadavg()[0])
            print(f"round {number + 1}  {name:<20}{found[name][-1]:8.1f} images/s", flush=True)
    medians = {name: statistics.median(speeds) for name, speeds in found.items()}
    chosen = {}
    for arm in ARMS:
        measured = "guidance" if arm == "guidance-fast" else arm  # the learning rate costs nothing
        precision = max(("float32", "bfloat16"), key=lambda kind: medians[f"{measured} {kind}"])
        chosen[arm] = {"precision": precision, "images_per_second": medians[f"{measured} {precision}"]}
    write_json(
        work / "rate.json",
        {
            "rounds": found,
            "seconds": seconds,
            "chosen": chosen,
            "threads": torch.get_num_threads(),
            "load_1min": load,
            "torch": torch.__version__,
            "machine": machine(),
            "date": time.strftime("%Y-%m-%d"),
        },
    )


def images_per_second(steps: Any, seconds: float) -> float:
    """Return the speed over ``seconds`` or a little more, after two steps that only warm up."""
    for _ in range(WARM_STEPS):
        next(steps)
    begun, images = time.perf_counter(), 0
    while time.perf_counter() - begun < seconds:
        images += next(steps)
    return images / (time.perf_counter() - begun)


def machine() -> dict[str, Any]:
    """Return what decides the speed: cores, processor, and which vector instructions it has."""
    found: dict[str, Any] = {"cpus": os.cpu_count(), "machine": platform.machine()}
    described = Path("/proc/cpuinfo")
    if described.is_file():
        entries = dict(line.split(":", 1) for line in described.read_text().splitlines() if ":" in line)
        entries = {name.strip(): value.strip() for name, value in entries.items()}
        flags = set(entries.get("flags", "").split())
        found["model"] = entries.get("model name", "")
        found["flags"] = sorted(flag for flag in flags if flag.startswith(("avx", "amx", "fma")))
    return found


# -- how good ----------------------------------------------------------------------------------------


def budget(work: Path, arm: Arm, minutes: float, batch_size: int) -> tuple[int, str]:
    """Return how many steps the arm makes in so many minutes by its measured rate, and the number format."""
    if not (work / "rate.json").is_file():
        raise VizdiffInputError(f"{work / 'rate.json'} is missing; measure first: python benchmarks/peers.py rate")
    chosen = read_json(work / "rate.json")["chosen"][arm.name]
    return max(1, round(minutes * 60 * chosen["images_per_second"] / batch_size)), chosen["precision"]


def train_arm(arm: Arm, work: Path) -> None:
    """Train an arm to its last mark, from wherever it stands."""
    if arm.make is None:
        for minutes in arm.minutes:
            train_ours(arm, work, minutes)
    else:
        train_peer(arm, work)


def train_ours(arm: Arm, work: Path, minutes: float) -> None:
    """Train a run of its own for one mark, since our learning rate falls to 0 at the end of a run."""
    batch_size = our_config(1, "float32")[1].batch_size
    steps, precision = budget(work, arm, minutes, batch_size)
    path = snapshot(work, arm, minutes)
    data, heldout = load_digits("train"), load_digits("test")
    if (path / "config.json").is_file():
        run = Run.open(path)
        if run.is_finished:
            return
        model, training = run.config.model, run.config.training
        resumed = run.resume() if run.checkpoints() else None
    else:
        model, training = our_config(steps, precision)
        run, resumed = Run.create(path, RunConfig(model, training, preset="small")), None
    state = TrainState.create(training, model) if resumed is None else resumed.state
    kept = 0 if resumed is None else resumed.metrics_bytes
    trainer = Trainer(run, state, data, heldout, checkpoint_every=CHECKPOINT_STEPS, metrics_bytes=kept)
    for now in trainer.run():
        if now.step % CHECKPOINT_STEPS == 0:
            print(f"ours, {minutes:g} minutes: step {now.step:,} of {training.steps:,}", flush=True)


def train_peer(arm: Arm, work: Path) -> None:
    """Train a peer on and on, keeping a snapshot at each mark and its state every minute."""
    peer, data, current = fresh(arm), load_digits("train"), work / arm.name / "current.safetensors"
    marks = {budget(work, arm, minutes, peer.batch_size)[0]: minutes for minutes in arm.minutes}
    precision = budget(work, arm, 1, peer.batch_size)[1]
    if current.is_file():
        peer.load(current)
    saved = time.monotonic()
    while True:
        if peer.step in marks and not snapshot(work, arm, marks[peer.step]).is_file():
            peer.save(snapshot(work, arm, marks[peer.step]))
        finished = peer.step >= max(marks)
        if finished or time.monotonic() - saved > SAVE_SECONDS:
            peer.save(current)
            saved = time.monotonic()
            print(f"{arm.name}: step {peer.step:,} of {max(marks):,}", flush=True)
        if finished:
            return
        peer.train_step(data, precision)


def snapshot(work: Path, arm: Arm, minutes: float) -> Path:
    """Return where the state after so many minutes is kept: a run folder for ours, a file for a peer."""
    name = f"{minutes:g}-minutes"
    return work / arm.name / (name if arm.make is None else f"{name}.safetensors")


def judge(work: Path, arms: list[str], marks: list[float] | None) -> None:
    """Draw and judge samples of every snapshot in every way; keep each result as soon as it is there."""
    if unknown := set(arms) - set(ARMS):
        raise VizdiffUsageError(f"there is no arm {unknown.pop()!r}; choose from {', '.join(ARMS)}")
    path = work / "judged.json"
    judged = read_json(path) if path.is_file() else {}
    training, test = load_digits("train"), load_digits("test")
    reader = DigitClassifier.bundled()[1]
    for arm in map(ARMS.__getitem__, arms):
        for minutes in arm.minutes if marks is None else set(arm.minutes) & set(marks):
            kept = snapshot(work, arm, minutes)
            weights = kept / "model.safetensors" if arm.make is None else kept
            if not weights.is_file():
                continue
            digest = sha256_file(weights)
            for way in arm.ways:
                key = f"{arm.name} {minutes:g} {way.name}"
                known = judged.get(key, {})
                if (known.get("sha256"), known.get("classifier_sha256")) == (digest, reader):
                    continue
                found = judge_one(arm, kept, way, training, test)
                judged[key] = {
                    "arm": arm.name,
                    "minutes": minutes,
                    "way": way.name,
                    "guidance_scale": way.guidance,
                    "sha256": digest,
                    **found,
                }
                write_json(path, judged)
                print(f"{key:<28}{found['hits']} of {COUNT} as asked, FID-MNIST {found['frechet']:.2f}", flush=True)


def judge_one(arm: Arm, kept: Path, way: Way, training: Digits, test: Digits) -> dict[str, Any]:
    """Return what 500 samples, as many of each digit, reach; and the floor that real digits set."""
    labels = torch.arange(COUNT) % 10
    if arm.make is None:
        run = Run.open(kept)
        images = sample_ours(run.load_model()[0], run.config.noise_schedule, labels, way)
        step = run.config.training.steps
        batch_size = run.config.training.batch_size
    else:
        peer = fresh(arm)
        peer.load(kept)
        images, step, batch_size = sample_peer(peer, labels, way), peer.step, peer.batch_size
    found = evaluate(images, labels, training, test)
    return {
        "count": COUNT,
        "hits": found.samples.accuracy.hits,
        "interval_95": found.samples.accuracy.interval,
        "frechet": found.samples.frechet,
        "floor": found.real.frechet,
        "recall": found.samples.recall,
        "classifier_sha256": found.classifier_sha256,
        "step": step,
        "images": step * batch_size,
    }


if __name__ == "__main__":
    main()
