"""The services behind the gateway: each as a local object, a gRPC servicer and a gRPC client with one signature."""
