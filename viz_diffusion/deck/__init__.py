"""Slides and handouts of a study: contents without a file format, and writers for PowerPoint, PDF and folders.

Knows nothing about sampling, nor which lessons there are.
"""
