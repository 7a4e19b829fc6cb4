"""URL to metadata."""
