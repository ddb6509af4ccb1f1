"""Exercises on paper from a recording: a sheet without answers, and the answers.

Knows nothing about networks: arrays and words come in, two HTML files go out.
"""
