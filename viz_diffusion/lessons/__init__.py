"""Lessons, one folder each: its measurements, figures, facts, claims and table; :mod:`~.base` says how to write one.

The measurements may use the network; figures, facts and claims depend only on what was measured. Texts are in the
catalogues.
"""
