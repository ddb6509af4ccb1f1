"""Message catalogues in several languages, and text as HTML."""
