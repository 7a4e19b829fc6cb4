"""What people and workers ask of V-Asset: one verb a file. They take ports and answer domain objects."""
