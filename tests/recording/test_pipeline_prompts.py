"""Prompts of pipelines in their recordings, and the attention to each word, which is the network's own."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import DDIMScheduler, FlowMatchEulerDiscreteScheduler
from diffusers.models.attention_processor import AttnProcessor
from pipeline_calls import STEPS, run
from tiny_pipelines import stable_diffusion, stable_diffusion_3, with_text_encoder

from viz_diffusion import record_pipeline
from viz_diffusion.errors import VizdiffInputError, VizdiffUsageError
from viz_diffusion.plots.raster import fitted
from viz_diffusion.recording.pipeline_prompts import prompts_of_call, word_places
from viz_diffusion.recording.requested_label import prompt_of
from viz_diffusion.recording.trajectory import Trajectory
from viz_diffusion.recording.word_attention import CrossAttention
from viz_diffusion.recording.word_maps import CROSS_ATTENTION, prompt_maps
from viz_diffusion.views.latent_channels import draw_channels
from viz_diffusion.views.word_maps import draw_word_maps

# diffusers' own schedulers turn tensors into arrays in a way that newer NumPy warns of
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")
SEVEN, SLANTED = "a seven", "a thick slanted seven"


def scheduler() -> DDIMScheduler:
    return DDIMScheduler(clip_sample=False, steps_offset=1)


@pytest.fixture(scope="module")
def pipe() -> Any:
    return with_text_encoder(stable_diffusion(scheduler())[0])


CALL = {"prompt": [SLANTED, SEVEN], "height": 8, "width": 8, "guidance_scale": 3.0}


# -- prompts -----------------------------------------------------------------------------------------


def test_prompts_of_a_call_are_recorded_with_their_images(pipe: Any, tmp_path: Path) -> None:
    with record_pipeline(pipe, seeds=[1, 2, 3, 4]) as recording:
        run(pipe, CALL, num_images_per_prompt=2)
    found = recording.trajectory()
    assert (found.prompts, found.labels.tolist()) == ((SLANTED, SEVEN), [0, 0, 1, 1])
    assert [prompt_of(found, k) for k in range(4)] == [SLANTED, SLANTED, SEVEN, SEVEN]
    found.save(tmp_path / "a.zarr")
    kept = Trajectory.open(tmp_path / "a.zarr")
    assert (kept.prompts, kept.labels.tolist()) == (found.prompts, [0, 0, 1, 1])


def test_a_store_holds_the_prompts_of_all_its_runs(pipe: Any, tmp_path: Path) -> None:
    sixteen = [SEVEN] * 16
    with record_pipeline(pipe, store=tmp_path / "a.zarr", word_maps=True, activation_steps=[1]) as recording:
        run(pipe, CALL | {"prompt": sixteen})
        run(pipe, CALL | {"prompt": [SLANTED, SEVEN]})
    found = recording.trajectory()
    assert (found.prompts, found.labels.tolist()) == ((SEVEN, SLANTED), [0] * 16 + [1, 0])
    assert prompt_maps(found, 16).words == ("a", "thick", "slanted", "seven")
    assert prompt_maps(found, 17).steps.tolist() == [1]


def test_prompts_of_embeddings_are_the_callers() -> None:
    pipe, call = stable_diffusion(scheduler())
    with record_pipeline(pipe, prompts=["ein Haus", "a house"]) as recording:
        run(pipe, call)
    found = recording.trajectory()
    assert (found.prompts, found.labels.tolist()) == (("ein Haus", "a house"), [0, 1])
    with record_pipeline(pipe) as recording:
        run(pipe, call)
    assert (recording.trajectory().prompts, recording.trajectory().labels.tolist()) == ((), [-1, -1])
    with (
        pytest.raises(VizdiffUsageError, match="labels and prompts exclude each other"),
        record_pipeline(pipe, prompts=["a"], labels=[1]),
    ):
        pass


def test_prompts_are_found_by_their_argument() -> None:
    def call(prompt: Any = None, steps: int = 5, num_images_per_prompt: int | None = 1, **kwargs: Any) -> None: ...

    assert prompts_of_call(call, ("a",), {}) == ("a",)
    assert prompts_of_call(call, (["a", "b"],), {"num_images_per_prompt": 2}) == ("a", "a", "b", "b")
    assert prompts_of_call(call, ("a", 5, None), {}) == ("a",)
    assert prompts_of_call(call, ("",), {}) == ("",)
    assert prompts_of_call(call, (), {"prompt": torch.zeros(1)}) == ()
    assert prompts_of_call(call, (), {"steps": 3}) == ()
    assert prompts_of_call(call, (1, 2, 3, 4, 5), {}) == ()


class Sentences:
    """A tokenizer like T5's, whose tokens begin a word by ▁."""

    model_max_length, all_special_tokens = 512, ("</s>", "<pad>")

    def __call__(self, _prompt: str, **_: Any) -> Any:
        return type("Encoded", (), {"input_ids": list(range(5))})

    def convert_ids_to_tokens(self, numbers: list[int]) -> list[str]:
        return [["▁a", "▁slant", "ed", "▁seven", "</s>"][number] for number in numbers]


def test_tokens_are_joined_to_words(pipe: Any) -> None:
    words = [("a", 1, 2), ("thick", 2, 3), ("slanted", 3, 5), ("seven", 5, 6)]
    assert word_places(pipe.tokenizer, SLANTED) == words
    assert word_places(Sentences(), "a slanted seven") == [("a", 0, 1), ("slanted", 1, 3), ("seven", 3, 4)]
    assert word_places(pipe.tokenizer, "") == []
    cut = word_places(pipe.tokenizer, " ".join(["seven"] * 40))
    assert cut == [("seven", k, k + 1) for k in range(1, 11)]  # the encoder sees 12 tokens, two of them its own


# -- attention to words ------------------------------------------------------------------------------


class Noted(AttnProcessor):
    """diffusers' attention in plain steps, whose weights are noted: the other implementation."""

    def __init__(self, seen: list[torch.Tensor]) -> None:
        self.seen = seen

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, *args: Any, **kw: Any) -> Any:
        if encoder_hidden_states is not None:
            own = attn.get_attention_scores

            def noted(*inputs: Any) -> torch.Tensor:
                weights = own(*inputs)
                self.seen.append(weights.unflatten(0, (-1, attn.heads)).mean(dim=1))  # (n, positions, L)
                return weights

            attn.get_attention_scores = noted
        try:
            return super().__call__(attn, hidden_states, encoder_hidden_states, *args, **kw)
        finally:
            vars(attn).pop("get_attention_scores", None)


def hooks_of(network: torch.nn.Module) -> int:
    return sum(len(one._forward_hooks) + len(one._forward_pre_hooks) for one in network.modules())


def test_maps_are_the_attention_of_another_implementation_and_nothing_is_changed(pipe: Any) -> None:
    plain = run(pipe, CALL)
    with record_pipeline(pipe, word_maps=True, activation_steps=[0, 2]) as recording:
        assert hooks_of(pipe.unet) > 0
        watched = run(pipe, CALL)
    np.testing.assert_array_equal(watched, plain)
    assert hooks_of(pipe.unet) == 0
    found = recording.trajectory()
    maps = found.activations[CROSS_ATTENTION]
    assert (maps.shape, found.activation_steps.tolist()) == ((2, 2, 12, 4, 4), [0, 2])
    np.testing.assert_allclose(maps.sum(axis=2), 1, atol=1e-5)  # each position's attention is shared out

    seen: list[torch.Tensor] = []
    processors = pipe.unet.attn_processors
    pipe.unet.set_attn_processor(Noted(seen))
    run(pipe, CALL)
    pipe.unet.set_attn_processor(processors)
    layers = len(seen) // STEPS
    for k, step in enumerate((0, 2)):
        mean = torch.stack(seen[step * layers : (step + 1) * layers]).mean(dim=0)
        expected = mean.transpose(1, 2).unflatten(2, (4, 4)).numpy()
        np.testing.assert_allclose(maps[:, k], expected[2:], atol=1e-6)
        assert np.abs(maps[:, k] - expected[:2]).max() > 1e-4, "control: the empty prompt's half is another"


def test_a_words_map_is_the_sum_of_its_tokens(pipe: Any) -> None:
    with record_pipeline(pipe, word_maps=True) as recording:
        run(pipe, CALL)
    found = recording.trajectory()
    maps = prompt_maps(found, 0)
    tokens = found.activations[CROSS_ATTENTION][0]
    assert maps.words == ("a", "thick", "slanted", "seven")
    np.testing.assert_array_equal(maps.maps[:, 2], tokens[:, 3] + tokens[:, 4])
    np.testing.assert_array_equal(maps.maps[:, 3], tokens[:, 5])


def test_layers_of_several_sizes_are_brought_to_one() -> None:
    hooks = CrossAttention()
    fine, coarse = torch.rand(1, 3, 32, 32), torch.rand(1, 3, 16, 16)
    hooks._maps = [fine, coarse, torch.full((1, 3, 4, 4), 0.5)]
    (found,) = hooks.end_pass().values()
    halves = fine.unflatten(3, (16, 2)).unflatten(2, (16, 2)).mean(dim=(3, 5))
    np.testing.assert_allclose(found, ((halves + coarse + 0.5) / 3).numpy(), atol=1e-6)


@pytest.mark.parametrize("error", [ValueError("no"), KeyboardInterrupt()], ids=repr)
def test_hooks_are_removed_after_an_error(error: BaseException, pipe: Any) -> None:
    def fail(*_: Any) -> dict[str, Any]:
        raise error

    with pytest.raises(type(error)), record_pipeline(pipe, word_maps=True):
        run(pipe, CALL, callback_on_step_end=fail)
    assert hooks_of(pipe.unet) == 0


def test_where_there_are_no_words_this_is_said() -> None:
    joint, _ = stable_diffusion_3(FlowMatchEulerDiscreteScheduler())
    with (
        pytest.raises(VizdiffUsageError, match="SD3Transformer2DModel has none"),
        record_pipeline(joint, word_maps=True),
    ):
        pass
    assert hooks_of(joint.transformer) == 0
    pipe, call = stable_diffusion(scheduler())
    with record_pipeline(pipe, word_maps=True, prompts=["a", "b"]) as recording:
        run(pipe, call)
    with pytest.raises(VizdiffInputError, match="words of this recording's prompt are not known"):
        prompt_maps(recording.trajectory())
    with record_pipeline(pipe) as recording:
        run(pipe, call)
    with pytest.raises(VizdiffInputError, match="word_maps=True"):
        prompt_maps(recording.trajectory())


# -- drawn -------------------------------------------------------------------------------------------


def texts_of(figure: Any) -> list[str]:
    return [text.get_text() for text in figure.texts if text.get_text()]


def test_figures_show_decoded_images_channels_and_words(pipe: Any) -> None:
    with record_pipeline(pipe, word_maps=True, activation_steps=[0, 2]) as recording:
        run(pipe, CALL)
    found = recording.trajectory(decode_at=[4, 2, 1, 0])
    said = texts_of(draw_word_maps(found, 0))
    assert {"“a”", "“thick”", "“slanted”", "“seven”"} <= set(said)
    assert sum(text.startswith("t = ") for text in said) == 2  # attention and a decoded picture: steps 0 and 2
    said = texts_of(draw_channels(found, 1))
    assert "“a seven”" in said
    assert sum(" left" in text for text in said) == 3
    assert sum("finished" in text for text in said) == 1
    assert "“a thick slanted seven”" in texts_of(found.plot_decoded())
    with pytest.raises(VizdiffInputError, match=r"trajectory\(decode_at=\[4, 2\]\)"):
        draw_word_maps(recording.trajectory(decode_at=[0]))
    with pytest.raises(VizdiffInputError, match=r"decode_at=\[50, 20, 0\]"):
        draw_channels(recording.trajectory())


def test_large_images_are_reduced_by_means_of_blocks() -> None:
    image = np.arange(64.0).reshape(8, 8)
    small, factor = fitted(image, 4)
    np.testing.assert_array_equal(small, image.reshape(4, 2, 4, 2).mean(axis=(1, 3)))
    assert factor == 1
    assert fitted(image, 27)[1] == 3
    wide, _ = fitted(np.ones((10, 30, 3)), 7)
    assert wide.shape == (2, 7, 3)
    np.testing.assert_allclose(wide, 1)
