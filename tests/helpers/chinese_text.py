"""Which Latin words a Chinese text may hold."""

from __future__ import annotations

import re

NAMES = {
    "viz_diffusion",
    "SNR",
    "DDPM",
    "DDIM",
    "MLP",
    "MNIST",
    "KID",
    "SHA",
    "Ctrl",
    "Home",
    "End",
    "EMA",
    "FID",
    "NFE",
    "SNE",
    "min",
    "Sun",
    "x_t",
    "CIFAR",
    "Dieleman",
    "Falck",
    "Kynkäänniemi",
    "Gao",
    "Kadkhodaie",
    "Karras",
    "Kingma",
    "Ning",
    "Salimans",
    "Song",
    "Yoon",
    "Schmidt",
    "Spearman",
    "Antognini",
    "Sohl",
    "Dickstein",
    "DPM",
    "Solver",
    "vizdiff",
    "lesson",
    "evaluate",
    "FFJORD",
    "Flow",
    "Glow",
    "NVP",
    "Real",
    "Residual",
    "L_T",
    "log",
    "training",
    "coarse_fine",
    "range",
    "x_T",
    "Net",
    "JavaScript",
    "WebAssembly",
    "SIMD",
    "PyTorch",
    "RMS",
    "SDEdit",
    "RePaint",
    "PNG",
    "GIF",
    "Page",
    "Down",
    "PCA",
    "Rousseeuw",
    "Stable",
    "Diffusion",
    "CLIP",
    "diffusers",
    "ViT",
    "Welling",
    "Rombach",
    "InfoNCE",
    "Radford",
    "Vaswani",
}
"""Latin words allowed in a Chinese text; commands and fields are not checked."""
FILES = {"FID", "IDX", "PNG", "png", "svg", "json", "trajectory", "zarr", "VIZDIFF_DEBUG"}
"""Latin words allowed in the terminal too."""


def is_command(key: str) -> bool:
    return key.removeprefix("alone.").startswith("chapter.") and key.endswith(".try_this")


def foreign_words(key: str, text: str) -> list[str]:
    """Return the words of at least three Latin letters that are not in ``NAMES``; none of a command or a prompt."""
    if is_command(key) or key == "language.tag":
        return []
    plain = re.sub(
        r"“[a-z …]+”|{[^}]*}|--[a-z-]+( bundled| all| [A-Z]+)?|vizdiff [a-z-]+", " ", text.replace("et al.", "")
    )
    names = NAMES | FILES if key.startswith("terminal.") else NAMES
    return [word for word in re.findall(r"[A-Za-zÀ-ž_]{3,}", plain) if word not in names]


def english_words(line: str) -> list[str]:
    """Return where two English words stand in a row that are no command and not quoted."""
    return re.findall(r"(?<![-\w/.'])[a-z]{2,} [a-z]{2,}", re.sub(r"'[^']*'|vizdiff [a-z-]+|pip install \S+", "", line))
