"""Measurements, one package per part: each writes a JSON file to ``results/``; pages are generated from those files."""
