"""tls.py: TLS through the TLS of a proxy."""

from __future__ import annotations

import os
import socket
import ssl
import unittest

from syncws._net.tls import TLSTransport
from syncws._net.transport import Transport
from syncws.testing import socketpair
from tests.certificates import contexts
from tests.net import test_tls  # not its classes by name: they would run here once more
from tests.net.cases import SMALL, TLSCases, instant
from tests.proxies import ConnectProxy
from tests.tasks import PATIENCE, Task

HEAD = b"HTTP/1.1 200 OK\r\n\r\n"  # what stands in a tunnel before TLS begins


class Codec:
    """TLS by the standard library alone, over anything that receives and sends: a peer without this library's code."""

    def __init__(self, transport, context, *, server_side):
        self._transport = transport
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        name = None if server_side else "localhost"
        self.tls = context.wrap_bio(self._incoming, self._outgoing, server_side=server_side, server_hostname=name)

    def call(self, call, *arguments):
        """A call on the SSLObject, for which bytes come and go as they must."""
        while True:
            try:
                result = call(*arguments)
            except ssl.SSLWantReadError:
                self.flush()
                self._incoming.write(self._transport.receive(65536, PATIENCE))
            else:
                self.flush()
                return result

    def flush(self):
        if data := self._outgoing.read():
            self._transport.send(data)

    def hello(self):
        """The first bytes of a client."""
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            return self._outgoing.read()


class TunnelCases(TLSCases):
    """TLS through the TLS of a proxy: what `make` gives is the inner one, the outer one has been agreed on."""

    outer_version = None

    def make_outer(self, buffer=None):
        outer = super().make(buffer, self.outer_version)
        task = Task(outer[0].handshake, instant(PATIENCE))
        outer[1].handshake(instant(PATIENCE))
        task.result()
        return outer

    def make(self, buffer=None, version=None):
        outer = self.make_outer(buffer)
        return [self.inner(each, context) for each, context in zip(outer, contexts(version), strict=True)]

    def inner(self, outer, context, early_data=b""):
        server = not outer.ssl_object.server_hostname
        return TLSTransport(
            outer.socket,
            context,
            server_side=server,
            server_hostname=None if server else "localhost",
            early_data=early_data,
            outer=outer,
            kernel_waits=self.kernel_waits,
        )


class ReadingTests(TunnelCases, test_tls.ReadingTests):
    """All that TLS does, it does in TLS. (How a read waits is below both codecs, so it needs no other run here.)"""


class WritingTests(TunnelCases, test_tls.WritingTests):
    """The same of writing."""


class TunnelTests(TunnelCases):
    """What only a tunnel has: two codecs, each of which may end, break, or hold on to something."""

    def test_sizes(self):
        """Bytes of any size pass, over each pair of versions, with small buffers in between."""
        large = os.urandom(1 << 22)
        for outer in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
                with self.subTest(outer=outer, version=version):
                    self.outer_version = outer
                    server, client = self.agreed(SMALL, version)
                    self.assertEqual(server._outgoing._outer.ssl_object.version(), outer.name.replace("_", "."))
                    self.assertEqual(server.ssl_object.version(), version.name.replace("_", "."))
                    for size in (1, 2, 16383, 16384, 16385, (1 << 18) - 1, (1 << 18) + 1, 1 << 22):
                        for near, far in ((server, client), (client, server)):
                            task = Task(near.send, large[:size], deadline=instant(PATIENCE), stall=PATIENCE)
                            self.assertTrue(self.receive_all(far, size) == large[:size], size)
                            task.result()
                            self.assertFalse(near.pending)

    def test_both_directions_at_once(self):
        """Two threads in each end, one of which reads while the other writes, get in nobody's way."""
        server, client = self.agreed(SMALL)
        sizes = (1, 4 << 20, 100, 70_000, 5, 16_384, 300_000, 3)
        upward, downward = ([os.urandom(size) for size in sizes] for _ in range(2))

        def write(transport, messages):
            for message in messages:
                transport.send(message[:1], message[1:], deadline=instant(PATIENCE), stall=PATIENCE)

        tasks = [Task(write, client, upward), Task(write, server, downward)]
        readers = [Task(self.receive_all, server, sum(sizes)), Task(self.receive_all, client, sum(sizes))]
        for task in tasks:
            task.result()
        self.assertTrue(readers[0].result() == b"".join(upward))
        self.assertTrue(readers[1].result() == b"".join(downward))

    def test_end_of_the_tunnel(self):
        """A proxy that ends its own TLS in order, with close_notify, is the end of the stream, now and later."""
        server, client = self.agreed()
        client.send(b"last")
        Transport.send(client, self.farewell(client))
        self.assertEqual(server.receive(100, 5.0), b"last")
        for _ in range(2):
            self.assertEqual(server.receive(100, 5.0), b"")
            self.assertEqual(server.receive_into(memoryview(bytearray(9)), 5.0), 0)
        Transport.send(client, b"what comes behind it is not looked at")
        self.assertEqual(server.receive(100, 5.0), b"")

    def farewell(self, transport):
        """close_notify of the outer TLS."""
        outer = transport._outgoing._outer
        with transport._codec, self.assertRaises(ssl.SSLWantReadError):
            outer._tls.unwrap()
        return outer._outgoing.read()

    def test_end_of_the_tunnel_in_a_record(self):
        """So is one between two halves of a record of the inner TLS."""
        server, client = self.agreed()
        with client._codec:
            client._tls.write(b"cut")
            client._outgoing._outer._tls.write(client._outgoing._outgoing.read()[:-1])
            half = client._outgoing._outer._outgoing.read()
        Transport.send(client, half + self.farewell(client))
        self.assertEqual(server.receive(100, 5.0), b"")

    def test_garbage_in_the_tunnel(self):
        """Bytes that the proxy passes on and that are no TLS are an OSError, and the alert about them can leave."""
        server, client = self.agreed()
        with client._codec:
            client._outgoing._outer._tls.write(b"HTTP/1.1 502 Bad Gateway\r\n\r\n")
            garbage = client._outgoing._outer._outgoing.read()
        Transport.send(client, garbage)
        with self.assertRaises(ssl.SSLError):
            server.receive(100, 5.0)
        self.assertTrue(server.flush())
        with self.assertRaises(ssl.SSLError):
            client.receive(100, 5.0)

    def test_outer_ciphertext(self):
        """Ciphertext that waits in the outer TLS alone is pending too, and leaves (an answer to a key update)."""
        server, client = self.agreed()
        with server._codec:
            server._tls.write(b"from the reader")
            server._outgoing._outer._tls.write(server._outgoing._outgoing.read())
        self.assertTrue(server.pending)
        self.assertTrue(server.flush())
        self.assertFalse(server.pending)
        self.assertEqual(client.receive(100, 5.0), b"from the reader")

    def test_records_cut_anywhere(self):
        """Ciphertext that comes a byte at a time is the same, at both levels."""
        server, client = self.agreed()
        server.receive(100, 0.01)
        ciphertext = client._encrypt(b"0123456789")
        for byte in ciphertext[:-1]:
            client.socket.sendall(bytes([byte]))
            self.assertIsNone(server.receive(100, 0.001))
        client.socket.sendall(ciphertext[-1:])
        self.assertEqual(server.receive(100, 5.0), b"0123456789")

    def test_through_a_proxy(self):
        """Through a proxy and to a server that use the standard library's TLS, bytes pass both ways at once."""
        server_context, client_context = contexts()
        listener = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        listener.settimeout(PATIENCE)
        sizes = (1, 100, 16_385, 300_000, 4 << 20)

        def echo():
            with listener.accept()[0] as sock:
                sock.settimeout(PATIENCE)
                with server_context.wrap_socket(sock, server_side=True) as secure:
                    left = sum(sizes)
                    while left:
                        data = secure.recv(65536)
                        secure.sendall(data)
                        left -= len(data)

        with ConnectProxy(ssl_context=server_context) as proxy:
            task = Task(echo)
            sock = socket.create_connection(("127.0.0.1", proxy.port))
            self.addCleanup(sock.close)
            outer = TLSTransport(sock, client_context, server_side=False, server_hostname="localhost")
            outer.handshake(instant(PATIENCE))
            outer.send(f"CONNECT server.test:{listener.getsockname()[1]} HTTP/1.1\r\n\r\n".encode())
            self.assertTrue(outer.receive(1000, PATIENCE).endswith(b"\r\n\r\n"))
            client = self.inner(outer, client_context)
            client.handshake(instant(PATIENCE))
            for size in sizes:
                data = os.urandom(size)
                writer = Task(client.send, data, deadline=instant(PATIENCE))
                self.assertTrue(self.receive_all(client, size) == data, size)
                writer.result()
            task.result()
            self.assertEqual(client.receive(100, PATIENCE), b"")


class HandshakeTests(TunnelCases, test_tls.HandshakeTests):
    """Agreeing on TLS in TLS, or not; and what was said before."""

    def check(self, transport, codec):
        """A transport and a codec agree on TLS, and bytes pass."""
        task = Task(transport.handshake, instant(PATIENCE))
        codec.call(codec.tls.do_handshake)
        task.result()
        codec.call(codec.tls.write, b"ping")
        self.assertEqual(transport.receive(100, PATIENCE), b"ping")
        transport.send(b"pong")
        self.assertEqual(codec.call(codec.tls.read, 100), b"pong")

    def test_either_side(self):
        """TLS in TLS agrees with a peer that has none of our code, as its server and as its client."""
        for side in (0, 1):
            pair = self.make_outer()
            ours, theirs = pair[side], pair[1 - side]
            codec = Codec(theirs, contexts()[1 - side], server_side=side == 1)
            self.check(self.inner(ours, contexts()[side]), codec)

    def test_early_data(self):
        """What was received before TLS began is read first, however much of it there was."""
        for count in (0, 1, 5, 100, -1, None):
            for tunnelled in (False, True):
                with self.subTest(count, tunnelled=tunnelled):
                    ours, theirs = self.make_outer() if tunnelled else map(Transport, self.sockets())
                    client = Codec(theirs, contexts()[1], server_side=False)
                    hello = client.hello()
                    theirs.send(hello)
                    early = self.receive_all(ours, len(hello))[:count]
                    if tunnelled:
                        server = self.inner(ours, contexts()[0], early)
                    else:
                        server = TLSTransport(ours.socket, contexts()[0], server_side=True, early_data=early)
                    theirs.send(hello[len(early) :])
                    self.check(server, client)

    def sockets(self):
        sockets = socketpair()
        for sock in sockets:
            self.addCleanup(sock.close)
        return sockets

    def test_in_the_record_of_the_consent(self):
        """What follows a proxy's consent in the same record is not lost, whether it was read or is yet to be."""
        for read in (len(HEAD), len(HEAD) + 1, 65536):
            with self.subTest(read):
                ours, theirs = self.make_outer()
                client = Codec(theirs, contexts()[1], server_side=False)
                theirs.send(HEAD + client.hello())
                said = ours.receive(read, PATIENCE)
                self.assertEqual(said[: len(HEAD)], HEAD)
                self.check(self.inner(ours, contexts()[0], said[len(HEAD) :]), client)

    def test_behind_the_record_of_the_consent(self):
        """Nor is what follows in records of its own, of which part has been received."""
        ours, theirs = self.make_outer()
        client = Codec(theirs, contexts()[1], server_side=False)
        with theirs._codec:
            theirs._tls.write(HEAD)
            for byte in client.hello():
                theirs._tls.write(bytes([byte]))
            ciphertext = theirs._outgoing.read()
        theirs.socket.sendall(ciphertext)
        self.assertEqual(ours.receive(len(HEAD), PATIENCE), HEAD)
        self.check(self.inner(ours, contexts()[0]), client)

    def test_silence_behind_the_consent(self):
        """A proxy whose consent is all that comes does not hold the handshake past its deadline."""
        proxy, outer = self.make_outer()
        proxy.send(HEAD)
        self.assertEqual(outer.receive(65536, PATIENCE), HEAD)
        self.assertRaises(TimeoutError, self.inner(outer, contexts()[1]).handshake, instant(0.05))

    def test_end_of_the_tunnel(self):
        """A proxy that ends its own TLS during the handshake is an OSError."""
        server, client = self.make()
        outer = client._outgoing._outer
        with self.assertRaises(ssl.SSLWantReadError):
            outer._tls.unwrap()
        Transport.send(client, outer._outgoing.read())
        self.assertRaises(OSError, server.handshake, instant(PATIENCE))

    def test_garbage_in_the_tunnel(self):
        """A server behind the proxy that speaks no TLS is an SSLError, and is sent an alert if OpenSSL has one."""
        for said, alerted in ((b"HTTP/1.1 400 Bad Request\r\n\r\n", False), (b"\x17\x03\x03\x00\x05hello", True)):
            proxy, outer = self.make_outer()
            task = Task(self.inner(outer, contexts()[1]).handshake, instant(PATIENCE))
            self.assertTrue(proxy.receive(65536, PATIENCE).startswith(b"\x16\x03"))
            proxy.send(said)
            self.assertIsInstance(task.error(), ssl.SSLError)
            if alerted:
                self.assertTrue(proxy.receive(65536, PATIENCE).startswith(b"\x15\x03"))


if __name__ == "__main__":
    unittest.main()
