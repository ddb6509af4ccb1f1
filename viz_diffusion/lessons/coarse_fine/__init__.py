"""Coarse fine."""
