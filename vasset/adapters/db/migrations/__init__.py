"""Alembic's scripts, one a change, named by their order. Run by ``vasset.adapters.db.migrate``."""
