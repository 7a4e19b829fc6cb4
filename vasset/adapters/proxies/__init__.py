"""Third-party exits: leased per task from provider APIs or static lists, scored, rested, and counted."""
