"""Noising."""
