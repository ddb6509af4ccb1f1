"""The glossary: terms with their symbols, formulas and chapters; their words come from the catalogue.

Knows nothing about pages.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

from viz_diffusion.text.catalogue import Texts


class Entry(NamedTuple):
    """What a term is in every language."""

    name: str
    """Its name in the catalogue, ``glossary.NAME``."""
    chapter: str
    """Name of the lesson whose chapter shows it."""
    symbol: str
    """Its symbol, as :func:`~viz_diffusion.text.math_html.formula` reads it."""
    formula: str
    """Its formula, likewise."""


ENTRIES = (
    Entry("forward_process", "noising", "q(x_t | xₜ₋₁)", "x_t = √αₜ·xₜ₋₁ + √βₜ·ε"),
    Entry("noise_schedule", "noising", "βₜ, ᾱₜ", "αₜ = 1 − βₜ, ᾱₜ = ᾱₜ₋₁·αₜ"),
    Entry("noisy_image", "noising", "x_t", "x_t = √ᾱₜ·x₀ + √(1−ᾱₜ)·ε"),
    Entry("signal_to_noise_ratio", "noising", "SNR(t)", "SNR(t) = ᾱₜ / (1−ᾱₜ)"),
    Entry("timestep", "noising", "t", "t = 0, …, T−1"),
    Entry("training_step", "training", "θ", "θ ← θ − η·g, g = ∂L / ∂θ"),
    Entry("heldout_loss", "training", "L", "L = ‖ε − ε̂‖² / D"),
    Entry("averaged_weights", "training", "θ̄", "θ̄ ← m·θ̄ + (1−m)·θ"),
    Entry("bits_per_pixel", "training", "b", "b = (L₀ + L₁ + … + L_T) / (D·log 2)"),
    Entry("reverse_process", "guess", "p(xₜ₋₁ | x_t)", "x_T → … → x_t → xₜ₋₁ → … → x₀"),
    Entry("predicted_x0", "guess", "x̂₀", "x̂₀ = (x_t − √(1−ᾱₜ)·ε̂) / √ᾱₜ"),
    Entry("predicted_noise", "step", "ε̂", "ε̂ = (x_t − √ᾱₜ·x̂₀) / √(1−ᾱₜ)"),
    Entry("denoising_step", "step", "x_t → xₜ₋₁", "xₜ₋₁ = a·x_t − b·ε̂ + σₜ·z"),
    Entry("ddpm", "step", "σₜ·z", "xₜ₋₁ = (x_t − βₜ·ε̂ / √(1−ᾱₜ)) / √αₜ + σₜ·z"),
    Entry("v_prediction", "spellings", "v", "v = √ᾱₜ·ε − √(1−ᾱₜ)·x₀"),
    Entry("label", "label", "y", "y = 0, …, K−1, ∅"),
    Entry("label_embedding", "label", "e(y)", "e = e(t) + e(y)"),
    Entry("time_embedding", "clock", "e(t)", "sin(ω·t), cos(ω·t)"),
    Entry("unet", "network", "ε̂(x_t, t, y)", "ε̂ = ε̂(x_t, t, y)"),
    Entry("near_copy", "memorisation", "d₁, d₂", "d₁ / d₂ < 1 / 3"),
    Entry("classifier_free_guidance", "guidance", "ε̃", "ε̃ = ε̂(x_t, ∅) + s·(ε̂(x_t, y) − ε̂(x_t, ∅))"),
    Entry("guidance_scale", "guidance", "s", "s = 1 + w"),
    Entry("classifier_accuracy", "guidance", "p", "p = k / n"),
    Entry("precision_recall", "guidance", "P, R", "P = k / n, R = l / m"),
    Entry("confidence_interval", "guidance", "CI", "x ± 1.96·σ / √n"),
    Entry("ddim", "samplers", "η = 0", "xₜ₋₁ = √ᾱₜ₋₁·x̂₀ + √(1−ᾱₜ₋₁)·ε̂"),
    Entry("dpm_solver", "samplers", "2M", "x̂₀ + (x̂₀ − x̂₀′) / (2·r)"),
    Entry("network_evaluation", "samplers", "NFE", "NFE = N (DDIM), NFE = 2·N − 1 (Heun)"),
    Entry("frechet_distance", "samplers", "FID", "FID = ‖μ₁ − μ₂‖² + tr(C₁ + C₂ − 2·√(C₁·C₂))"),
    Entry("flow_matching", "flow", "u", "u = ε − x₀"),
    Entry("latent_space", "latent", "z", "z = (E(x) − m) / s"),
    Entry("autoencoder", "latent", "E, D", "x̂ = D(E(x))"),
    Entry("kl_weight", "latent", "β", "L = ‖x − x̂‖² + β·KL"),
    Entry("tokenizer", "text", "w", "w = w₁, w₂, …"),
    Entry("text_encoder", "text", "c", "c = f(w₁, w₂, …)"),
    Entry("contrastive_learning", "text", "u, v", "L = −log(exp(s·u₁·v₁) / (exp(s·u₁·v₁) + exp(s·u₁·v₂) + …))"),
    Entry("cross_attention", "text", "A", "A = softmax(Q·K / √d)"),
)
"""All terms, in the order of the chapters."""


@dataclass(frozen=True)
class Term:
    """One term in one language."""

    entry: Entry
    """Its name, chapter, symbol and formula."""
    term: str
    """The term."""
    text: str
    """Its definition, one to three sentences."""
    also: tuple[str, ...]
    """Other words for it."""

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Finds the term in a text, in the singular or plural; Chinese terms need no spaces around them."""
        words = sorted((self.term, *self.also), key=len, reverse=True)
        return re.compile("|".join(map(_whole_word, words)), re.IGNORECASE)


def _whole_word(word: str) -> str:
    plural = "(?:e?s)?" if word.isascii() and word[-1].islower() else ""
    before = r"(?<![A-Za-z0-9-])" if word[0].isascii() else ""
    after = r"(?![A-Za-z0-9-])" if word[-1].isascii() else ""
    return f"{before}{re.escape(word)}{plural}{after}"


def glossary(texts: Texts) -> tuple[Term, ...]:
    """Return all terms: in alphabetical order, in Chinese in that of the chapters.

    Raises
    ------
    VizdiffInputError
        Where the catalogue lacks the words of a term.
    """
    terms = [_term(entry, texts) for entry in ENTRIES]
    return tuple(terms if texts.lang == "zh" else sorted(terms, key=lambda term: term.term.casefold()))


def _term(entry: Entry, texts: Texts) -> Term:
    words = {part: texts[f"glossary.{entry.name}.{part}"] for part in ("term", "text")}
    also = f"glossary.{entry.name}.also"
    return Term(entry, **words, also=tuple(texts[also].split("; ")) if also in texts else ())
