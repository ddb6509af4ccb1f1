"""A network under prompts: each label is the prompt it stands for, and attention is a distribution over its words."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from torch import Tensor

from viz_diffusion.data.caption_words import VOCABULARY
from viz_diffusion.diffusion.converted_unet import ConvertedUNet
from viz_diffusion.diffusion.label_mixture import mixed_labels
from viz_diffusion.diffusion.prompted import PromptedDenoiser
from viz_diffusion.diffusion.sampler_config import SamplerConfig
from viz_diffusion.diffusion.schedule import NoiseSchedule
from viz_diffusion.diffusion.text_encoder import TextConfig, TextEncoder
from viz_diffusion.diffusion.unet import ModelConfig, SimpleUNet
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.recording.generation import record_generation
from viz_diffusion.recording.recorder import Recorder
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.training.text_encoder_training import new_text_encoder

TEXT = TextConfig(VOCABULARY, width=16, num_heads=2)
CONFIG = ModelConfig(channels=(8, 8), embedding_dim=16, time_dim=8, num_heads=2, text=TEXT, num_labels=2)
PROMPTS = ("a thick seven", "一个一")
SCHEDULE = NoiseSchedule.named("linear")


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return new_text_encoder(TEXT, seed=0).eval().requires_grad_(False)


@pytest.fixture(scope="module")
def network(encoder: TextEncoder) -> SimpleUNet:
    torch.manual_seed(0)
    unet = SimpleUNet(CONFIG).eval().requires_grad_(False)
    for parameter in unet.parameters():  # the layers that begin at zero
        parameter.add_(0.1 * torch.randn(parameter.shape))
    unet.label_emb.set_prompts(encoder.encode(PROMPTS))
    return unet


def predicted(unet: SimpleUNet, label: int | None, t: int = 500) -> Tensor:
    x = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    labels = None if label is None else torch.tensor([label])
    return unet(x, torch.tensor([t]), labels)


def test_a_label_is_its_prompt_and_the_null_label_the_empty_prompt(network: SimpleUNet, encoder: TextEncoder) -> None:
    chosen = PromptedDenoiser(network, encoder, ["", "a one", "一个一", "a thick seven"])
    torch.testing.assert_close(predicted(chosen, 3), predicted(network, 0))
    torch.testing.assert_close(predicted(chosen, 2), predicted(network, 1))
    torch.testing.assert_close(predicted(chosen, 0), predicted(network, network.null_label))
    assert torch.equal(predicted(chosen, chosen.null_label), predicted(chosen, None))
    assert (network.null_label, chosen.null_label, chosen.config.num_labels) == (2, 4, 4)
    assert not torch.allclose(predicted(chosen, 1), predicted(chosen, 2), atol=1e-4)  # other words
    assert chosen.class_names == ("", "a one", "一个一", "a thick seven")
    assert network.label_emb.num_prompts == 2  # the network's own prompts stay


def test_the_attention_of_each_position_is_a_distribution_over_the_words(network: SimpleUNet) -> None:
    seen: list[Tensor] = []
    hook = network.word_attention.maps.register_forward_hook(lambda _, __, maps: seen.append(maps))
    try:
        predicted(network, 1)
    finally:
        hook.remove()
    (maps,) = seen
    assert maps.shape == (1, 4, 7, 7)  # the start token and the three words of the longest prompt
    torch.testing.assert_close(maps.sum(dim=1), torch.ones(1, 7, 7))
    assert (maps[:, 3:] == 0).all()  # 一个一 has two words: the rest is padding
    assert (maps[:, :3] > 0).all()


def test_attention_by_hand(network: SimpleUNet) -> None:
    """The output of the word attention is that of PyTorch's own attention on the same queries, keys and values."""
    layer = network.word_attention
    x = torch.randn(2, 8, 7, 7, generator=torch.Generator().manual_seed(1))
    words, mask = network.label_emb.words(torch.tensor([0, 1]))
    q = layer.query(layer.norm(x)).flatten(2).transpose(1, 2).reshape(2, 49, 2, 4).transpose(1, 2)
    k, v = (part.reshape(2, -1, 2, 4).transpose(1, 2) for part in layer.key_value(words).chunk(2, dim=2))
    h = torch.nn.functional.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None, :])
    h = h.transpose(2, 3).reshape(2, 8, 7, 7)
    torch.testing.assert_close(layer(x, words, mask), x + layer.out(h))


def test_only_what_is_trained_is_in_a_weights_file(network: SimpleUNet) -> None:
    names = {name for name in network.state_dict() if name.startswith("label_emb")}
    assert names == {"label_emb.project.weight", "label_emb.project.bias"}


def test_a_recording_holds_the_prompts_and_the_maps_of_words(network: SimpleUNet, encoder: TextEncoder) -> None:
    chosen = PromptedDenoiser(network, encoder, PROMPTS)
    visited = [999, 500, 0]
    with Recorder(chosen, SCHEDULE, activations=["word_attention.maps"], guidance_scale=2.0, clip=True) as recorder:
        x = torch.randn(1, 1, 28, 28, generator=torch.Generator().manual_seed(0))
        for t in visited:
            x = x - 0.1 * chosen(x.repeat(2, 1, 1, 1), torch.tensor([t, t]), torch.tensor([0, 2]))[:1]
        recorder.finish(x)
    found = recorder.trajectory()
    assert found.prompts == PROMPTS
    assert found.labels.tolist() == [0]
    assert found.activations["word_attention.maps"].shape == (1, 3, 4, 7, 7)


def test_prompts_survive_a_store_and_other_recordings_name_none(
    network: SimpleUNet, encoder: TextEncoder, tmp_path: Path
) -> None:
    store = tmp_path / "one.zarr"
    chosen = PromptedDenoiser(network, encoder, PROMPTS)
    config = SamplerConfig("ddim", 2, guidance_scale=2.0)
    found = record_generation(chosen, SCHEDULE, torch.tensor([1]), [3], config, store=store)
    assert found.prompts == Trajectory.open(store).prompts == PROMPTS
    again = tmp_path / "two.zarr"
    found.save(again)
    assert Trajectory.open(again).prompts == PROMPTS
    plain = record_generation(network, SCHEDULE, torch.tensor([1]), [3], config, store=again)
    assert plain.prompts == ()
    assert "prompts" not in (again / "zarr.json").read_text()


def test_mixed_prompts_are_mixtures_of_their_vectors(network: SimpleUNet) -> None:
    weights = torch.tensor([0.0, 1.0, 0.0])
    with mixed_labels(network, weights):
        mixed = network.embed(torch.tensor([5]), torch.tensor([0]))
    torch.testing.assert_close(mixed, network.embed(torch.tensor([5]), torch.tensor([1])))


def test_a_converted_network_is_told_prompts_too(network: SimpleUNet, encoder: TextEncoder) -> None:
    plain = SimpleUNet(replace(CONFIG, schedule=None)).eval().requires_grad_(False)
    plain.load_state_dict(network.state_dict())
    plain.label_emb.set_prompts(encoder.encode(PROMPTS))
    converted = ConvertedUNet(plain, "v_prediction", SCHEDULE)
    assert converted.null_label == 2
    assert not torch.allclose(predicted(converted, 0), predicted(converted, 1))
    with pytest.raises(VizdiffUsageError, match="predicts ε"):
        PromptedDenoiser(converted, encoder, PROMPTS)


def test_a_network_of_labels_is_told_no_prompts(encoder: TextEncoder) -> None:
    with pytest.raises(VizdiffUsageError, match="trained with text"):
        PromptedDenoiser(SimpleUNet(replace(CONFIG, text=None)), encoder, PROMPTS)


def test_a_config_with_text_survives_json_and_one_without_is_as_before() -> None:
    values = asdict(CONFIG)
    values["channels"], values["text"]["vocabulary"] = [8, 8], list(VOCABULARY)
    assert ModelConfig.from_dict(values) == CONFIG
    plain = asdict(replace(CONFIG, text=None))
    del plain["text"]
    assert ModelConfig.from_dict(plain).text is None
    with pytest.raises(VizdiffInputError, match="does not fit"):
        ModelConfig.from_dict({**plain, "text": {"width": 16}})
