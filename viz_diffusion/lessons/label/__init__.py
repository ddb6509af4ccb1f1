"""Label."""
