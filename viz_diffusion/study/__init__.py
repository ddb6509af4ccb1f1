"""One recording, the lessons' findings on it, and their words: what report, deck and worksheet share."""
