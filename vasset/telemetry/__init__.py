"""What operators see: logs without secrets, metrics with bounded labels, the context both carry."""
