"""Bytes: the Rust engine behind the ``Fetcher`` port, its guard, and ``vasset fetch``."""
