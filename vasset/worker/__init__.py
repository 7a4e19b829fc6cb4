"""What runs downloads: pool, consumer, progress ticker, outbox relay, janitor."""
