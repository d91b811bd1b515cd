"""A transport between nobody and nobody: what a protocol writes is kept, in the order of all such transports."""

import asyncio


class MemoryTransport(asyncio.Transport):
    """One connection's end, without a socket.

    Args:
        journal: (name, bytes) of every write, of all transports that share it.
        name: of this one.
    """

    def __init__(self, journal: list[tuple[str, bytes]] | None = None, name: str = "") -> None:
        super().__init__({"peername": ("192.0.2.1", 40000)})
        self.journal = journal if journal is not None else []
        self.name = name
        self.reading = True
        self.ended = ""  # how: closed, aborted

    @property
    def written(self) -> bytes:
        return b"".join(data for name, data in self.journal if name == self.name)

    def write(self, data: bytes) -> None:
        assert not self.ended, "a write after the end"
        self.journal.append((self.name, bytes(data)))

    def writelines(self, parts: list[bytes]) -> None:
        self.write(b"".join(parts))

    def is_closing(self) -> bool:
        return bool(self.ended)

    def close(self) -> None:
        self.ended = self.ended or "closed"

    def abort(self) -> None:
        self.ended = "aborted"

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.journal.append((self.name, b""))

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True
