"""Measure the live page in Chromium beside PyTorch, in one run, and print a table.

    python benchmarks/live.py [--rounds 10] [--out live.html]

Nothing else should run meanwhile. Times of the page and of PyTorch are taken in turns, so that both meet the same
machine; the smallest and the median are printed. It is a benchmark that prints figures, not a test that fails.
"""

from __future__ import annotations

import argparse
import base64
import os
import platform
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import torch
from playwright.sync_api import sync_playwright

from viz_diffusion.data import load_digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.live.network_data import network_data
from viz_diffusion.live.page import write_page
from viz_diffusion.text.catalogue import load_texts
from viz_diffusion.training.run import Run

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
BLOCK = 20
"""Evaluations measured at once."""
EVALUATE = """() => {
    const x = new NoiseStream(1, engine.denoiser.size).draw(0);
    return Array.from({ length: 20 }, (_, k) => {
        const begun = performance.now();
        engine.denoiser.forward(x, 500 + k, 5);
        return performance.now() - begun;
    });
}"""
GUIDED_RUN = """() => new Promise((done) => {
    lab.restart(Math.floor(performance.now()), 50, settings.first());
    const begun = performance.now();
    lab.finish();
    const finished = () => done(performance.now() - begun);
    const look = () => requestAnimationFrame(lab.isPlaying() ? look : finished);
    look();
})"""
TEN_LABELS = """() => {
    const x = new NoiseStream(1, engine.denoiser.size).draw(0);
    const begun = performance.now();
    engine.sampler.predictLabels(x, 999, { guidance: 1.5 });
    return performance.now() - begun;
}"""
FRAMES = "() => { window.frames_ = 0; const count = () => { frames_++; requestAnimationFrame(count); }; count(); }"
READY = """new MutationObserver(() => {
    if (document.documentElement.classList.contains("ready")) window.readyAfter ??= performance.now();
}).observe(document, { subtree: true, attributes: true, attributeFilter: ["class"] });"""
"""Notes when the page is ready, in milliseconds since its navigation began."""
PREDICTIONS = """(cases) => cases.map(([x, t, label]) => {
    const found = engine.denoiser.forward(new Float32Array(bytesOf(x).buffer), t, label);
    return base64Of(new Uint8Array(found.buffer));
})"""


def spread(values: list[float]) -> str:
    """Return the smallest and the median, in milliseconds."""
    return f"{min(values):.1f} / {statistics.median(values):.1f} ms"


def thread_time(client: Any) -> float:
    """Return the processor seconds that the page's thread has used."""
    metrics = client.send("Performance.getMetrics")["metrics"]
    return next(float(one["value"]) for one in metrics if one["name"] == "ThreadTime")


def pytorch_block(network: torch.nn.Module) -> list[float]:
    """Return the milliseconds of each of some evaluations of one image."""
    x, t, label, times = torch.randn(1, 1, 28, 28), torch.tensor([500]), torch.tensor([5]), []
    with torch.no_grad():
        for _ in range(BLOCK):
            begun = time.perf_counter()
            network(x, t, label)
            times.append(1000 * (time.perf_counter() - begun))
    return times


def largest_difference(page: Any, network: torch.nn.Module) -> tuple[float, float]:
    """Return the largest |Δε̂| to PyTorch at every third t, from t = 15 on and below."""
    schedule, digits = NoiseSchedule.named("linear"), load_digits("test")
    ts = torch.arange(999, -1, -3)
    labels = torch.tensor([(5, 3, 10)[k % 3] for k in range(len(ts))])
    noise = torch.randn((len(ts), 1, 28, 28), generator=torch.Generator().manual_seed(0))
    xs = schedule.add_noise(digits.images[: len(ts)], noise, ts)
    cases = [
        [base64.b64encode(x.numpy().tobytes()).decode(), int(t), int(label)]
        for x, t, label in zip(xs, ts, labels, strict=True)
    ]
    with torch.no_grad():
        wanted = network(xs, ts, labels).numpy()
    found = np.stack([np.frombuffer(base64.b64decode(text), "<f4") for text in page.evaluate(PREDICTIONS, cases)])
    errors = np.abs(found - wanted.reshape(len(ts), -1)).max(axis=1)
    return float(errors[ts >= 15].max()), float(errors.max())


def dragged_frames(page: Any) -> float:
    """Return the frames per second while the slider of the guidance scale is dragged for two seconds."""
    box = page.locator("#ui-guidance").bounding_box()
    page.evaluate(FRAMES)
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + 5, y)
    page.mouse.down()
    before, begun, k = page.evaluate("frames_"), time.perf_counter(), 0
    while time.perf_counter() - begun < 2:
        k += 1
        page.mouse.move(box["x"] + 5 + (box["width"] - 10) * abs((k % 60) / 30 - 1), y)
    passed = time.perf_counter() - begun
    page.mouse.up()
    return (page.evaluate("frames_") - before) / passed


def measure(page: Any, open_page: Callable[[], float], rounds: int) -> list[tuple[str, str, str]]:
    """Return the rows of the table: figure, found, to reach."""
    network, _ = Run.bundled().load_model()
    ready = [open_page() for _ in range(5)]
    client = page.context.new_cdp_session(page)
    client.send("Performance.enable", {"timeDomain": "threadTicks"})
    ours, theirs, spent = [], [], []
    for _ in range(rounds):
        begun = thread_time(client)
        ours += page.evaluate(EVALUATE)
        middle = time.thread_time()
        theirs += pytorch_block(network)
        spent.append((thread_time(client) - begun) / (time.thread_time() - middle))
    ratio = f"{min(ours) / min(theirs):.2f} / {statistics.median(ours) / statistics.median(theirs):.2f}"
    runs = [page.evaluate(GUIDED_RUN) for _ in range(5)]
    ten = [page.evaluate(TEN_LABELS) for _ in range(10)]
    near, all_of_them = largest_difference(page, network)
    frames = dragged_frames(page)
    client.send("Emulation.setCPUThrottlingRate", {"rate": 6})
    slow = [page.evaluate(GUIDED_RUN) for _ in range(2)]
    client.send("Emulation.setCPUThrottlingRate", {"rate": 1})
    return [
        ("network evaluation, batch 1, in the page", spread(ours), ""),
        ("network evaluation, batch 1, PyTorch, 1 thread", spread(theirs), ""),
        ("the page over PyTorch, wall time", ratio, "1.0"),
        ("the page over PyTorch, processor time", f"{min(spent):.2f} / {statistics.median(spent):.2f}", "1.0"),
        ("largest difference of ε̂ to PyTorch, every third t from 15 on", f"{near:.1e}", "1e-5"),
        ("the same for all t", f"{all_of_them:.1e}", ""),
        ("50 guided steps of DDIM, to the finished picture", spread(runs), "500 ms"),
        ("the same, processor throttled six times", spread(slow), "7000 ms"),
        ("ten labels at once (11 evaluations)", spread(ten), "60 ms"),
        ("ready after opening", spread(ready), "600 ms"),
        ("frames per second while a slider is dragged", f"{frames:.0f}", "30"),
    ]


def main() -> None:
    """Write the page, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=10, help="Blocks of 20 evaluations.")
    parser.add_argument("--out", type=Path, help="Keep the page here.")
    options = parser.parse_args()
    torch.set_num_threads(1)
    executable = next(filter(None, map(shutil.which, BROWSERS)))
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as driver:
        path = (options.out or Path(folder) / "live.html").resolve()
        write_page(network_data(Run.bundled()), load_texts("en"), path)
        browser = driver.chromium.launch(executable_path=executable, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_context(offline=True, viewport={"width": 1280, "height": 800}).new_page()
        page.add_init_script(READY)

        def open_page() -> float:
            """Open the page anew; return the milliseconds from the start of its navigation until it is ready."""
            page.goto("about:blank")
            page.goto(path.as_uri())
            page.locator("html.ready").wait_for()
            return float(page.evaluate("readyAfter"))

        rows = measure(page, open_page, options.rounds)
        rows.insert(-2, ("size of the file", f"{path.stat().st_size / 1e6:.2f} MB", "4 MB"))
        facts = f"Chromium {browser.version}, torch {torch.__version__}, {os.cpu_count()} cores, {platform.machine()}"
        browser.close()
    print(
        f"{facts}, load average {os.getloadavg()[0]:.1f}\n\n| figure | found (least / median) | reach |\n|---|---|---|"
    )
    for row in rows:
        print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main()
