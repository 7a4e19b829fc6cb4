"""Bytes with a time to live."""
