"""Pipelines of diffusers with tiny networks of random weights: Stable Diffusion 1.5 and 3, FLUX and DiT.

They have no text encoders: their calls get the embeddings of prompts.
"""

from __future__ import annotations

from typing import Any

import diffusers
import torch

LATENT = 4
"""Height and width of the latents; the pictures are twice as large."""


def tiny_vae(channels: int = 4, **config: Any) -> diffusers.AutoencoderKL:
    return diffusers.AutoencoderKL(
        in_channels=3,
        out_channels=3,
        latent_channels=channels,
        block_out_channels=(8, 8),
        norm_num_groups=4,
        down_block_types=("DownEncoderBlock2D",) * 2,
        up_block_types=("UpDecoderBlock2D",) * 2,
        **{"use_quant_conv": False, "use_post_quant_conv": False, "scaling_factor": 0.4, **config},
    ).eval()


def stable_diffusion(scheduler: Any) -> tuple[Any, dict[str, Any]]:
    """Return a pipeline like Stable Diffusion 1.5, and the arguments of a call with two images."""
    torch.manual_seed(0)
    unet = diffusers.UNet2DConditionModel(
        sample_size=LATENT,
        in_channels=4,
        out_channels=4,
        block_out_channels=(8,),
        layers_per_block=1,
        norm_num_groups=4,
        cross_attention_dim=8,
        attention_head_dim=4,
        down_block_types=("CrossAttnDownBlock2D",),
        up_block_types=("CrossAttnUpBlock2D",),
        mid_block_type="UNetMidBlock2DCrossAttn",
    ).eval()
    pipe = diffusers.StableDiffusionPipeline(
        vae=tiny_vae(),
        text_encoder=None,
        tokenizer=None,
        unet=unet,
        scheduler=scheduler,
        safety_checker=None,
        feature_extractor=None,
        requires_safety_checker=False,
    )
    call = {"prompt_embeds": torch.randn(2, 3, 8), "negative_prompt_embeds": torch.randn(2, 3, 8)}
    return _ready(pipe), call | {"height": 2 * LATENT, "width": 2 * LATENT, "guidance_scale": 3.0}


def stable_diffusion_3(scheduler: Any) -> tuple[Any, dict[str, Any]]:
    """Return a pipeline like Stable Diffusion 3, and the arguments of a call with two images."""
    torch.manual_seed(0)
    transformer = diffusers.SD3Transformer2DModel(
        sample_size=LATENT,
        patch_size=1,
        in_channels=4,
        out_channels=4,
        num_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        caption_projection_dim=16,
        pooled_projection_dim=8,
        pos_embed_max_size=LATENT,
    ).eval()
    pipe = diffusers.StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=scheduler,
        vae=tiny_vae(shift_factor=0.06),
        **dict.fromkeys(
            ("text_encoder", "text_encoder_2", "text_encoder_3", "tokenizer", "tokenizer_2", "tokenizer_3")
        ),
    )
    call = {
        "prompt_embeds": torch.randn(2, 3, 16),
        "negative_prompt_embeds": torch.randn(2, 3, 16),
        "pooled_prompt_embeds": torch.randn(2, 8),
        "negative_pooled_prompt_embeds": torch.randn(2, 8),
    }
    return _ready(pipe), call | {"height": 2 * LATENT, "width": 2 * LATENT, "guidance_scale": 3.0}


def flux(scheduler: Any) -> tuple[Any, dict[str, Any]]:
    """Return a pipeline like FLUX, and the arguments of a call with two images, twice as wide as high."""
    torch.manual_seed(0)
    transformer = diffusers.FluxTransformer2DModel(
        patch_size=1,
        in_channels=16,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=8,
        num_attention_heads=2,
        joint_attention_dim=16,
        pooled_projection_dim=8,
        axes_dims_rope=(2, 2, 4),
        guidance_embeds=True,
    ).eval()
    pipe = diffusers.FluxPipeline(
        transformer=transformer,
        scheduler=scheduler,
        vae=tiny_vae(shift_factor=0.1),
        **dict.fromkeys(("text_encoder", "text_encoder_2", "tokenizer", "tokenizer_2")),
    )
    call = {"prompt_embeds": torch.randn(2, 3, 16), "pooled_prompt_embeds": torch.randn(2, 8)}
    return _ready(pipe), call | {"height": 2 * LATENT, "width": 4 * LATENT, "guidance_scale": 3.0}


def dit(scheduler: Any) -> tuple[Any, dict[str, Any]]:
    """Return a class-conditional DiT pipeline that learns the variance, and the arguments of a call with two images."""
    torch.manual_seed(0)
    transformer = diffusers.DiTTransformer2DModel(
        sample_size=LATENT,
        patch_size=2,
        in_channels=4,
        out_channels=8,
        num_layers=2,
        attention_head_dim=4,
        num_attention_heads=2,
        norm_num_groups=4,
        num_embeds_ada_norm=1000,
    ).eval()
    pipe = diffusers.DiTPipeline(transformer=transformer, vae=tiny_vae(), scheduler=scheduler)
    return _ready(pipe), {"class_labels": [207, 360], "guidance_scale": 4.0}


def _ready(pipe: Any) -> Any:
    pipe.set_progress_bar_config(disable=True)
    return pipe


def with_text_encoder(pipe: Any) -> Any:
    """Give a pipeline like Stable Diffusion 1.5 a tiny CLIP text encoder and a tokenizer that splits "slanted"."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTokenizer

    words = ("a</w>", "thick</w>", "seven</w>", "slan", "ted</w>")
    letters = sorted(set("athickslantedseven"))
    entries = ["<|startoftext|>", "<|endoftext|>", *letters, *(f"{one}</w>" for one in letters if one != "a"), *words]
    pieces = ["se", "sev", "seve", "th", "thi", "thic", "sl", "sla", "te"]
    pairs = "s e  se v  sev e  seve n</w>  t h  th i  thi c  thic k</w>  s l  sl a  sla n  t e  te d</w>"
    merges = [tuple(pair.split()) for pair in pairs.split("  ")]
    vocabulary = {token: number for number, token in enumerate(dict.fromkeys([*entries, *pieces]))}
    tokenizer = CLIPTokenizer(vocab=vocabulary, merges=merges, model_max_length=12)
    torch.manual_seed(0)
    config = CLIPTextConfig(
        vocab_size=len(vocabulary),
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=2,
        max_position_embeddings=12,
        projection_dim=8,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    pipe.register_modules(text_encoder=CLIPTextModel(config).eval(), tokenizer=tokenizer)
    return pipe
