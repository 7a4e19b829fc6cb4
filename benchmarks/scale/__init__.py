"""What the API costs with a million downloads beside a few hundred."""
