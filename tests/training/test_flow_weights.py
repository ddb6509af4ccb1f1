"""The flow-matching network that comes with the package: where it is from, and what it samples."""

from __future__ import annotations

import torch

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.sampling import sample_images
from viz_diffusion.evaluation.classifier import classifier_accuracy
from viz_diffusion.files import read_json
from viz_diffusion.training.run import Run


def test_the_bundled_flow_network_is_what_its_provenance_says() -> None:
    run = Run.control("flow")
    provenance = read_json(run.path / "provenance.json")
    _, digest = run.load_model()
    assert digest == provenance["sha256"]
    assert provenance["objective"] == run.config.training.objective == "flow"
    assert provenance["steps"] == run.config.training.steps
    samples = provenance["samples"]
    assert [samples[name] for name in ("sampler", "steps", "evaluations", "guidance_scale")] == ["heun", 10, 19, 1.5]
    assert samples["count"] == 1000
    assert samples["share"] >= 0.98
    assert sum(file.stat().st_size for file in run.path.iterdir()) < 3e6


def test_ten_heun_steps_of_it_give_the_digits_asked_for() -> None:
    """At an accuracy of 98% fewer than 37 of 40 are right in 1 of 2000 draws."""
    run = Run.control("flow")
    network, process = run.config.sampled(run.load_model()[0], "heun")
    labels = torch.arange(40) % 10
    images = torch.cat(list(sample_images(network, process, labels, range(40), SamplerConfig("heun", 10, 1.5))))
    share, _ = classifier_accuracy(images, labels)
    assert share.hits >= 37
