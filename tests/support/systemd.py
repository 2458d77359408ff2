"""The end of systemd: a datagram socket that takes what services send to `NOTIFY_SOCKET`."""

from __future__ import annotations

import shutil
import socket
import struct
import tempfile
import threading
import time
from types import TracebackType
from typing import NamedTuple


class Message(NamedTuple):
    """What was received, from which process, and when on the monotonic clock."""

    text: str
    pid: int
    at: float


class Notify:
    """A context manager that listens; `address` is for the environment of a service.

    `abstract`: under a name that the kernel keeps, instead of a file.
    """

    def __init__(self, abstract: bool = False) -> None:
        self._home = tempfile.mkdtemp(prefix="notify-")  # Short: such paths have 107 bytes.
        self.address = f"{'@' if abstract else ''}{self._home}/socket"
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
        self._messages: list[Message] = []
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._listen, daemon=True)

    def __enter__(self) -> Notify:
        self._socket.bind(self.address.replace("@", "\0", 1))
        self._socket.settimeout(0.1)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: object, trace: TracebackType | None
    ) -> None:
        self.close()
        shutil.rmtree(self._home)

    def close(self) -> None:
        """Stop listening; the file stays."""
        self._ended.set()
        self._thread.join(10)
        self._socket.close()

    def _listen(self) -> None:
        size = struct.calcsize("3i")
        while not self._ended.is_set():
            try:
                data, ancillary, *_ = self._socket.recvmsg(4096, socket.CMSG_SPACE(size))
            except TimeoutError:
                continue
            (pid, _, _) = struct.unpack("3i", ancillary[0][2][:size])
            self._messages.append(Message(data.decode(), pid, time.monotonic()))

    @property
    def messages(self) -> list[Message]:
        """Everything that was received, in order."""
        return list(self._messages)

    def told(self, start: str, since: float = 0.0) -> list[Message]:
        """The messages that begin so, received since a moment."""
        return [m for m in self.messages if m.text.startswith(start) and m.at >= since]

    @property
    def status(self) -> str:
        """The last status."""
        lines = [line for m in self.messages for line in m.text.splitlines()]
        return [line for line in lines if line.startswith("STATUS=")][-1].removeprefix("STATUS=")
