"""Parts that several tests use: places to serve, and servers as real processes."""
