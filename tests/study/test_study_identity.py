"""By what a study is found again, and by what it is another one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.study import study_identity as identities
from viz_diffusion.study.stored_study import StoredStudy
from viz_diffusion.study.study_identity import recorded_generation, requested_generation, study_identity
from viz_diffusion.training.run import Run
from viz_diffusion.views.frames import recording_facts, requested_facts

WEIGHTS = Run.bundled().load_model()[1]
CONFIG = SamplerConfig("ddim", 5, 1.5)
CHANGES: dict[str, dict[str, Any]] = {
    "label": {"label": 4},
    "seed": {"seed": 2},
    "weights": {"weights_sha256": "0" * 64},
    "steps": {"config": replace(CONFIG, steps=6)},
    "guidance": {"config": replace(CONFIG, guidance_scale=1.25)},
    "eta": {"config": replace(CONFIG, eta=0.5)},
    "clip": {"config": replace(CONFIG, clip=False)},
    "spacing": {"config": replace(CONFIG, timestep_spacing="linspace")},
    "sampler": {"config": replace(CONFIG, sampler="dpm-solver++")},
}


@pytest.mark.parametrize("change", CHANGES)
def test_another_generation_is_another_study(change: str) -> None:
    schedule = Run.bundled().config.noise_schedule
    values = {"label": 5, "seed": 1, "config": CONFIG, "schedule": schedule, "weights_sha256": WEIGHTS}
    identities_ = [
        study_identity(requested_generation(**one), Run.bundled(), "cpu") for one in (values, values | CHANGES[change])
    ]
    folders = [StoredStudy(one, print).folder for one in identities_]
    assert folders[0] != folders[1]
    assert folders[0] == StoredStudy(dict(reversed(identities_[0].items())), print).folder


def test_other_code_metrics_or_devices_are_another_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    schedule = Run.bundled().config.noise_schedule
    generation = requested_generation(5, 1, CONFIG, schedule, WEIGHTS)
    run = Run(tmp_path, Run.bundled().config)
    (tmp_path / "metrics.jsonl").write_text("{}\n")
    seen = [study_identity(generation, run, "cpu"), study_identity(generation, run, "cuda")]
    moved = Run(tmp_path / "elsewhere", run.config)
    moved.path.mkdir()
    (moved.path / "metrics.jsonl").write_text("{}\n")
    assert study_identity(generation, moved, "cpu") == seen[0]
    (tmp_path / "metrics.jsonl").write_text("{}\n{}\n")
    seen.append(study_identity(generation, run, "cpu"))
    monkeypatch.setattr(identities, "code_sha256", lambda: "another version")
    seen.append(study_identity(generation, run, "cpu"))
    assert len({StoredStudy(one, print).folder for one in seen}) == 4


def test_the_code_that_measures_is_part_of_it_and_that_which_shows_is_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("lessons/step/lesson.py", "cli/study.py", "assets/lessons/step.json"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("1")
    monkeypatch.setattr(identities, "_PACKAGE", tmp_path)
    code_sha256 = identities.code_sha256.__wrapped__
    before = code_sha256()
    (tmp_path / "cli" / "study.py").write_text("2")
    assert code_sha256() == before
    for name in ("lessons/step/lesson.py", "assets/lessons/step.json"):
        (tmp_path / name).write_text("2")
        assert code_sha256() != before
        before = code_sha256()


@pytest.mark.parametrize(
    "config",
    [
        SamplerConfig(steps=4, guidance_scale=1.5, variance="beta_tilde"),
        SamplerConfig("ddim", 4, 2.0, eta=0.5, clip=False),
        SamplerConfig("dpm-solver++", 4, timestep_spacing="linspace"),
        SamplerConfig("heun", 4),
    ],
    ids=lambda config: config.sampler,
)
def test_a_request_is_found_by_its_recording_and_the_other_way_round(config: SamplerConfig) -> None:
    run = Run.bundled()
    schedule = run.config.noise_schedule

    class Silent(torch.nn.Module):
        null_label = 10

        def forward(self, x: torch.Tensor, _t: torch.Tensor, _y: torch.Tensor | None = None) -> torch.Tensor:
            return torch.zeros_like(x)

    recorded = record_generation(Silent(), schedule, torch.tensor([3]), [7], config, weights_sha256=WEIGHTS)
    assert recorded_generation(recorded) == requested_generation(3, 7, config, schedule, WEIGHTS)
    assert recording_facts(recorded) == requested_facts(3, 7, config, schedule.num_train_timesteps)


# -- damage, and a disk that cannot be written ------------------------------------------------------
