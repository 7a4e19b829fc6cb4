"""Progress frames on their way to whoever watches."""
