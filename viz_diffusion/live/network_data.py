"""A run as the live page needs it: configuration, schedules, weights byte for byte, classifier.

Knows nothing about HTML.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig
from viz_diffusion.errors import VizdiffInputError
from viz_diffusion.evaluation.calibration import Calibration
from viz_diffusion.evaluation.classifier import CLASSIFIER_DIR, PROVENANCE, DigitClassifier, classifier_dir
from viz_diffusion.files import io_errors, read_checked, sha256_bytes
from viz_diffusion.live.suitable_runs import check_kind
from viz_diffusion.training.run import Run

MOST_CHANNELS, MOST_POSITIONS, MOST_BYTES = 1024, 4096, 64 << 20
"""Limits of ``kernels.c`` (channels to normalize, positions that attend to each other), and of a page's weights."""


@dataclass(frozen=True, eq=False)
class NetworkData:
    """What the page computes with."""

    facts: dict[str, Any]
    """Everything but the weights, as JSON values; ``templates/engine.js`` lists it."""
    weights: bytes
    """The safetensors file of the denoiser, byte for byte."""
    classifier: bytes | None
    """The safetensors file of the classifier with its convolutions in float16; None where there is none."""


def network_data(run: Run) -> NetworkData:
    """Return a run's network as the page needs it.

    Raises
    ------
    VizdiffInputError
        Where the page cannot run the network: it takes prompts, works in latents, or is too large.
    """
    config = run.config
    check_runs_in_page(config.model)
    weights, digest = _weights_file(run)
    classifier, classifier_facts = _classifier(run)
    names = config.class_names or tuple(str(label) for label in range(config.model.num_labels))
    flow = config.training.objective == "flow"
    process = NoiseSchedule.named("flow", config.num_train_timesteps) if flow else config.noise_schedule
    facts = {
        "run": run.name,
        "dataset": config.dataset,
        "is_digits": config.is_digits,
        "objective": config.training.objective,
        "prediction_type": config.training.prediction_type,
        "model": asdict(config.model),
        "schedules": [_schedule(process), *([_schedule(config.noise_schedule)] if flow else [])],
        "class_names": list(names),
        "present_labels": list(config.present_labels),
        "weights_sha256": digest,
        "classifier": classifier_facts,
        "defaults": {
            "label": 5 if 5 in config.present_labels and config.class_names is None else config.present_labels[0],
            "seed": 1,
            "steps": 50,
            "guidance": 1.5,
            "method": "euler" if flow else "ddim",
            "eta": 0,
        },
    }
    return NetworkData(facts, weights, classifier)


def check_runs_in_page(model: ModelConfig) -> None:
    """Refuse a network that the page cannot run.

    Raises
    ------
    VizdiffInputError
        Where it takes prompts or works in latents, or is larger than the page's kernels allow.
    """
    check_kind(has_text=model.text is not None, is_latent=model.fold != 2)
    widest, positions = 2 * max(model.channels), (model.image_size // 4) ** 2
    if widest > MOST_CHANNELS:
        raise VizdiffInputError(
            f"the page runs networks with up to {MOST_CHANNELS // 2} channels, found {max(model.channels)}; "
            "train one with fewer, or use: vizdiff report"
        )
    if positions > MOST_POSITIONS:
        raise VizdiffInputError(
            f"the page runs images of up to {4 * int(MOST_POSITIONS**0.5)} pixels a side, found {model.image_size}; "
            "train on smaller images, or use: vizdiff report"
        )


def _schedule(schedule: NoiseSchedule) -> dict[str, Any]:
    return {
        "name": schedule.name,
        "scaling": schedule.scaling,
        "alphas_cumprod": schedule.alphas_cumprod.tolist(),
    }


def _weights_file(run: Run) -> tuple[bytes, str]:
    """Return the run's averaged weights as they lie on disk, and their SHA-256."""
    _, digest = run.load_model()
    folders = [(run.path, "model.safetensors"), *((folder, "ema.safetensors") for folder in run.checkpoints()[::-1])]
    for folder, name in folders:
        if (folder / name).is_file():
            data, found = read_checked(folder, name)
            if found == digest:
                break
    if len(data) > MOST_BYTES:
        raise VizdiffInputError(
            f"the weights have {len(data) >> 20} MB, and a page holds up to {MOST_BYTES >> 20} MB; "
            "train a smaller network, or use: vizdiff report"
        )
    return data, digest


def _classifier(run: Run) -> tuple[bytes | None, dict[str, Any] | None]:
    """Return the classifier of the run's data with half the bytes, and its facts; None where there is none."""
    config = run.config
    if config.dataset == "mnist":
        folder, temperature = CLASSIFIER_DIR, Calibration.bundled().temperature
        _, digest = DigitClassifier.bundled()
    elif config.data_sha256 and (classifier_dir(config.data_sha256[0]) / PROVENANCE).is_file():
        folder, temperature = classifier_dir(config.data_sha256[0]), 1.0
        _, digest = DigitClassifier.open(folder, config.data_sha256[0])
    else:
        return None, None
    path = folder / "model.safetensors"
    with io_errors("read", path):
        data = convolutions_in_float16(path.read_bytes())
    return data, {"sha256": digest, "page_sha256": sha256_bytes(data), "temperature": temperature}


def convolutions_in_float16(data: bytes) -> bytes:
    """Return a safetensors file with its tensors of four axes rounded to float16, and without integers.

    The classifier's probabilities change by less than 0.001, and the page becomes 0.75 MB smaller.
    """
    length = int.from_bytes(data[:8], "little")
    header, body, kept, at = json.loads(data[8 : 8 + length]), data[8 + length :], {}, 0
    parts = []
    for name, entry in sorted(header.items()):
        if entry.get("dtype") != "F32":
            continue
        start, stop = entry["data_offsets"]
        part = body[start:stop]
        if len(entry["shape"]) == 4:
            part = np.frombuffer(part, "<f4").astype("<f2").tobytes()
        kept[name] = {
            "dtype": "F16" if len(entry["shape"]) == 4 else "F32",
            "shape": entry["shape"],
            "data_offsets": [at, at + len(part)],
        }
        at += len(part)
        parts.append(part)
    text = json.dumps(kept).encode()
    return len(text).to_bytes(8, "little") + text + b"".join(parts)
