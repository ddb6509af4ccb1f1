"""A classifier of digits that reads latents: each is decoded first."""

from __future__ import annotations

from torch import Tensor, nn

from viz_diffusion.diffusion.latent_space import LatentSpace
from viz_diffusion.evaluation.classifier import DigitClassifier


class LatentClassifier(DigitClassifier):
    """A view of a :class:`DigitClassifier` that is given (N, c, h, w) latents, and reads their pictures.

    Parameters
    ----------
    classifier
        The classifier of pictures.
    space
        The latent space whose latents it is given.
    """

    def __init__(self, classifier: DigitClassifier, space: LatentSpace) -> None:
        nn.Module.__init__(self)  # no layers of its own
        self.features, self.head = classifier.features, classifier.head
        self.space = space
        self.eval()

    def _in_batches(self, layers: nn.Module, images: Tensor, batch_size: int) -> Tensor:
        return super()._in_batches(layers, self.space.decode(images), batch_size)
