"""Watching a server from outside: its health, and its numbers for Prometheus."""
