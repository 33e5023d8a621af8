"""Makes a call safe to repeat, and counts it: executor, journal, MCP in and out."""
