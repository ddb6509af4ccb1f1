"""The engine of the live page in a blank page of the browser, for any network, whole or with a mistake put into it."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors.torch import save
from torch import nn

from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.live.page import ENGINE_SCRIPTS, LIVE_DIR
from viz_diffusion.training.config import RunConfig
from viz_diffusion.training.train_config import TrainConfig

Float32 = NDArray[np.float32]
LINEAR, FLOW = NoiseSchedule.named("linear"), NoiseSchedule.named("flow")
SMALL = {"image_size": 8, "channels": (8, 8), "num_heads": 2, "embedding_dim": 16, "time_dim": 8}
OPEN = """
const bytes = (text) => (text ? bytesOf(text) : null);
const kernels = given.kernels ? await loadKernels(bytesOf(given.kernels)) : javascriptKernels();
const engine = new Engine(given.facts, kernels, bytesOf(given.weights), bytes(given.classifier));
const floats = (text) => new Float32Array(bytesOf(text).buffer);
const sent = (array) => base64Of(new Uint8Array(Float32Array.from(array).buffer));
"""
Mistake = tuple[str, str]
"""A piece of the scripts, which must stand there exactly once, and what stands there instead."""


def engine_code(mistakes: Sequence[Mistake] = ()) -> str:
    """Return the engine's scripts, one after another."""
    code = "\n".join((LIVE_DIR / "templates" / name).read_text("utf-8") for name in ENGINE_SCRIPTS)
    for right, wrong in mistakes:
        assert code.count(right) == 1, f"{right} stands there {code.count(right)} times"
        code = code.replace(right, wrong)
    return code


def encoded(values: Any) -> str:
    """Return float32 values as base64."""
    return base64.b64encode(np.ascontiguousarray(values, dtype="<f4").tobytes()).decode()


def decoded(text: str, *shape: int) -> Float32:
    """Return base64 as float32 values."""
    return np.frombuffer(base64.b64decode(text), "<f4").reshape(shape or (-1,))


def given_network(
    unet: SimpleUNet,
    schedules: Sequence[NoiseSchedule],
    prediction_type: str = "epsilon",
    *,
    weights: bytes | None = None,
    wasm: bool = True,
    classifier: nn.Module | bytes | None = None,
) -> dict[str, Any]:
    """Return what the engine is opened with."""
    if isinstance(classifier, nn.Module):
        classifier = save({name: value.contiguous() for name, value in classifier.state_dict().items()})
    facts = {
        "run": "test",
        "model": asdict(unet.config),
        "prediction_type": prediction_type,
        "schedules": [
            {"name": one.name, "scaling": one.scaling, "alphas_cumprod": one.alphas_cumprod.tolist()}
            for one in schedules
        ],
        "weights_sha256": "0" * 64,
        "classifier": None if classifier is None else {"temperature": 0.5},
        "defaults": {"label": 0, "seed": 1, "steps": 10, "guidance": 1, "method": "ddim", "eta": 0},
    }
    if weights is None:
        weights = save({name: value.contiguous() for name, value in unet.state_dict().items()})
    return {
        "facts": json.loads(json.dumps(facts)),
        "weights": base64.b64encode(weights).decode(),
        "classifier": None if classifier is None else base64.b64encode(classifier).decode(),
        "kernels": base64.b64encode((LIVE_DIR / "kernels.wasm").read_bytes()).decode() if wasm else None,
    }


def in_engine(page: Any, given: dict[str, Any], body: str, mistakes: Sequence[Mistake] = (), **arguments: Any) -> Any:
    """Run JavaScript with an opened ``engine`` and ``args``; return what it returns.

    ``floats`` and ``sent`` decode and encode arrays; a LiveError comes back as ``{"error": key}``.
    """
    code = (
        f"async (all) => {{ {engine_code(mistakes)}\nconst {{ given, args }} = all;\n"
        f"try {{ {OPEN} {body} }} catch (error) {{"
        "if (error instanceof LiveError) return { error: error.key, message: error.message }; throw error; } }"
    )
    return page.evaluate(code, {"given": given, "args": arguments})


def run_config(objective: str, **model: Any) -> RunConfig:
    """Return the configuration of a run with a small network."""
    schedule = {"epsilon": "linear", "flow": "flow"}.get(objective)
    config = ModelConfig(**{**SMALL, "schedule": schedule, **model})
    return RunConfig(config, TrainConfig(objective=objective), "linear", 1000, "mnist")


def network_and_given(make_unet: Callable[..., SimpleUNet], config: RunConfig) -> tuple[SimpleUNet, dict[str, Any]]:
    """Return a run's network as it is loaded, and what the page gets of it."""
    unet, flow = make_unet(config=config.model), config.training.objective == "flow"
    schedules = [FLOW, LINEAR] if flow else [LINEAR]
    return config.denoiser(unet), given_network(unet, schedules, config.training.prediction_type)
