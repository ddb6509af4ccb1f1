"""Lessons, one folder each: its measurements, figures, facts, claims and table; :mod:`~.base` says how to write one.

The measurements may use the network; figures, facts and claims depend only on what was measured. Texts are in the
catalogues.
"""

import viz_diffusion.plots  # noqa: F401  (imports matplotlib, whatever the user's settings of it are)
