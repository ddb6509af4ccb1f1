"""Figures of recorded trajectories: strips of frames, comparisons of two recordings, feature maps.

A view's ``measure`` selects the arrays, ``draw`` makes the figures, and ``facts`` gives the numbers of captions.
"""
