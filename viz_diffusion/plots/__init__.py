"""Matplotlib figures drawn from NumPy arrays.

Knows nothing about networks, runs or data files, imports no torch and never uses pyplot. Each module draws one family
of figures; ``theme``, ``raster``, ``panels`` and ``saving`` hold what they share.
"""

from viz_diffusion.plots.matplotlib_import import import_matplotlib

import_matplotlib()  # before any module imports it by itself
