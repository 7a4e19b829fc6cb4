"""Promises, each with the test that would falsify it."""
