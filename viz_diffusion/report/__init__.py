"""One offline HTML file from a recording, pictures and words.

Knows nothing about networks, sampling or drawing: arrays, picture bytes and text come in, a page goes out.
"""

from viz_diffusion.report.html import render, write_report
from viz_diffusion.report.page import Page
from viz_diffusion.report.player import Player
from viz_diffusion.study.blocks import Chapter, Chart, Correction, Line, Picture, Table

__all__ = ["Chapter", "Chart", "Correction", "Line", "Page", "Picture", "Player", "Table", "render", "write_report"]
