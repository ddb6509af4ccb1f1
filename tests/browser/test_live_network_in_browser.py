"""The denoiser and the classifier of the live page in Chromium against PyTorch: every layer, and whole predictions."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from live_engine import LINEAR, Mistake, decoded, encoded, given_network, in_engine
from torch import Tensor, nn

from viz_diffusion.data import Digits
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.evaluation.classifier import DigitClassifier
from viz_diffusion.live.network_data import network_data
from viz_diffusion.training.run import Run

pytest.importorskip("playwright.sync_api")
pytestmark = pytest.mark.browser
Make = Callable[..., SimpleUNet]
SUMMED = (".conv2", "mid_attention.out")
"""Layers to whose output the page has added the residual already."""
LAYERS = """
    const found = {};
    engine.denoiser.tap = (name, map) => { found[name] = sent(map()); };
    engine.denoiser.forward(floats(args.x), args.t, args.label);
    return found;
"""
PREDICTIONS = """
    return args.cases.map(([x, t, label, embedded]) =>
        sent(engine.denoiser.forward(floats(x), t, label, embedded ?? t)));
"""


@pytest.fixture(scope="module")
def bundled() -> tuple[SimpleUNet, dict[str, Any]]:
    """The bundled network, and what the page gets of it."""
    network, _ = Run.bundled().load_model()
    return network, given_network(network, [LINEAR], weights=network_data(Run.bundled()).weights)


def noise(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed))


def layers(network: SimpleUNet, x: Tensor, t: int, label: int) -> dict[str, Tensor]:
    """Return the (C, H, W) output of every module that has one."""
    found: dict[str, Tensor] = {}

    def keep(name: str) -> Callable[[Any, Any, Tensor], None]:
        return lambda _module, _inputs, output: found.__setitem__(name, output[0])

    hooks = [module.register_forward_hook(keep(name)) for name, module in network.named_modules() if name]
    try:
        network(x[None], torch.tensor([t]), torch.tensor([label]))
    finally:
        for hook in hooks:
            hook.remove()
    return found


def layer_errors(found: dict[str, str], wanted: dict[str, Tensor]) -> dict[str, float]:
    """Return the largest error of each feature map over its largest value."""
    compared = {name: decoded(text) for name, text in found.items() if not name.endswith(SUMMED)}
    return {
        name: float(np.abs(values - wanted[name].numpy().ravel()).max() / wanted[name].abs().max())
        for name, values in compared.items()
    }


@pytest.mark.parametrize("wasm", [True, False])
def test_every_layer_of_the_bundled_network(blank: Any, bundled: tuple[SimpleUNet, dict[str, Any]], wasm: bool) -> None:
    network, given = bundled
    x = noise(1, 28, 28)
    found = in_engine(
        blank, {**given, "kernels": given["kernels"] if wasm else None}, LAYERS, x=encoded(x), t=599, label=3
    )
    wanted = layers(network, x, 599, 3)
    tapped = {name for name, module in network.named_modules() if isinstance(module, nn.Conv2d | nn.ConvTranspose2d)}
    assert tapped <= set(found)
    assert {"down_outer.0", "mid_attention", "up_inner.0"} <= set(found)
    assert max(layer_errors(found, wanted).values()) < 5e-6


def in_float64(network: SimpleUNet, x: Tensor, t: Tensor, labels: Tensor) -> Tensor:
    """Return the prediction of a network in float64, except for the time code, which is float32 by definition."""
    wide = copy.deepcopy(network).double()
    code = wide.time_mlp[0]
    code.register_forward_hook(lambda _module, _inputs, output: output.double())
    with torch.no_grad():
        return wide(x.double(), t, labels)


def test_predictions_are_as_near_to_float64_as_pytorchs(
    blank: Any, bundled: tuple[SimpleUNet, dict[str, Any]], test_digits: Digits
) -> None:
    """At most 1e-5 away from t = 15 on; below, where PyTorch in float32 is 3.6e-5 away, no further than that."""
    network, given = bundled
    ts = torch.cat([torch.arange(999, 30, -15), torch.arange(30, -1, -3)])
    labels = torch.tensor([(5, 3, 10)[k % 3] for k in range(len(ts))])
    xs = LINEAR.add_noise(test_digits.images[: len(ts)], noise(len(ts), 1, 28, 28), ts)
    cases = [[encoded(x), int(t), int(label)] for x, t, label in zip(xs, ts, labels, strict=True)]
    found = np.stack([decoded(text, 1, 28, 28) for text in in_engine(blank, given, PREDICTIONS, cases=cases)])
    wanted = in_float64(network, xs, ts, labels).numpy()
    with torch.no_grad():
        own = np.abs(network(xs, ts, labels).numpy() - wanted).max()
    errors = np.abs(found - wanted).reshape(len(ts), -1).max(axis=1)
    assert errors[ts >= 15].max() < 1e-5
    assert errors.max() < max(1e-5, own)


CONFIGS = {
    "two blocks, three in the middle": ModelConfig(
        channels=(8, 16), num_blocks=2, num_mid_blocks=3, num_heads=2, embedding_dim=24, time_dim=8
    ),
    "colour": ModelConfig(image_size=32, in_channels=3, channels=(16, 24), num_heads=3, embedding_dim=32, time_dim=16),
    "no timestep, odd widths": ModelConfig(
        image_size=20, channels=(8, 24), num_heads=4, embedding_dim=19, time_dim=6, schedule=None, use_time=False
    ),
    "cosine, 13 labels, heads of one channel": ModelConfig(
        image_size=12, num_labels=13, channels=(8, 8), num_heads=8, embedding_dim=10, time_dim=6, schedule="cosine"
    ),
    "velocity": ModelConfig(channels=(8, 16), num_heads=1, embedding_dim=16, time_dim=10, schedule="flow"),
}


@pytest.mark.parametrize("wasm", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_other_networks(blank: Any, make_unet: Make, name: str, wasm: bool) -> None:
    config = CONFIGS[name]
    network, schedule = make_unet(config=config), NoiseSchedule.named(config.schedule or "linear")
    shape = (config.in_channels, config.image_size, config.image_size)
    xs, labels, ts = noise(3, *shape), torch.tensor([1, config.num_labels, 9]), torch.tensor([999, 400, 0])
    given = given_network(network, [schedule], wasm=wasm)
    cases = [[encoded(x), int(t), int(label)] for x, t, label in zip(xs, ts, labels, strict=True)]
    found = np.stack([decoded(text, *shape) for text in in_engine(blank, given, PREDICTIONS, cases=cases)])
    with torch.no_grad():
        wanted = network(xs, ts, labels).numpy()
    assert np.abs(found - wanted).max() < 5e-6 * np.abs(wanted).max()


LAST_LINE, EMBEDDED = "this.pixelShuffle(h), t)", "this.embed(embedded, label)"
MISTAKES: dict[str, Mistake] = {
    "label off by one": ("this.labelEmbedding[row * width + i]", "this.labelEmbedding[(+row + 1) * width + i]"),
    "t off by one in the last line": (LAST_LINE, "this.pixelShuffle(h), t + 1)"),
    "t off by one in the embedding": (EMBEDDED, "this.embed(embedded + 1, label)"),
    "sine and cosine exchanged": ("code[k] = Math.sin(angle);", "code[k] = Math.cos(angle);"),
    "no silu of the embedding": (f"this.silu({EMBEDDED}, this.config.embedding_dim)", EMBEDDED),
    "scale and shift exchanged": ("{ scale, shift, border: 1", "{ scale: shift, shift: scale, border: 1"),
    "no residual": ("h, channels, { add: shortcut.pointer }", "h, channels"),
    "pixels folded by columns": ("2 * (y & 1) + (x & 1)", "2 * (x & 1) + (y & 1)"),
    "skips in the wrong order": ("(h, skips.pop()), inner)", "(skips.pop(), h), inner)"),
}


def test_mistakes_show(blank: Any, make_unet: Make) -> None:
    """Each of them is further from PyTorch than the tests above allow."""
    network = make_unet(config=ModelConfig(channels=(8, 16), num_heads=2, embedding_dim=16, time_dim=8))
    given, x = given_network(network, [LINEAR]), noise(1, 28, 28)
    with torch.no_grad():
        wanted = network(x[None], torch.tensor([599]), torch.tensor([3])).numpy().ravel()

    def error(*mistakes: Mistake) -> float:
        (found,) = in_engine(blank, given, PREDICTIONS, mistakes, cases=[[encoded(x), 599, 3]])
        return float(np.abs(decoded(found) - wanted).max() / np.abs(wanted).max())

    assert error() < 5e-6
    assert [name for name, mistake in MISTAKES.items() if error(mistake) < 1e-4] == []


KERNELS = """
    const plain = javascriptKernels();
    const apart = {};
    const random = new NoiseStream(3, 1 << 16).draw(0);
    const compare = (name, size, inputs, ...rest) => {
        const outs = [kernels, plain].map((some) => {
            some.begin();
            let used = 0;
            const pointers = inputs.map((n) => {
                if (!n) return 0;
                const pointer = some.allocate(n);
                const values = random.subarray(used, (used += n)).map((value) => value * args.scale);
                some.floats(pointer, n).set(values);
                return pointer;
            });
            const out = some.allocate(size);
            some[name](out, ...pointers, ...rest);
            return some.floats(out, size).slice();
        });
        const largest = Math.max(...outs[0].map(Math.abs));
        apart[name] = Math.max(apart[name] ?? 0, ...outs[0].map((value, i) => Math.abs(value - outs[1][i]) / largest));
    };
    compare("silu", 13, [13], 13);
    compare("linear", 5, [19, 95, 5], 19, 5);
    compare("conv", 5 * 9 * 8, [7 * 11 * 3, 3 * 3 * 3 * 8, 8, 0], 5, 9, 3, 8, 3, 1, 33);
    compare("conv", 3 * 4 * 4, [8 * 9 * 5, 3 * 3 * 5 * 4, 4, 48], 3, 4, 5, 4, 3, 2, 45);
    compare("norm", 5 * 6 * 16, [3 * 4 * 16, 16, 16, 0, 0], 3, 4, 16, 1, 0);
    compare("norm", 3 * 4 * 16, [3 * 4 * 16, 16, 16, 16, 16], 3, 4, 16, 0, 1);
    compare("attention", 9 * 2 * 6, [9 * 3 * 2 * 6], 9, 2, 6);
    compare("pad", 5 * 6 * 3, [3 * 4 * 3], 3, 4, 3, 1, 1);
    compare("concatenate", 5 * 7, [5 * 3, 5 * 4], 5, 3, 4);
    compare("unfold", 6 * 4 * 3, [72], 3, 2, 3);
    compare("maximum", 7, [35], 5, 7);
    return apart;
"""


@pytest.mark.parametrize("scale", [1e-2, 1, 3])
def test_the_kernels_in_javascript_are_those_in_webassembly(blank: Any, make_unet: Make, scale: float) -> None:
    apart = in_engine(blank, given_network(make_unet(), [LINEAR]), KERNELS, scale=scale)
    assert len(apart) == 9
    assert max(apart.values()) < 2e-6, apart


@pytest.mark.parametrize(
    ("kernel", "mistake"),
    [
        ("attention", ("k + j * 3 * C, d) / Math.sqrt(d)", "k + j * 3 * C, d)")),
        ("norm", ("squares / (n * size) + 1e-5", "squares / (n * size) + 1e-6")),
        ("pad", ("act ? Math.max(0, F[input])", "!act ? Math.max(0, F[input])")),
        ("conv", ("const step = x + 1 < W ? stride * cin : 0;", "const step = x + 1 < W ? cin : 0;")),
    ],
)
def test_a_mistake_in_a_kernel_shows(blank: Any, make_unet: Make, kernel: str, mistake: Mistake) -> None:
    given = given_network(make_unet(), [LINEAR])
    apart = max(in_engine(blank, given, KERNELS, [mistake], scale=scale)[kernel] for scale in (1e-2, 3))
    assert apart > 1e-4


def test_float16_becomes_float32_exactly(blank: Any, make_unet: Make) -> None:
    body = "return sent(float32Of(Uint16Array.from({ length: 65536 }, (_, i) => i)));"
    found = decoded(in_engine(blank, given_network(make_unet(), [LINEAR]), body))
    wanted = np.arange(65536, dtype=np.uint16).view(np.float16).astype(np.float32)
    assert np.array_equal(found, wanted, equal_nan=True)
    assert np.array_equal(np.signbit(found[[0, 32768]]), [False, True])


def test_the_embedding_alone_can_get_another_timestep(blank: Any, make_unet: Make, tiny_config: ModelConfig) -> None:
    network = make_unet(config=tiny_config)
    bare = make_unet(config=replace(tiny_config, schedule=None))
    x = noise(1, 28, 28)
    (found,) = in_engine(blank, given_network(network, [LINEAR]), PREDICTIONS, cases=[[encoded(x), 300, 4, 700]])
    with torch.no_grad():
        inner = bare(x[None], torch.tensor([700]), torch.tensor([4]))[0]
    signal, spread = np.sqrt(LINEAR.alphas_cumprod[300]), np.sqrt(1 - LINEAR.alphas_cumprod[300])
    assert np.abs(decoded(found, 1, 28, 28) - (spread * x + signal * inner).numpy()).max() < 1e-5


def test_a_mixture_of_labels_mixes_their_embeddings(blank: Any, make_unet: Make, tiny_config: ModelConfig) -> None:
    network, x = make_unet(config=tiny_config), noise(1, 28, 28)
    weights = [0.0, 0.25, 0, 0, 0, 0.5, 0, 0, 0, 0, 0.25]
    one_hot = [0.0] * 5 + [1] + [0] * 5
    cases = [[encoded(x), 300, label] for label in (weights, one_hot, 5)]
    mixed, five, number = (
        decoded(text) for text in in_engine(blank, given_network(network, [LINEAR]), PREDICTIONS, cases=cases)
    )
    assert np.array_equal(five, number)
    with torch.no_grad():
        network.label_emb.weight[3] = torch.tensor(weights) @ network.label_emb.weight
        wanted = network(x[None], torch.tensor([300]), torch.tensor([3])).numpy().ravel()
    assert np.abs(mixed - wanted).max() < 1e-5


@pytest.mark.parametrize("wasm", [True, False])
def test_the_classifier_sees_what_it_sees_in_pytorch(
    blank: Any, make_unet: Make, tiny_config: ModelConfig, few_digits: Digits, wasm: bool
) -> None:
    classifier, _ = DigitClassifier.bundled()
    images = torch.cat([few_digits.images[:12], 3 * noise(2, 1, 28, 28)])
    given = given_network(make_unet(config=tiny_config), [LINEAR], classifier=classifier, wasm=wasm)
    body = "return args.images.map((x) => sent(engine.classifier.probabilities(floats(x))));"
    found = in_engine(blank, given, body, images=[encoded(image) for image in images])
    wanted = classifier.probabilities(images, temperature=0.5).numpy()
    assert np.abs(np.stack([decoded(text) for text in found]) - wanted).max() < 1e-5
    assert wanted.max(axis=1)[:12].min() > 0.9
