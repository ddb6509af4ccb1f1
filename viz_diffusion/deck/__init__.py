"""Slides and handouts of a study: a plan without a format, and three writers of it.

Knows nothing about sampling, nor which lessons there are.
"""
