"""What the benchmarks speak to the servers with: handshakes, frames made once, and a closed loop over many sockets."""

from __future__ import annotations

import os
import select
import socket
import ssl
import time

HANDSHAKE = (
    b"GET / HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
)

#: As browsers offer it, but without state from one message to the next: then the same message is the same bytes.
OFFER = (
    b"Sec-WebSocket-Extensions: permessage-deflate; server_no_context_takeover; client_no_context_takeover; "
    b"client_max_window_bits\r\n"
)


def connect(port: int, *, tls: ssl.SSLContext | None = None, compressed: bool = False) -> socket.socket:
    """A socket past the opening handshake."""
    sock = socket.create_connection(("127.0.0.1", port))
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if tls is not None:
        sock = tls.wrap_socket(sock, server_hostname="localhost")
    sock.sendall(HANDSHAKE + (OFFER if compressed else b"") + b"\r\n")
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        head += sock.recv(1)
    if not head.startswith(b"HTTP/1.1 101 "):
        raise SystemExit(f"no upgrade: {head!r}")
    if compressed and b"permessage-deflate" not in head:
        raise SystemExit("the server does not compress")
    return sock


def binary_frame(payload: bytes, *, masked: bool) -> bytes:
    """One binary message, as a client (masked) or a server sends it."""
    second = 0x80 if masked else 0
    length = len(payload)
    if length < 126:
        head = bytes([0x82, second | length])
    elif length < 1 << 16:
        head = bytes([0x82, second | 126]) + length.to_bytes(2, "big")
    else:
        head = bytes([0x82, second | 127]) + length.to_bytes(8, "big")
    if not masked:
        return head + payload
    key = os.urandom(4)
    pad = (key * (length // 4 + 1))[:length]
    masked_payload = (int.from_bytes(payload, "big") ^ int.from_bytes(pad, "big")).to_bytes(length, "big")
    return head + key + masked_payload


class Load:
    """A closed loop: on every connection a message is sent as soon as the echo of the one before is there."""

    def __init__(self, port: int, connections: int, size: int, *, bare: bool = False) -> None:
        payload = os.urandom(size)
        self._frame = binary_frame(payload, masked=True)
        # A bare server sends back what came, the mask too.
        self._answer = self._frame if bare else binary_frame(payload, masked=False)
        self._sockets = [connect(port) for _ in range(connections)]
        self._check()

    def _check(self) -> None:
        """The first echo of each connection, byte by byte."""
        for sock in self._sockets:
            sock.sendall(self._frame)
            answer = b""
            while len(answer) < len(self._answer):
                answer += sock.recv(1 << 20)
            if answer != self._answer:
                raise SystemExit("an echo is not what was sent")

    def run(self, seconds: float) -> tuple[float, float]:
        """Echoes per second, and which part of the time this process was busy itself (1.0: it is the bottleneck)."""
        frame, size = self._frame, len(self._answer)
        read, write, clock = os.read, os.write, time.perf_counter
        most = min(size, 1 << 16)  # a large buffer would be new memory from the system each time
        poller = select.epoll() if hasattr(select, "epoll") else select.poll()
        left = {}
        for sock in self._sockets:
            left[sock.fileno()] = size
            poller.register(sock.fileno(), select.POLLIN)
            sock.sendall(frame)
        echoes = 0
        busy = time.process_time()
        began = clock()
        end = began + seconds
        while (now := clock()) < end:
            for fd, _ in poller.poll(1000):
                rest = left[fd] - len(read(fd, most))
                if rest:
                    left[fd] = rest
                    continue
                left[fd] = size
                echoes += 1
                sent = write(fd, frame)
                while sent < len(frame):
                    sent += write(fd, frame[sent:])
        result = echoes / (now - began), (time.process_time() - busy) / (now - began)
        self._take_what_is_left(left)
        return result

    def _take_what_is_left(self, left: dict[int, int]) -> None:
        for fd, count in left.items():
            while count:
                count -= len(os.read(fd, count))

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


class Room:
    """Rounds: the first member sends a text, and the next round begins when every member has it."""

    def __init__(
        self, port: int, members: int, size: int, *, tls: ssl.SSLContext | None = None, compressed: bool = False
    ) -> None:
        words = (b"%d times seven is %d, " % (number, 7 * number) for number in range(size))
        text = b"".join(words)[:size]
        self._frame = b"\x81" + binary_frame(text, masked=True)[1:]
        self._sockets = [connect(port, tls=tls, compressed=compressed) for _ in range(members)]
        self._size = self._learn_size()
        for sock in self._sockets:
            sock.setblocking(False)

    def _learn_size(self) -> int:
        """Bytes of the frame that each member gets: a first round, read frame by frame."""
        time.sleep(0.5)  # until the server has let in the last one
        self._sockets[0].sendall(self._frame)
        sizes = set()
        for sock in self._sockets:
            sock.settimeout(10)
            sizes.add(_read_frame(sock))
        if len(sizes) != 1:
            raise SystemExit(f"members got frames of {sizes} bytes")
        return sizes.pop()

    def run(self, seconds: float) -> tuple[float, float]:
        """Deliveries per second, and which part of the time this process was busy itself (1.0: the bottleneck)."""
        sender, clock = self._sockets[0], time.perf_counter
        # Ten seconds: epoll takes them as such, poll as milliseconds.
        poller, patience = (select.epoll(), 10) if hasattr(select, "epoll") else (select.poll(), 10_000)
        receive = {}
        for sock in self._sockets:
            receive[sock.fileno()] = sock.recv
            poller.register(sock.fileno(), select.POLLIN)
        whole = len(self._sockets) * self._size
        rounds = 0
        busy = time.process_time()
        began = clock()
        end = began + seconds
        while (now := clock()) < end:
            sender.send(self._frame)
            missing = whole
            while missing > 0:
                ready = poller.poll(patience)
                if not ready:
                    raise SystemExit(f"{missing} bytes of a round did not come")
                for fd, _ in ready:
                    try:
                        data = receive[fd](1 << 16)
                    except (BlockingIOError, ssl.SSLWantReadError):
                        continue
                    if not data:
                        raise SystemExit("a member was closed")
                    missing -= len(data)
            rounds += 1
        return rounds * len(self._sockets) / (now - began), (time.process_time() - busy) / (now - began)

    def close(self) -> None:
        for sock in self._sockets:
            sock.close()


def _read_frame(sock: socket.socket) -> int:
    """Read one frame of a server; its size, head included."""

    def read(count: int) -> bytes:
        data = b""
        while len(data) < count:
            data += sock.recv(count - len(data))
        return data

    length = read(2)[1]
    width = {126: 2, 127: 8}.get(length, 0)
    if width:
        length = int.from_bytes(read(width), "big")
    read(length)
    return 2 + width + length
