"""Spellings."""
