"""A Firefox without a driver program: WebDriver BiDi over a WebSocket, as far as opening a page and asking it goes."""

from __future__ import annotations

import base64
import json
import os
import re
import socket
import struct
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

SECONDS = 120


class WebSocket:
    """A client for messages of text (RFC 6455)."""

    def __init__(self, host: str, port: int, path: str) -> None:
        self._socket = socket.create_connection((host, port), timeout=SECONDS)
        key = base64.b64encode(os.urandom(16)).decode()
        lines = (
            f"GET {path} HTTP/1.1",
            f"Host: {host}:{port}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {key}",
            "Sec-WebSocket-Version: 13",
        )
        self._socket.sendall(("\r\n".join(lines) + "\r\n\r\n").encode())
        answer = b""
        while not answer.endswith(b"\r\n\r\n"):
            answer += self._read(1)
        assert b" 101 " in answer.splitlines()[0], answer

    def send(self, text: str) -> None:
        data, mask = text.encode(), os.urandom(4)
        size = len(data)
        assert size < 65536
        length = bytes([0x80 | size]) if size < 126 else bytes([0x80 | 126]) + struct.pack(">H", size)
        masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(data))
        self._socket.sendall(b"\x81" + length + mask + masked)

    def receive(self) -> str:
        """Return the next message, whose frames may be several."""
        data, last = b"", False
        while not last:
            first, size = self._read(2)
            if size >= 126:
                size = int.from_bytes(self._read(2 if size == 126 else 8), "big")
            data, last = data + self._read(size), bool(first & 0x80)
        return data.decode()

    def close(self) -> None:
        self._socket.close()

    def _read(self, count: int) -> bytes:
        data = b""
        while len(data) < count:
            part = self._socket.recv(count - len(data))
            assert part, "Firefox closed the connection"
            data += part
        return data


class Firefox:
    """One tab."""

    def __init__(self, socket: WebSocket) -> None:
        self._socket, self._calls = socket, 0
        self.version = self.call("session.new", capabilities={})["capabilities"]["browserVersion"]
        self._tab = self.call("browsingContext.getTree")["contexts"][0]["context"]

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._calls += 1
        self._socket.send(json.dumps({"id": self._calls, "method": method, "params": parameters}))
        while True:
            answer = json.loads(self._socket.receive())
            if answer.get("id") == self._calls:
                assert answer["type"] == "success", answer
                return answer["result"]

    def open(self, path: Path) -> None:
        self.call("browsingContext.navigate", context=self._tab, url=path.as_uri(), wait="complete")

    def ask(self, expression: str) -> Any:
        """Return the JSON value of an expression, of a promise what it gives."""
        wrapped = f"(async () => JSON.stringify(await ({expression})))()"
        answer = self.call("script.evaluate", expression=wrapped, target={"context": self._tab}, awaitPromise=True)
        assert answer["type"] == "success", answer
        return json.loads(answer["result"]["value"])


@contextmanager
def started_firefox(executable: str, profile: Path) -> Iterator[Firefox]:
    """Start a Firefox without a window, and end it."""
    command = [executable, "--headless", "--no-remote", "--remote-debugging-port", "0", "--profile", str(profile)]
    environment = {**os.environ, "HOME": str(profile)}
    with subprocess.Popen(
        [*command, "about:blank"], stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True, env=environment
    ) as process:
        socket = None
        try:
            assert process.stderr is not None
            found = next(
                filter(None, (re.search(r"BiDi listening on ws://(.+):(\d+)", line) for line in process.stderr))
            )
            socket = WebSocket(found[1], int(found[2]), "/session")
            yield Firefox(socket)
        finally:
            if socket is not None:
                socket.close()
            process.terminate()
