"""Figures of recorded trajectories: strips of frames, comparisons of two recordings, feature maps.

A view's ``measure`` selects the arrays, ``draw`` makes the figures, and ``facts`` gives the numbers of captions.
"""

import viz_diffusion.plots  # noqa: F401  (imports matplotlib, whatever the user's settings of it are)
