"""The server over Streamable HTTP: who may call, and what becomes of answers on that wire."""
