"""The report: one offline HTML page from a recording, figures and texts.

Knows nothing about networks, sampling or drawing: it gets arrays, picture files and texts, and writes a page.
"""

from viz_diffusion.report.html import render, write_report
from viz_diffusion.report.page import Page
from viz_diffusion.report.player import Player
from viz_diffusion.study.blocks import Chapter, Chart, Correction, Line, Picture, Table

__all__ = ["Chapter", "Chart", "Correction", "Line", "Page", "Picture", "Player", "Table", "render", "write_report"]
