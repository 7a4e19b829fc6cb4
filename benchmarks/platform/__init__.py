"""What the gateway and the services cost: CPU per request, latency under load, frames to WebSockets, file serving."""
