"""Activations of modules, found by name: recorded as they were, at any timestep, or refused."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hooked_sampling import LABELS, hooks, sample
from torch import Tensor, nn

from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.unet import SimpleUNet
from viz_diffusion.errors import VizdiffUsageError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.hooks import match_modules
from viz_diffusion.recording.recorder import Recorder

# -- activations -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("patterns", "found"),
    [
        (["time_mlp", "label_emb"], ["time_mlp", "label_emb"]),
        (["down.*"], ["down_outer.0", "down_inner.0"]),
        (["mid.attention"], ["mid_attention"]),
        (
            ["*.conv1"],
            [
                "down_outer.0.conv1",
                "down_inner.0.conv1",
                "mid1.conv1",
                "mid2.conv1",
                "up_inner.0.conv1",
                "up_outer.0.conv1",
            ],
        ),
        (["down_outer.0.conv1", "down_outer.0"], ["down_outer.0", "down_outer.0.conv1"]),
        (["conv_out", "conv_in"], ["conv_in", "conv_out"]),
    ],
)
def test_names_and_globs(patterns: list[str], found: list[str], unet: SimpleUNet) -> None:
    assert list(match_modules(unet, patterns)) == found


def test_a_star_gives_each_part_once(unet: SimpleUNet) -> None:
    names = list(match_modules(unet, ["*"]))
    assert {"time_mlp", "label_emb", "down_outer.0", "mid_attention", "up_outer.0", "conv_out"} <= set(names)
    assert not any(one.startswith(f"{other}.") for one in names for other in names)


def test_an_unknown_name_lists_what_there_is(unet: SimpleUNet) -> None:
    with pytest.raises(VizdiffUsageError, match=r"no module is called 'attn\*'; there are time_mlp, label_emb"):
        match_modules(unet, ["attn*"])


@pytest.mark.parametrize("scale", [1.0, 1.5])
def test_activations_are_what_the_modules_gave(scale: float, unet: SimpleUNet, linear: NoiseSchedule) -> None:
    found = record_generation(
        unet,
        linear,
        LABELS,
        [1, 2, 3],
        SamplerConfig(steps=5, guidance_scale=scale),
        activations=["time_mlp", "label_emb", "down.*", "mid.attention"],
    )
    assert found.activation_steps.tolist() == [0, 1, 2, 3, 4]
    assert list(found.activations) == ["time_mlp", "label_emb", "down_outer.0", "down_inner.0", "mid_attention"]
    assert found.activations["time_mlp"].shape == (3, 5, 16)
    assert found.activations["down_outer.0"].shape == (3, 5, 8, 14, 14)
    for k, t in enumerate(found.timesteps.tolist()):
        times = unet.time_mlp(torch.full((3,), t))
        np.testing.assert_allclose(found.activations["time_mlp"][:, k], times.numpy(), rtol=1e-4, atol=1e-6)
        np.testing.assert_array_equal(found.activations["label_emb"][:, k], unet.label_emb(LABELS).numpy())
        kept = {}
        handle = unet.mid_attention.register_forward_hook(lambda _, __, out, kept=kept: kept.update(out=out))
        unet(torch.from_numpy(found.x_t[:, k]), torch.full((3,), t), LABELS)
        handle.remove()
        np.testing.assert_allclose(found.activations["mid_attention"][:, k], kept["out"], rtol=1e-4, atol=1e-5)


def test_norms_at_chosen_timesteps(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    options = {"config": SamplerConfig(steps=5, guidance_scale=1.5), "activations": ["mid1", "time_mlp"]}
    whole = record_generation(unet, linear, LABELS, [1, 2, 3], **options)
    norms = record_generation(
        unet, linear, LABELS, [1, 2, 3], **options, activations_at=whole.timesteps[[1, 4]], activation_norms=True
    )
    assert norms.activation_steps.tolist() == [1, 4]
    for name, values in whole.activations.items():
        expected = np.linalg.norm(values[:, [1, 4]].reshape(3, 2, -1).astype(np.float64), axis=-1)
        np.testing.assert_allclose(norms.activations[name], expected, rtol=1e-6)


@pytest.mark.parametrize("store", [False, True])
def test_images_are_the_same_with_activations(
    store: bool, unet: SimpleUNet, linear: NoiseSchedule, tmp_path: object
) -> None:
    plain = sample(unet, linear)
    place = tmp_path / "a.zarr" if store else None
    with Recorder(unet, linear, activations=["*"], store=place):
        assert hooks(unet) > 10
        assert torch.equal(sample(unet, linear), plain)
    assert hooks(unet) == 0


class Odd(nn.Module):
    """Modules that are never run, run twice, or mix the images of a batch."""

    def __init__(self) -> None:
        super().__init__()
        self.idle, self.twice, self.mixing = nn.Identity(), nn.Identity(), nn.Flatten(0)

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        self.mixing(x)
        return self.twice(self.twice(x)) * t[0] / 1000


@pytest.mark.parametrize(("name", "words"), [("idle", "did not run"), ("twice", "ran twice"), ("mixing", "rows for")])
def test_modules_that_cannot_be_kept(name: str, words: str, linear: NoiseSchedule) -> None:
    network = Odd()
    with pytest.raises(VizdiffUsageError, match=words), Recorder(network, linear, activations=[name]):
        network(torch.ones(2, 1, 4, 4), torch.tensor([5, 5]))
    assert hooks(network) == 0


def test_a_module_called_outside_the_forward_pass_is_not_recorded(unet: SimpleUNet, linear: NoiseSchedule) -> None:
    with Recorder(unet, linear, activations=["time_mlp"]) as recorder:
        unet.embed(torch.tensor([3]))
        sample(unet, linear, count=2)
    assert recorder.trajectory().activations["time_mlp"].shape == (2, 5, 16)
