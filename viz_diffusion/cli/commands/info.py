"""``vizdiff info``: versions, device, weights, folders, and the presets with their measured quality."""

from __future__ import annotations

import os
import platform
from typing import Any

from viz_diffusion.cli.console import Terminal, padded, table
from viz_diffusion.cli.options import JsonOption, LangOption, QuietOption
from viz_diffusion.training.presets import PRESETS, Preset

HELP = (
    "Show versions, device, weights, folders and presets.\n\n"
    "Shows for each preset of vizdiff train which quality it reached.\n\n"
    "Example: vizdiff info --json"
)


def run_command(lang: LangOption = "en", as_json: JsonOption = False, quiet: QuietOption = False) -> None:
    """Collect the facts and say them."""
    terminal = Terminal(as_json, quiet, lang)
    terminal.say("Loading", "PyTorch")
    import torch

    from viz_diffusion.cli.loading import pick_device
    from viz_diffusion.evaluation.classifier import CLASSIFIER_DIR, CLASSIFIERS_DIR, PROVENANCE
    from viz_diffusion.files import cache_dir, read_json
    from viz_diffusion.study.study_folders import kept_studies
    from viz_diffusion.study.versions import versions
    from viz_diffusion.training.bundled_runs import BUNDLED_RUNS
    from viz_diffusion.training.run import RUNS_DIR, Run

    default_run, bundled = Run.choose(), Run.bundled()
    _, digest = bundled.load_model()
    studies, studies_bytes = kept_studies()
    classifier = read_json(CLASSIFIER_DIR / "provenance.json")
    facts = {
        "versions": versions(),
        "platform": platform.platform(),
        "device": str(pick_device("auto")),
        "threads": torch.get_num_threads(),
        "cpus": os.cpu_count(),
        "run": default_run.name_or_path,
        "run_objective": default_run.config.training.objective,
        "runs": sorted(str(path.parent) for path in RUNS_DIR.glob("*/config.json")),
        "bundled_runs": list(BUNDLED_RUNS),
        "bundled_weights_sha256": digest,
        "bundled_steps": bundled.config.training.steps,
        "classifier_sha256": classifier["sha256"],
        "classifier_test_accuracy": classifier["test_accuracy"],
        "classifiers": sorted(str(path.parent) for path in CLASSIFIERS_DIR.glob(f"*/{PROVENANCE}")),
        "cache": str(cache_dir()),
        "studies": studies,
        "studies_bytes": studies_bytes,
    }
    if not as_json:
        for name, value in facts.items():
            shown = ", ".join(value) if isinstance(value, list) else value
            print(f"{padded(terminal.text(f'info_{name}'), 26)}{shown if shown != '' else '-'}")
        header = [terminal.text(f"column_{name}") for name in _COLUMNS]
        print()
        print("\n".join(table(header, [preset_row(preset, digest, terminal) for preset in PRESETS])))
    terminal.result(facts | {"presets": [preset_facts(preset, digest) for preset in PRESETS]})


_COLUMNS = ("preset", "purpose", "channels", "batch", "budget", "accuracy", "fid", "command")


def preset_facts(preset: Preset, bundled_sha256: str) -> dict[str, Any]:
    """Return a preset and its measured quality; ``measured`` is None where it was not measured.

    The quality of ``base`` is that of the bundled weights: it is left out where it was measured on others.
    """
    evaluation = preset.measured()
    if evaluation is not None and preset.name == "base" and evaluation["weights_sha256"] != bundled_sha256:
        evaluation = None
    kept = ("count", "sampler", "steps", "guidance_scale", "weights_sha256", "classifier_sha256")
    measured = None
    if evaluation is not None:
        samples = {name: evaluation["samples"][name] for name in ("accuracy", "frechet", "recall")}
        measured = {name: evaluation[name] for name in kept} | samples | {"floor": evaluation["real"]["frechet"]}
    return {
        "name": preset.name,
        "purpose": preset.purpose,
        "channels": list(preset.channels),
        "batch_size": preset.batch_size,
        "budget": preset.budget,
        "command": preset.command,
        "measured": measured,
    }


def preset_row(preset: Preset, bundled_sha256: str, terminal: Terminal) -> tuple[str, ...]:
    """Return a preset as a row of the table."""
    facts = preset_facts(preset, bundled_sha256)
    measured = facts["measured"]
    accuracy = distance = terminal.text("not_measured")
    if measured is not None:
        low, high = measured["accuracy"]["interval"]
        accuracy = terminal.text(
            "preset_accuracy", value=measured["accuracy"]["value"], low=low, high=high, count=measured["count"]
        )
        distance = terminal.text("preset_fid", fid=measured["frechet"], excess=measured["frechet"] - measured["floor"])
    width = terminal.text("and").join(map(str, preset.channels))
    minutes = preset.minutes
    kind, number = ("steps", preset.steps) if minutes is None else ("minutes", minutes)
    budget = terminal.text(f"budget_{kind}", **{kind: number})
    return (
        preset.name,
        terminal.text(f"purpose_{preset.name}"),
        width,
        str(preset.batch_size),
        budget,
        accuracy,
        distance,
        preset.command,
    )
