"""Diffusion models made visible: training, recording of every denoising step, measurements, figures and reports.

Importing the package loads nothing heavy; each public name loads its module when it is first used. The public names
are declared once, in ``__init__.pyi``.
"""

import lazy_loader

__version__ = "0.1.0"
__getattr__, _, _names = lazy_loader.attach_stub(__name__, __file__)
__all__ = sorted([*_names, "__version__"])


def __dir__() -> list[str]:
    """List the public names without loading them."""
    return list(__all__)
