"""SQL: SQLite for one machine, PostgreSQL for many, by the same statements."""
