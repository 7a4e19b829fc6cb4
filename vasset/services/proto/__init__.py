"""gRPC contracts: sources and generated stubs side by side (`make generated`)."""
