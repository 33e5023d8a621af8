"""What a tool is, and the tools: shell, files, databases. Knows nothing of MCP or of the journal."""
