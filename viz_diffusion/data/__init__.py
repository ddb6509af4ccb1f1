"""Data sets of labelled images: MNIST and its siblings, IDX files of any names, and folders of images by class.

Images are tensors in [-1, 1]. Knows nothing about models or noise.
"""

from viz_diffusion.data.images import (
    IMAGE_SIZE,
    IMAGE_SIZES,
    NUM_LABELS,
    Digits,
    EncodedDigits,
    to_bytes,
    to_unit_range,
)
from viz_diffusion.data.loading import DATASETS, DataSet, load_data_set, load_digits
from viz_diffusion.files import cache_dir

__all__ = [
    "DATASETS",
    "IMAGE_SIZE",
    "IMAGE_SIZES",
    "NUM_LABELS",
    "DataSet",
    "Digits",
    "EncodedDigits",
    "cache_dir",
    "load_data_set",
    "load_digits",
    "to_bytes",
    "to_unit_range",
]
