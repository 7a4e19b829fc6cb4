"""Wake-ups for workers."""
