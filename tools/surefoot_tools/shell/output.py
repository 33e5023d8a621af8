"""What a command printed, kept in bounded memory: the head and the tail of each stream."""

from collections import deque


class HeadTail:
    """Keeps the first and the last half of `limit` bytes of a stream, and counts all of them.

    Args:
        limit: Bytes kept in all.
    """

    def __init__(self, limit: int) -> None:
        self._head_limit = limit - limit // 2
        self._tail_limit = limit // 2
        self._head = bytearray()
        self._tail: deque[bytes] = deque()
        self._tail_size = 0
        self.size = 0
        """Bytes seen."""

    def feed(self, data: bytes) -> None:
        """Take the next bytes of the stream."""
        self.size += len(data)
        room = self._head_limit - len(self._head)
        if room > 0:
            self._head += data[:room]
            data = data[room:]
        if data:
            self._tail.append(data)
            self._tail_size += len(data)
            while self._tail_size - len(self._tail[0]) >= self._tail_limit:
                self._tail_size -= len(self._tail.popleft())

    @property
    def truncated(self) -> bool:
        """Whether anything was left out."""
        return self.size > self._head_limit + self._tail_limit

    def text(self) -> str:
        """Head and tail as text, with a line between them that says how much is missing."""
        tail = b"".join(self._tail)
        tail = tail[len(tail) - self._tail_limit :] if len(tail) > self._tail_limit else tail
        if not self.truncated:
            return (bytes(self._head) + tail).decode("utf-8", "replace")
        missing = self.size - len(self._head) - len(tail)
        head = bytes(self._head).decode("utf-8", "replace")
        return f"{head}\n[... {missing} bytes left out ...]\n{tail.decode('utf-8', 'replace')}"
