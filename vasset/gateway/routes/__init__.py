"""One file per resource of the contract in ``ARCHITECTURE.md``."""
