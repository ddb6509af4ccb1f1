"""The compiled kernels against PyTorch in float64, without a browser; every output has canaries behind it."""

from __future__ import annotations

import hashlib
import json
from typing import Any

import numpy as np
import pytest
import torch
import wasmtime
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional

from viz_diffusion.live.page import LIVE_DIR

CANARIES = 4096
CLOSE = 2e-6


class Kernels:
    """The module in its own memory."""

    def __init__(self) -> None:
        self.store = wasmtime.Store()
        module = wasmtime.Module.from_file(self.store.engine, str(LIVE_DIR / "kernels.wasm"))
        self.exports: Any = wasmtime.Instance(self.store, module, []).exports(self.store)
        self.exports["memory"].grow(self.store, 100)
        self.top = (self.exports["__heap_base"].value(self.store) + 63) & ~63

    def put(self, values: Any) -> int:
        array = np.ascontiguousarray(values, dtype=np.float32)
        pointer = self.top
        self.top += (array.nbytes + 63) & ~63
        self.exports["memory"].write(self.store, array.tobytes(), pointer)
        return pointer

    def room(self, *shape: int) -> int:
        return self.put(np.concatenate([np.full(int(np.prod(shape)), np.nan), np.full(CANARIES, 7.0)]))

    def get(self, pointer: int, *shape: int) -> NDArray[np.float32]:
        size = int(np.prod(shape))
        data = self.exports["memory"].read(self.store, pointer, pointer + 4 * (size + CANARIES))
        numbers = np.frombuffer(data, np.float32)
        assert (numbers[size:] == 7).all(), "written past the end"
        return numbers[:size].reshape(shape)

    def call(self, name: str, *arguments: int) -> None:
        self.exports[name](self.store, *arguments)


@pytest.fixture
def kernels() -> Kernels:
    torch.manual_seed(0)
    return Kernels()


def pixels(planes: Tensor) -> NDArray[Any]:
    """Return a (C, H, W) map as (H, W, C)."""
    return planes.permute(1, 2, 0).numpy()


def error(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    assert np.isfinite(found).all()
    return float(np.abs(found - wanted).max() / np.abs(wanted).max())


def test_the_binary_belongs_to_the_source() -> None:
    facts = json.loads((LIVE_DIR / "kernels.json").read_text())
    for name, digest in (("kernels.c", "source_sha256"), ("kernels.wasm", "sha256")):
        found = hashlib.sha256((LIVE_DIR / name).read_bytes()).hexdigest()
        assert found == facts[digest], f"{name} has changed; run scripts/build_kernels.py"


def test_it_imports_nothing() -> None:
    assert wasmtime.Module.from_file(wasmtime.Engine(), str(LIVE_DIR / "kernels.wasm")).imports == []


# kernel, stride, channels in and out, height and width of what comes out
CONVOLUTIONS = [
    (3, 1, 4, 32, 14, 14),
    (3, 2, 32, 64, 7, 7),
    (3, 1, 1, 8, 5, 11),
    (3, 2, 12, 8, 8, 9),
    (1, 1, 64, 192, 7, 7),
    (1, 1, 10, 12, 3, 16),
    (3, 1, 6, 4, 1, 1),
]


@pytest.mark.parametrize(("kernel", "stride", "cin", "cout", "height", "width"), CONVOLUTIONS)
@pytest.mark.parametrize("added", [False, True])
def test_convolution(
    kernels: Kernels, kernel: int, stride: int, cin: int, cout: int, height: int, width: int, added: bool
) -> None:
    x = torch.randn(cin, (height - 1) * stride + kernel, (width - 1) * stride + kernel)
    weight, bias, add = torch.randn(cout, cin, kernel, kernel), torch.randn(cout), torch.randn(cout, height, width)
    wanted = functional.conv2d(x[None].double(), weight.double(), bias.double(), stride)[0] + added * add
    out = kernels.room(height, width, cout)
    by_four = weight.reshape(cout // 4, 4, cin, kernel, kernel).permute(0, 3, 4, 2, 1)
    given = [kernels.put(pixels(x)), kernels.put(by_four), kernels.put(bias)]
    sizes = (height, width, cin, cout, kernel, stride, x.shape[2] * cin)
    kernels.call("conv", out, *given, kernels.put(pixels(add)) if added else 0, *sizes)
    assert error(kernels.get(out, height, width, cout), pixels(wanted)) < CLOSE


@pytest.mark.parametrize(("channels", "height", "width"), [(32, 14, 14), (64, 7, 7), (8, 3, 5), (24, 5, 2)])
@pytest.mark.parametrize("conditioned", [False, True])
@pytest.mark.parametrize(("border", "act"), [(0, 0), (1, 1)])
def test_group_norm(
    kernels: Kernels, channels: int, height: int, width: int, conditioned: bool, border: int, act: int
) -> None:
    x, weight, bias = 3 + 5 * torch.randn(channels, height, width), torch.randn(channels), torch.randn(channels)
    scale, shift = torch.randn(2, channels)
    wanted = functional.group_norm(x[None].double(), 8, weight.double(), bias.double())[0]
    if conditioned:
        wanted = wanted * (1 + scale[:, None, None]) + shift[:, None, None]
    wanted = functional.pad(functional.silu(wanted) if act else wanted, (border,) * 4)
    shape = (height + 2 * border, width + 2 * border, channels)
    out, given = kernels.room(*shape), [kernels.put(pixels(x)), kernels.put(weight), kernels.put(bias)]
    condition = (kernels.put(scale), kernels.put(shift)) if conditioned else (0, 0)
    kernels.call("norm", out, *given, *condition, height, width, channels, border, act)
    assert error(kernels.get(out, *shape), pixels(wanted)) < CLOSE


def test_group_norm_of_small_numbers_shows_its_epsilon(kernels: Kernels) -> None:
    x = 1e-2 * torch.randn(32, 6, 5)
    right, wrong = (pixels(functional.group_norm(x[None].double(), 8, eps=eps)[0]) for eps in (1e-5, 1e-6))
    out = kernels.room(6, 5, 32)
    given = [kernels.put(pixels(x)), kernels.put(torch.ones(32)), kernels.put(torch.zeros(32))]
    kernels.call("norm", out, *given, 0, 0, 6, 5, 32, 0, 0)
    found = kernels.get(out, 6, 5, 32)
    assert error(found, right) < CLOSE
    assert error(found, wrong) > 1e-2


@pytest.mark.parametrize(("positions", "heads", "width"), [(49, 4, 16), (64, 2, 32), (5, 1, 8), (25, 4, 6), (9, 8, 1)])
def test_attention(kernels: Kernels, positions: int, heads: int, width: int) -> None:
    qkv = 3 * torch.randn(positions, 3, heads, width)
    split = qkv.permute(1, 2, 0, 3).double()
    right, unscaled = (
        functional.scaled_dot_product_attention(*split, scale=scale).permute(1, 0, 2).numpy() for scale in (None, 1)
    )
    out = kernels.room(positions, heads, width)
    kernels.call("attention", out, kernels.put(qkv), positions, heads, width)
    found = kernels.get(out, positions, heads, width)
    assert error(found, right) < CLOSE
    assert width == 1 or error(found, unscaled) > 1e-2


@pytest.mark.parametrize(("n", "rows"), [(128, 512), (512, 33), (6, 10), (19, 3), (1, 1)])
def test_linear(kernels: Kernels, n: int, rows: int) -> None:
    x, weight, bias = torch.randn(n), torch.randn(rows, n), torch.randn(rows)
    out = kernels.room(rows)
    kernels.call("linear", out, kernels.put(x), kernels.put(weight), kernels.put(bias), n, rows)
    assert error(kernels.get(out, rows), (weight.double() @ x.double() + bias).numpy()) < CLOSE


def test_silu_is_right_to_rounding_wherever_it_does_not_vanish(kernels: Kernels) -> None:
    x = torch.linspace(-80, 80, 40_003)
    out = kernels.room(len(x))
    kernels.call("silu", out, kernels.put(x), len(x))
    found, wanted = kernels.get(out, len(x)).astype(np.float64), functional.silu(x.double()).numpy()
    near = np.abs(wanted) > 1e-30
    assert (np.abs(found - wanted)[near] / np.abs(wanted)[near]).max() < 6e-7


def test_silu_of_extreme_numbers(kernels: Kernels) -> None:
    x = torch.tensor([0.0, -0.0, -1e4, 1e4, 88, -88, 1e-30, -1e-30])
    out = kernels.room(len(x))
    kernels.call("silu", out, kernels.put(x), len(x))
    assert np.abs(kernels.get(out, len(x)) - functional.silu(x).numpy()).max() < 1e-30


@pytest.mark.parametrize("act", [0, 1])
@pytest.mark.parametrize(("channels", "height", "width", "border"), [(1, 28, 28, 1), (5, 3, 7, 1), (9, 1, 1, 0)])
def test_pad(kernels: Kernels, channels: int, height: int, width: int, border: int, act: int) -> None:
    x = torch.randn(channels, height, width)
    wanted = functional.pad(functional.relu(x) if act else x, (border,) * 4)
    shape = (height + 2 * border, width + 2 * border, channels)
    out = kernels.room(*shape)
    kernels.call("pad", out, kernels.put(pixels(x)), height, width, channels, border, act)
    assert np.array_equal(kernels.get(out, *shape), pixels(wanted))


def test_concatenate(kernels: Kernels) -> None:
    a, b = np.random.default_rng(0).random((7, 5)), np.random.default_rng(1).random((7, 3))
    out = kernels.room(7, 8)
    kernels.call("concatenate", out, kernels.put(a), kernels.put(b), 7, 5, 3)
    assert np.array_equal(kernels.get(out, 7, 8), np.concatenate([a, b], axis=1).astype(np.float32))


def test_unfold(kernels: Kernels) -> None:
    x = np.random.default_rng(0).random((3, 5, 2, 2, 6)).astype(np.float32)
    out = kernels.room(6, 10, 6)
    kernels.call("unfold", out, kernels.put(x), 3, 5, 6)
    assert np.array_equal(kernels.get(out, 6, 10, 6), x.transpose(0, 2, 1, 3, 4).reshape(6, 10, 6))


def test_maximum(kernels: Kernels) -> None:
    x = -np.random.default_rng(0).random((11, 13)).astype(np.float32)
    out = kernels.room(13)
    kernels.call("maximum", out, kernels.put(x), 11, 13)
    assert np.array_equal(kernels.get(out, 13), x.max(axis=0))
