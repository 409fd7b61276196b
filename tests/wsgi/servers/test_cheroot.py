"""cheroot.py: its reader, its pool, its end."""

from __future__ import annotations

import types
import unittest
from unittest import mock

import cheroot.makefile
import cheroot.ssl.pyopenssl

from syncws._wsgi.taken import Environ, Taken, Untakeable
from syncws._wsgi.takers import find
from syncws.testing import socketpair
from tests.wsgi.servers.cases import KeepAliveRules, ServerCase, TLSRules


class CherootTests(TLSRules, KeepAliveRules, ServerCase):
    """cheroot, with a pool of threads."""

    server = "cheroot"
    name = "Cheroot/"
    pool = 4

    def test_whether_it_is_ending(self) -> None:
        """It can be asked whether it is about to stop."""
        found: list[Taken] = []

        def probe(environ: Environ) -> bool:
            found.append(find(environ))
            assert found[-1].is_ending is not None
            return found[-1].is_ending()

        self.assertIs(self.look(probe), False)
        assert found[0].is_ending is not None
        self.assertTrue(found[0].is_ending())

    def test_no_server_that_is_known(self) -> None:
        """Where none of the callers is its connection, the socket is found all the same."""
        server, client = socketpair()
        with server, client, cheroot.makefile.StreamReader(server) as reader:
            taken = find({"wsgi.input": reader, "SERVER_SOFTWARE": "Cheroot/1"})
        self.assertIs(taken.sock, server)
        self.assertEqual((taken.pool, taken.is_ending), (None, None))

    def test_an_answer_that_cannot_be_sent(self) -> None:
        """A writer on a socket that was taken fails once, and keeps nothing that it would try to send when it is freed:
        since Python 3.13 that is a traceback on stderr."""
        server, client = socketpair()

        class Connection:
            wfile = cheroot.makefile.StreamWriter(server)

            def call_view(self) -> None:
                with cheroot.makefile.StreamReader(server) as reader:
                    find({"wsgi.input": reader, "SERVER_SOFTWARE": "Cheroot/1"}).on_taken()

        with client, server:
            Connection().call_view()
            Connection.wfile.write(b"an answer")
            self.assertEqual(client.recv(100), b"an answer")
        with self.assertRaises(OSError):
            Connection.wfile.write(b"HTTP/1.1 101 Switching Protocols")
        self.assertEqual(len(Connection.wfile._write_buf), 0)

    def test_pyopenssl(self) -> None:
        """TLS of pyOpenSSL, as cheroot wraps it, is refused with the way out."""
        connection = types.SimpleNamespace(fileno=lambda: 5)
        wrapped = object.__new__(cheroot.ssl.pyopenssl.SSLConnection)
        wrapped._ssl_conn, wrapped._lock = connection, mock.MagicMock()
        reader = types.SimpleNamespace(raw=types.SimpleNamespace(_sock=wrapped))
        with self.assertRaisesRegex(Untakeable, r"holds this connection in a cheroot\.") as caught:
            find({"wsgi.input": reader, "SERVER_SOFTWARE": "Cheroot"})
        self.assertIn("BuiltinSSLAdapter", caught.exception.advice)


if __name__ == "__main__":
    unittest.main()
