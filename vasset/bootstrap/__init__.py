"""Puts adapters behind ports and runs them: the only layer that knows all the others."""
