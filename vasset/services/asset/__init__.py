"""History, files, quota, statistics."""
