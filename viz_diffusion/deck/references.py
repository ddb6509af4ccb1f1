"""Papers that the lessons and slides name, and the list of those that a deck draws on.

Knows nothing about slides.
"""

from __future__ import annotations

from collections.abc import Iterable

PAPERS = {
    "rousseeuw1987": "Rousseeuw (1987). Silhouettes: A graphical aid to the interpretation and validation of cluster "
    "analysis. Journal of Computational and Applied Mathematics 20.",
    "guo2005": "Guo, Shamai, Verdú (2005). Mutual information and minimum mean-square error in Gaussian channels. "
    "IEEE Transactions on Information Theory 51(4).",
    "lecun1998": "LeCun, Bottou, Bengio, Haffner (1998). Gradient-based learning applied to document recognition. "
    "Proceedings of the IEEE 86(11).",
    "maaten2008": "van der Maaten, Hinton (2008). Visualizing data using t-SNE. JMLR 9.",
    "kingma2014": "Kingma, Welling (2014). Auto-encoding variational Bayes. ICLR.",
    "ronneberger2015": "Ronneberger, Fischer, Brox (2015). U-Net: Convolutional networks for biomedical image "
    "segmentation. MICCAI.",
    "sohl2015": "Sohl-Dickstein, Weiss, Maheswaranathan, Ganguli (2015). Deep unsupervised learning using "
    "nonequilibrium thermodynamics. ICML.",
    "vaswani2017": "Vaswani, Shazeer, Parmar, Uszkoreit, Jones, Gomez, Kaiser, Polosukhin (2017). Attention is all you "
    "need. NeurIPS.",
    "antognini2018": "Antognini, Sohl-Dickstein (2018). PCA of high dimensional random walks with comparison to neural "
    "network training. NeurIPS.",
    "kynkaanniemi2019": "Kynkäänniemi, Karras, Laine, Lehtinen, Aila (2019). Improved precision and recall metric for "
    "assessing generative models. NeurIPS.",
    "schmidt2019": "Schmidt (2019). Generalization in generation: A closer look at exposure bias. Workshop on Neural "
    "Generation and Translation.",
    "ho2020": "Ho, Jain, Abbeel (2020). Denoising diffusion probabilistic models. NeurIPS.",
    "radford2021": "Radford, Kim, Hallacy, Ramesh, Goh, Agarwal, Sastry, Askell, Mishkin, Clark, Krueger, Sutskever "
    "(2021). Learning transferable visual models from natural language supervision. ICML.",
    "rombach2022": "Rombach, Blattmann, Lorenz, Esser, Ommer (2022). High-resolution image synthesis with latent "
    "diffusion models. CVPR.",
    "kingma2021": "Kingma, Salimans, Poole, Ho (2021). Variational diffusion models. NeurIPS.",
    "song2021": "Song, Meng, Ermon (2021). Denoising diffusion implicit models. ICLR.",
    "song2021b": "Song, Sohl-Dickstein, Kingma, Kumar, Ermon, Poole (2021). Score-based generative modeling through "
    "stochastic differential equations. ICLR.",
    "ho2022": "Ho, Salimans (2022). Classifier-free diffusion guidance. arXiv:2207.12598.",
    "lu2022": "Lu, Zhou, Bao, Chen, Li, Zhu (2022). DPM-Solver++: Fast solver for guided sampling of diffusion "
    "probabilistic models. arXiv:2211.01095.",
    "salimans2022": "Salimans, Ho (2022). Progressive distillation for fast sampling of diffusion models. ICLR.",
    "kong2023": "Kong, Brekelmans, Ver Steeg (2023). Information-theoretic diffusion. ICLR.",
    "lipman2023": "Lipman, Chen, Ben-Hamu, Nickel, Le (2023). Flow matching for generative modeling. ICLR.",
    "liu2023": "Liu, Gong, Liu (2023). Flow straight and fast: Learning to generate and transfer data with rectified "
    "flow. ICLR.",
    "kingma2023": "Kingma, Gao (2023). Understanding diffusion objectives as the ELBO with simple data augmentation. "
    "NeurIPS.",
    "raya2023": "Raya, Ambrogioni (2023). Spontaneous symmetry breaking in generative diffusion models. NeurIPS.",
    "yoon2023": "Yoon, Choi, Kwon, Ryu (2023). Diffusion probabilistic models generalize when they fail to memorize. "
    "ICML Workshop on Structured Probabilistic Inference & Generative Modeling.",
    "biroli2024": "Biroli, Bonnaire, de Bortoli, Mézard (2024). Dynamical regimes of diffusion models. "
    "Nature Communications 15.",
    "dieleman2024": "Dieleman (2024). Diffusion is spectral autoregression. Blog post, sander.ai.",
    "kadkhodaie2024": "Kadkhodaie, Guth, Simoncelli, Mallat (2024). Generalization in diffusion models arises from "
    "geometry-adaptive harmonic representations. ICLR.",
    "karras2024": "Karras, Aittala, Kynkäänniemi, Lehtinen, Aila, Laine (2024). Guiding a diffusion model with a bad "
    "version of itself. NeurIPS.",
    "ning2024": "Ning, Li, Su, Salah, Ertugrul (2024). Elucidating the exposure bias in diffusion models. ICLR.",
    "falck2025": "Falck, Pandeva, Zahirnia, Lawrence, Turner, Meeds, Zazo, Karmalkar (2025). A Fourier space "
    "perspective on diffusion models. arXiv:2505.11278.",
    "sclocchi2025": "Sclocchi, Favero, Wyart (2025). A phase transition in diffusion models reveals the hierarchical "
    "nature of data. PNAS 122(1).",
    "sun2025": "Sun, Jiang, Zhao, He (2025). Is noise conditioning necessary for denoising generative models? ICML.",
}
"""Authors, year, title and place of every paper, by key."""


def reference_list(keys: Iterable[str]) -> list[str]:
    """Return the papers of these keys, each once, by the first author's name.

    Raises
    ------
    KeyError
        Where there is no paper of a key.
    """
    return sorted({PAPERS[key] for key in keys}, key=str.casefold)
