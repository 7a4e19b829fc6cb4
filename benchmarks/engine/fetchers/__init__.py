"""Scripts around libraries that have no command of their own: ``SCRIPT URL CONNECTIONS FILE``."""
