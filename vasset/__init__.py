"""V-Asset: turns a video URL into a file its user owns."""

__version__ = "0.1.0"
