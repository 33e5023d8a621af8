"""Run a client against a server over HTTP.

    python -m tests.foreign.against SERVER... -- CLIENT... URL ...

The server tells its address by a line of JSON on stderr; the word `URL` of the client's command is
replaced by it. The exit status is the client's, or 90 where the server did not end as it should.
"""

import json
import subprocess
import sys
import threading
from typing import IO

BOUND = 30
"""Seconds that the server may take to start, and to end."""
SERVER_FAILED = 90


def main() -> int:
    """Both commands are in `sys.argv`, apart from each other by `--`."""
    words = sys.argv[1:]
    apart = words.index("--")
    server = subprocess.Popen(words[:apart], stderr=subprocess.PIPE, stdout=sys.stderr, text=True)
    assert server.stderr is not None
    address: list[str] = []
    listening = threading.Event()
    reader = threading.Thread(target=_listen, args=(server.stderr, address, listening))
    reader.start()
    try:
        if not listening.wait(BOUND) or not address:
            print("the server did not tell its address", file=sys.stderr)
            return SERVER_FAILED
        client = [address[0] if word == "URL" else word for word in words[apart + 1 :]]
        code = subprocess.run(client, check=False).returncode
    finally:
        server.terminate()
        try:
            server.wait(BOUND)
        finally:
            server.kill()
            reader.join()
    if server.returncode:
        print(f"the server ended with {server.returncode}", file=sys.stderr)
        return SERVER_FAILED
    return code


def _listen(stderr: IO[str], address: list[str], listening: threading.Event) -> None:
    """Pass on what the server says, and note its address; its end counts as having said all."""
    for line in stderr:
        sys.stderr.write(line)
        if not address and '"listening"' in line:
            address.append(json.loads(line)["url"])
            listening.set()
    listening.set()


if __name__ == "__main__":
    sys.exit(main())
