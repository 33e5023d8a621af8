"""What a tool is, and the tools: shell, files, databases. Nothing of MCP or the journal."""
