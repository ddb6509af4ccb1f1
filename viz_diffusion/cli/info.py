"""``vizdiff info``: versions, device, weights, caches."""

from __future__ import annotations

import os
import platform

from viz_diffusion.cli.common import JsonOption, QuietOption, Voice

HELP = "Example: vizdiff info --json\n\nSay which versions, device, weights and folders are in use."


def run_command(as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Look and say."""
    voice = Voice(as_json, quiet)
    voice.say("Loading", "PyTorch")
    import torch

    from viz_diffusion.cli.common import pick_device
    from viz_diffusion.data import cache_dir
    from viz_diffusion.files import read_json
    from viz_diffusion.quality import CLASSIFIER_DIR
    from viz_diffusion.report.gather import versions
    from viz_diffusion.run import RUNS_DIR, Run

    chosen, bundled = Run.choose(), Run.bundled()
    _, digest = bundled.load_model()
    judge = read_json(CLASSIFIER_DIR / "provenance.json")
    facts = {
        "versions": versions(),
        "platform": platform.platform(),
        "device": str(pick_device("auto")),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "run": "bundled" if chosen.is_bundled else str(chosen.path),
        "runs": sorted(str(path.parent) for path in RUNS_DIR.glob("*/config.json")),
        "bundled_weights_sha256": digest,
        "bundled_steps": bundled.config.training.steps,
        "classifier_sha256": judge["sha256"],
        "classifier_test_accuracy": judge["test_accuracy"],
        "cache": str(cache_dir()),
    }
    if not as_json:
        for name, value in facts.items():
            shown = ", ".join(value) if isinstance(value, list) else value
            print(f"{name.replace('_', ' '):<26}{shown if shown != '' else '-'}")
    voice.result(facts)
