"""Lesson ``text``: prompts in the place of labels."""
