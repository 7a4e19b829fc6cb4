"""What the ports are made of: databases, brokers, caches, files, extraction, the engine. Nothing above imports them but the bootstrap."""
