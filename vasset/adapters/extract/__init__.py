"""Pages read and files finished by yt-dlp, in child processes only.

``extractor.py`` is the port. Everything below ``child/`` runs in another process, with the standard library and yt-dlp.
"""
