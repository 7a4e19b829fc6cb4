"""One worker, spoken to over gRPC."""
