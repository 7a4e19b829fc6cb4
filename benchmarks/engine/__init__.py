"""The engine against peers and floors."""
