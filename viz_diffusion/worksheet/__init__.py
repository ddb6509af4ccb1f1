"""Printable worksheets from a recording: a page of exercises, and a page of answers.

Knows nothing about networks: it gets arrays and texts, and writes two HTML files.
"""
