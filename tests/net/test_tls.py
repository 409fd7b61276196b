"""tls.py: the same promises over TLS, what is encrypted and did not leave, and agreeing on it."""

from __future__ import annotations

import errno
import os
import shutil
import socket
import ssl
import subprocess
import threading
import unittest
from unittest import mock

from syncws._client.hops import default_context
from syncws._net.tls import TLSTransport
from syncws._net.transport import Transport
from syncws._net.waits import wait_for
from syncws.errors import WriteTimeout
from syncws.testing import ScriptedSocket, await_, socketpair
from tests.certificates import contexts
from tests.net.cases import FULL, SMALL, TLSCases, fill, instant, read_all, read_plain
from tests.tasks import PATIENCE, Task

EAGAIN = BlockingIOError(errno.EAGAIN, "no room")


def hello(client):
    """The first bytes of a client's handshake."""
    with client._codec:
        client._step_handshake()
        return client._outgoing.read()


class ReadingTests(TLSCases):
    """Reading. It depends on the way of waiting below the codec, and on what is between the codec and the socket."""

    def test_both_ways(self):
        """Both ends agree, on both versions of TLS, and carry bytes of any size in both directions."""
        for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
            with self.subTest(version):
                server, client = self.agreed(SMALL, version)
                self.assertTrue(server.is_tls)
                self.assertEqual(client.ssl_object.version(), server.ssl_object.version())
                large = os.urandom(1 << 20)
                for near, far in ((server, client), (client, server)):
                    for sent in ((b"small",), (b"head", b"payload"), (b"head", large), (large, b"tail"), (b"",)):
                        task = Task(near.send, *sent, deadline=instant(10), stall=5.0)
                        self.assertEqual(self.receive_all(far, sum(map(len, sent))), b"".join(sent))
                        task.result()
                        self.assertFalse(near.pending)

    def test_first_bytes(self):
        """What came first is kept while the handshake goes on, to tell what else may speak there, and then let go."""
        server, client = self.agreed()
        self.assertEqual((server.first_bytes, client.first_bytes), (b"", b""))
        near, far = socketpair()
        self.addCleanup(far.close)
        tls = TLSTransport(near, contexts()[0], server_side=True)
        self.addCleanup(tls.close)
        far.sendall(b"PROXY TCP4 192.0.2.1 192.0.2.2 4711 443\r\n" + bytes(100))
        with self.assertRaises(ssl.SSLError):
            tls.handshake(instant(10))
        self.assertEqual(tls.first_bytes[:11], b"PROXY TCP4 ")
        self.assertEqual(len(tls.first_bytes), 64)

    def test_receive_into(self):
        """receive_into puts plain text in its place, a piece of a record at a time if need be."""
        server, client = self.agreed()
        client.send(b"0123456789")
        room = bytearray(16)
        self.assertEqual(server.receive_into(memoryview(room)[:4], 5.0), 4)
        self.assertEqual(server.receive_into(memoryview(room)[4:], 5.0), 6)
        self.assertEqual(room, b"0123456789" + bytes(6))
        self.assertIsNone(server.receive_into(memoryview(room), 0.01))
        client.shutdown_write()
        self.assertEqual(server.receive_into(memoryview(room), 5.0), 0)

    def test_buffered_plain_text(self):
        """Plain text that is already decrypted comes without a system call, so it never waits for the socket."""
        server, client = self.agreed()
        client.send(b"0123456789")
        self.assertEqual(server.receive(4, 5.0), b"0123")
        with mock.patch.object(Transport, "receive", side_effect=AssertionError("asked the socket")):
            self.assertEqual(server.receive(100, None), b"456789")

    def test_end_of_stream(self):
        """close_notify is the end of the stream, each time one asks; the other direction goes on."""
        server, client = self.agreed()
        client.shutdown_write()
        self.assertEqual(server.receive(100, 5.0), b"")
        self.assertEqual(server.receive(100, None), b"")
        server.send(b"still there")
        self.assertEqual(client.receive(100, 5.0), b"still there")
        client.shutdown_write()  # twice does no harm
        server.shutdown_write()
        self.assertEqual(client.receive(100, 5.0), b"")

    def test_end_without_close_notify(self):
        """A peer that ends TCP without a close_notify is the end of the stream as well."""
        server, client = self.agreed()
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(server.receive(100, 5.0), b"")
        self.assertEqual(server.receive_into(memoryview(bytearray(9)), None), 0)

    def test_end_in_no_time(self):
        """The receive that finds the end of TCP gives it, also one that must not wait for more."""
        server, client = self.agreed()
        client.socket.shutdown(socket.SHUT_WR)
        self.assertTrue(wait_for(server.socket, PATIENCE, write=False))
        self.assertEqual(server.receive(100, 0.0), b"")

    def test_end_in_a_record(self):
        """So is one that is cut in the middle of a record."""
        server, client = self.agreed()
        ciphertext = client._encrypt(b"cut")
        client.socket.sendall(ciphertext[:-3])
        client.socket.shutdown(socket.SHUT_WR)
        self.assertEqual(server.receive(100, 5.0), b"")

    def test_garbage_after_the_handshake(self):
        """Bytes that are no TLS are an OSError, and the alert about them can leave."""
        server, client = self.agreed()
        client.socket.sendall(b"\x17\x03\x03\x00\x20" + bytes(32))
        with self.assertRaises(ssl.SSLError):
            server.receive(100, 5.0)
        self.assertTrue(server.pending)
        self.assertTrue(server.flush())
        with self.assertRaises(ssl.SSLError):
            client.receive(100, 5.0)

    def test_full_duplex(self):
        """A writer stuck for ever does not keep its own side from reading, nor from being woken."""
        server, client = self.agreed(SMALL)
        writer = Task(server.send, b"w" * FULL)
        for _ in range(20):
            client.send(b"read me", deadline=instant(5))
            self.assertEqual(server.receive(100, 5.0), b"read me")
        self.assertTrue(writer.is_alive())
        server.shutdown()
        self.assertRaises(BrokenPipeError, writer.result)
        self.assertTrue(server.torn)

    def test_shutdown_wakes_a_receive(self):
        """shutdown ends a read that waits."""
        server, _ = self.agreed()
        task = Task(server.receive, 100, None)
        task.join(0.05)
        server.shutdown()
        self.assertEqual(task.result(), b"")

    def test_shutdown_read(self):
        """shutdown_read wakes a receive with the end of the stream, and what is sent later still leaves encrypted."""
        for receive, end in (
            (lambda transport: transport.receive(100, None), b""),
            (lambda transport: transport.receive_into(memoryview(bytearray(9)), None), 0),
        ):
            server, client = self.agreed()
            server.receive(100, 0.01)
            task = Task(receive, server)
            task.join(0.05)
            server.shutdown_read()
            self.assertEqual(task.result(), end)
            server.send(b"farewell")
            self.assertEqual(client.receive(100, 5.0), b"farewell")

    def test_shutdown_read_is_known_before_it_is_done(self):
        """The reader that shutdown_read wakes finds out that the end of the stream is this side's doing."""
        server, _ = self.agreed()
        known = []
        with mock.patch.object(server, "_shut", side_effect=lambda how: known.append(server._deaf)):
            server.shutdown_read()
        self.assertEqual(known, [True])

    def test_nothing_came(self):
        """receive gives None when the wait is over."""
        server, _ = self.agreed()
        self.assertIsNone(server.receive(100, 0.02))
        self.assertFalse(server.heard_part)
        self.assertIsNone(server.receive(100, -1.0))

    def test_wait_is_for_plain_text(self):
        """A peer that drips the bytes of one record gets no more time than one that is silent; it was heard, though."""
        server, client = self.agreed()
        server.receive(100, 0.01)
        ciphertext = client._encrypt(b"d" * 8000)
        stop = threading.Event()

        def drip():
            for byte in ciphertext[:-1]:
                client.socket.sendall(bytes([byte]))
                if stop.wait(0.02):
                    return

        dripping = Task(drip)  # for minutes
        self.assertIsNone(server.receive(100, 0.2))
        self.assertTrue(dripping.is_alive())
        self.assertTrue(server.heard_part)
        stop.set()
        dripping.result()
        self.assertTrue(await_(lambda: server.receive(100, 0.01) is None and not server.heard_part))


class WritingTests(TLSCases):
    """Writing, and what a message costs. The wait for room is poll's in any case: one way of reading is enough."""

    def test_one_call_per_message(self):
        """In the steady state a small message is one recv, and one send."""
        server, client = self.agreed()
        server.receive(100, 0.01)  # session tickets and the like are out of the way
        client.receive(100, 0.01)
        calls = []

        class Counting:
            def __init__(self, sock):
                self._sock = sock

            def __getattr__(self, name):
                found = getattr(self._sock, name)
                if not callable(found):
                    return found
                return lambda *arguments: (calls.append(name), found(*arguments))[1]

        server.socket, client.socket = Counting(server.socket), Counting(client.socket)
        server.receive(100, 0.01)
        calls.clear()
        for _ in range(50):
            client.send(b"message")
            self.assertEqual(server.receive(100, 0.01), b"message")
            self.assertTrue(server.try_send(b"answer"))
            self.assertEqual(client.receive(100, None), b"answer")
        self.assertEqual(calls.count("setsockopt"), 1)
        calls.remove("setsockopt")
        self.assertEqual(calls, ["send", "recv"] * 100)

    def test_keep(self):
        """What is kept is encrypted, in order, and leaves with the next frame; nothing passes it."""
        for last in ("send", "try_send", "flush"):
            server, client = self.agreed()
            for frame in (b"one.", b"two."):
                self.assertTrue(server.keep(frame))
            self.assertTrue(server.pending)
            self.assertIsNone(client.receive(100, 0.01))
            if last == "flush":
                server.flush()
            else:
                getattr(server, last)(b"three.")
            self.assertFalse(server.pending)
            expected = b"one.two." + (b"" if last == "flush" else b"three.")
            self.assertEqual(self.receive_all(client, len(expected)), expected)
        self.assertFalse(server.keep(bytes(1 << 14)))

    def test_end_with_close_notify(self):
        """shutdown_write sends close_notify: the peer's own TLS sees an orderly end."""
        server, client = self.agreed()
        server.send(b"last")
        server.shutdown_write()
        self.assertEqual(client.receive(100, 5.0), b"last")
        client._incoming.write(read_all(client.socket))  # all but the end of TCP
        with self.assertRaises(ssl.SSLZeroReturnError):
            # Our own close_notify is out as well, so read raises instead of returning b"".
            client.shutdown_write()
            client.ssl_object.read(100)

    def test_deadline_with_nothing_sent(self):
        """WriteTimeout before there was room: nothing is encrypted, so nothing is torn, and a later send succeeds."""
        server, client = self.agreed(SMALL)
        filler = b"f" * FULL
        server.take(filler)
        for _ in range(3):
            with self.assertRaises(WriteTimeout):
                server.send(b"refused", deadline=instant(0.02))
        self.assertFalse(server.torn)
        task = Task(self.receive_all, client, FULL)
        server.flush_until(instant(10), None)
        self.assertEqual(task.result(), filler)
        server.send(b"next", deadline=instant(5))
        self.assertEqual(client.receive(100, 5.0), b"next")
        fill(server.socket)  # now the socket is full, and there is no rest
        self.assertFalse(server.pending)
        with self.assertRaises(WriteTimeout):
            server.send(b"refused", deadline=instant(0.02))
        self.assertEqual((server.torn, server.pending), (False, False))

    def test_deadline_with_part_sent(self):
        """WriteTimeout when part has left: torn, as what follows would be missing a piece."""
        server, _ = self.agreed(SMALL)
        with self.assertRaises(WriteTimeout):
            server.send(b"p" * FULL, deadline=instant(0.1))
        self.assertTrue(server.torn)

    def test_stall(self):
        """A peer that takes nothing fails the send after the stall limit."""
        server, _ = self.agreed(SMALL)
        with self.assertRaises(OSError) as caught:
            server.send(b"p" * FULL, stall=0.2)
        self.assertEqual(caught.exception.errno, errno.ETIMEDOUT)
        self.assertTrue(server.torn)

    def test_try_send(self):
        """try_send takes what it encrypts, whatever the socket takes of it; while that waits it takes nothing."""
        server, client = self.agreed(SMALL)
        self.assertTrue(server.try_send(b"first"))
        self.assertTrue(server.try_send(b"l" * FULL))
        self.assertTrue(server.pending)
        self.assertFalse(server.try_send(b"refused"))
        task = Task(self.receive_all, client, 5 + FULL + 4)
        while not server.flush():
            wait_for(server.socket, 5, write=True)
        self.assertTrue(server.try_send(b"next"))
        server.flush_until(instant(10), None)
        self.assertEqual(task.result(), b"first" + b"l" * FULL + b"next")

    def test_interrupt(self):
        """An exception between encrypting and sending makes a hole in the stream: torn."""
        for call in (lambda t: t.send(b"x"), lambda t: t.try_send(b"x"), lambda t: t.take(b"x")):
            server, _ = self.agreed()
            encrypt = server._encrypt

            def interrupted(data, encrypt=encrypt):
                encrypt(data)
                raise KeyboardInterrupt

            with mock.patch.object(server, "_encrypt", interrupted), self.assertRaises(KeyboardInterrupt):
                call(server)
            self.assertTrue(server.torn)

    def test_interrupt_in_a_flush(self):
        """So it does between taking the reader's ciphertext and sending it."""
        server, _ = self.agreed()
        with server._codec:
            server.ssl_object.write(b"from the reader")
        with mock.patch.object(server, "_offer", side_effect=KeyboardInterrupt):
            self.assertRaises(KeyboardInterrupt, server.flush)
        self.assertTrue(server.torn)

    def test_readers_ciphertext(self):
        """Ciphertext that reading has made is pending, and leaves before and with the next that is sent."""
        for call in (
            lambda t: t.flush(),
            lambda t: t.send(b"next"),
            lambda t: t.send(b"next", deadline=instant(5)),
            lambda t: t.try_send(b"next"),
            lambda t: t.flush_until(instant(5), None),
        ):
            server, client = self.agreed()
            with server._codec:
                server.ssl_object.write(b"from the reader,")  # stands for OpenSSL's answer to a key update
            self.assertTrue(server.pending)
            call(server)
            self.assertFalse(server.pending)
            server.send(b"end")
            server.shutdown_write()
            received = read_plain(client)
            self.assertTrue(received.startswith(b"from the reader,"), received)
            self.assertTrue(received.endswith(b"end"), received)

    def test_readers_ciphertext_on_a_full_socket(self):
        """Where there is no room for it, it waits as a rest."""
        server, client = self.agreed(SMALL)
        client.receive(100, 0.01)  # session tickets
        filler = fill(server.socket)
        with server._codec:
            server.ssl_object.write(b"answer")
        self.assertFalse(server.flush())
        self.assertTrue(server.pending)
        with server._codec:
            server.ssl_object.write(b"another")
        read_all(client.socket, filler)
        self.assertTrue(await_(server.flush))
        self.assertEqual(self.receive_all(client, 13), b"answeranother")

    def test_readers_ciphertext_after_a_rest(self):
        """Ciphertext that reading has made while a rest waits leaves after that rest, of which nothing is lost."""
        server, client = self.agreed()
        sock, server.socket = server.socket, ScriptedSocket(room=[EAGAIN, EAGAIN])
        self.addCleanup(server.socket.close)
        server.take(b"the rest, ")
        with server._codec:
            server.ssl_object.write(b"and an answer")
        self.assertFalse(server.flush())
        self.assertTrue(server.flush())
        sock.sendall(server.socket.sent)
        self.assertEqual(self.receive_all(client, 23), b"the rest, and an answer")


class RenegotiationTests(TLSCases):
    """A peer that renegotiates, as TLS 1.2 has it: a write would have to read first, which is another thread's."""

    def test_a_write_meanwhile(self):
        """The error of the write names the option of the context."""
        _, client = self.agreed(None, ssl.TLSVersion.TLSv1_2)
        client._tls = mock.Mock(write=mock.Mock(side_effect=ssl.SSLWantReadError))
        with self.assertRaisesRegex(ssl.SSLError, "OP_NO_RENEGOTIATION"):
            client.send(b"x")
        self.assertTrue(client.torn)

    def test_the_context_of_a_dialer(self):
        """By default a Dialer refuses it."""
        self.assertTrue(default_context().options & ssl.OP_NO_RENEGOTIATION)


class PollReadingTests(ReadingTests):
    """The same with reads that wait with poll."""

    kernel_waits = False


@unittest.skipUnless(shutil.which("openssl"), "needs the openssl program")
class KeyUpdateTests(TLSCases):
    """A real key update, by the openssl program as the peer."""

    def test_answer_to_a_key_update(self):
        """A key update that asks for one in return is answered, and the stream stays whole on both sides."""
        server_context, _ = contexts()
        listener = self.enterContext(socket.create_server(("127.0.0.1", 0)))
        port = listener.getsockname()[1]
        listener.settimeout(10)
        program = subprocess.Popen(
            ["openssl", "s_client", "-connect", f"127.0.0.1:{port}", "-tls1_3"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        watchdog = threading.Timer(20, program.kill)  # readline knows no timeout
        watchdog.start()
        self.addCleanup(watchdog.join)
        self.addCleanup(watchdog.cancel)
        self.addCleanup(program.communicate)
        self.addCleanup(program.kill)
        accepted, _ = listener.accept()
        self.addCleanup(accepted.close)
        server = TLSTransport(accepted, server_context, server_side=True)
        server.handshake(instant(10))
        program.stdin.write(b"before\n")
        program.stdin.flush()
        self.assertEqual(server.receive(100, 10.0), b"before\n")
        told = iter(program.stdout.readline, b"")
        for number in range(3):
            program.stdin.write(b"K\n")  # update keys, and ask the peer to, with what is sent next
            program.stdin.flush()
            self.assertTrue(any(b"KEYUPDATE" in line for line in told))
            program.stdin.write(b"after %d\n" % number)
            program.stdin.flush()
            self.assertEqual(server.receive(100, 10.0), b"after %d\n" % number)
            if server.pending:  # where the answer does not wait for the next write
                self.assertTrue(server.flush())
            server.send(b"after the update\n")
            self.assertTrue(any(b"after the update" in line for line in told))
        server.shutdown_write()


class HandshakeTests(TLSCases):
    """Agreeing on TLS, or not, whatever is between the codec and the socket."""

    def test_deadline(self):
        """A peer that is silent, or drips, does not hold a handshake past its deadline."""
        server, client = self.make()
        self.assertRaises(TimeoutError, server.handshake, instant(0.1))
        stop = threading.Event()

        def drip():
            for byte in hello(client):
                client.socket.sendall(bytes([byte]))
                if stop.wait(0.02):
                    return

        dripping = Task(drip)  # for seconds
        self.assertRaises(TimeoutError, server.handshake, instant(0.2))
        self.assertTrue(dripping.is_alive())
        stop.set()
        dripping.result()

    def test_garbage(self):
        """A client that speaks no TLS is an SSLError, which is an OSError; it gets an alert."""
        for data in (b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", os.urandom(300), b"\x16\x03\x01\xff\xff" + bytes(300)):
            server, client = self.make()
            client.socket.sendall(data)
            client.socket.shutdown(socket.SHUT_WR)
            self.assertRaises(OSError, server.handshake, instant(5))

    def test_peer_leaves(self):
        """A peer that leaves during the handshake is an OSError."""
        server, client = self.make()
        client.socket.shutdown(socket.SHUT_WR)
        self.assertRaises(ConnectionResetError, server.handshake, instant(5))
        server, client = self.make()
        client.socket.sendall(hello(client)[:-10])
        client.socket.shutdown(socket.SHUT_WR)
        self.assertRaises(ConnectionResetError, server.handshake, None)

    def test_shutdown_wakes_it(self):
        """shutdown ends a handshake that waits."""
        server, _ = self.make()
        task = Task(server.handshake, None)
        task.join(0.05)
        server.shutdown()
        self.assertRaises(ConnectionResetError, task.result)

    def test_plain_text_right_behind_it(self):
        """What a client sends in the same packet as the end of its handshake is not lost."""
        server, client = self.make()
        task = Task(server.handshake, instant(10))
        client.handshake(instant(10))
        client.send(b"at once")
        task.result()
        self.assertEqual(server.receive(100, 5.0), b"at once")


class CertificateTests(TLSCases):
    """Whom a client trusts."""

    def test_certificate_refused(self):
        """A client that does not trust the server raises, and says so in an alert: both sides fail, neither hangs."""
        sockets = socketpair()
        for sock in sockets:
            self.addCleanup(sock.close)
        server = TLSTransport(sockets[0], contexts()[0], server_side=True)
        strict = ssl.create_default_context()
        client = TLSTransport(sockets[1], strict, server_side=False, server_hostname="localhost")
        task = Task(client.handshake, instant(10))
        with self.assertRaises(ssl.SSLError):
            server.handshake(instant(10))
            server.receive(100, 10.0)  # with TLS 1.3 the server had finished before it heard of it
        self.assertRaises(ssl.SSLCertVerificationError, task.result)


if __name__ == "__main__":
    unittest.main()
