"""A proxy in front of one MCP server that knows nothing of keys.

    client -> stdio -> proxy -> door -> executor -> ForeignTool.run -> upstream -> the server
                          \\____ everything but tools/call, as it is ____/

Read `proxy` first. `upstream` is the connection to the server, made again when it was lost: over
the pipes of a process (`child`) or over HTTP (`remote`). Messages stay the JSON that they are;
where both sides speak versions of different eras of MCP, `eras` says it in the other's words.
"""
