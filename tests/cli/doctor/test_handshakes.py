"""The checks that need a handshake: broken nginx, certificates, origins, subprotocols, what comes of a request."""

from __future__ import annotations

import contextlib
import json
import socket
import ssl
import threading
import unittest
from typing import Any
from unittest import mock

import syncws
from syncws._cli.doctor import handshakes
from syncws._cli.doctor.standin import HEADER, stand_in
from syncws._cli.doctor.visitor import Place, Visitor
from syncws._net.tls import TLSTransport
from syncws.testing import running
from tests import certificates
from tests.partners import heavy

from .support import NAME, DoctorCase, free_port

#: (what is said, nginx's line, severity) of what a front has not passed on.
LOST = (
    ("the header Cookie was lost", "Cookie", "fault"),
    ("the header Authorization was lost", "Authorization", "fault"),
    ("Sec-WebSocket-Protocol was lost", "Sec-WebSocket-Protocol", "fault"),
    ("Sec-WebSocket-Extensions was lost", "Sec-WebSocket-Extensions", "fault"),
    ("X-Forwarded-For and X-Forwarded-Proto did not come", "X-Forwarded-For $remote_addr;", "warning"),
)


class Other:
    """Says something to whoever connects, whatever is asked, and closes."""

    def __init__(self, said: bytes) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._said = said
        self._thread = threading.Thread(target=self._serve)

    def __enter__(self) -> Other:
        self._thread.start()
        return self

    def __exit__(self, *exc: object) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the end
            while True:
                sock, _ = self._listener.accept()
                with sock, contextlib.suppress(OSError):
                    sock.sendall(self._said)


@heavy
class NginxTests(DoctorCase):
    """nginx with one line missing, or one too many."""

    def test_upgrade_dropped(self) -> None:
        """Without the Upgrade and Connection lines."""
        place = self.nginx(self.application(), without=("upgrade",))
        found = self.look(f"ws://{place}/")
        self.assert_found(found, "handshake", "lost its Upgrade", "nginx", "proxy_set_header Upgrade $http_upgrade;")
        self.assertEqual(self.front, "nginx")

    def test_http_1_0(self) -> None:
        """Without proxy_http_version, which is 1.0 in nginx 1.22."""
        place = self.nginx(self.application(), without=("version",), lines="proxy_http_version 1.0;")
        found = self.look(f"ws://{place}/")
        self.assert_found(found, "handshake", "HTTP/1.0", "nginx", "proxy_http_version 1.1;")

    def test_host_rewritten(self) -> None:
        """Without the Host line browsers are refused, and clients without an Origin are not."""
        place = self.nginx(self.application(), without=("host",))
        found = self.look(f"ws://{place}/")
        self.assert_found(found, "origin", "is refused (403)", "nginx", "proxy_set_header Host $host;")

    def test_upstream_down(self) -> None:
        """Nothing listens where nginx looks for the application."""
        found = self.look(f"ws://{self.nginx(free_port())}/")
        self.assert_found(found, "handshake", "502 Bad Gateway", "nginx", "upstream app { server 127.0.0.1:8080; }")

    def test_redirect(self) -> None:
        """ws: is sent to https:, which no browser follows."""
        place = self.nginx(self.application(), outside="return 301 https://$host$request_uri;")
        found = self.look(f"ws://{place}/")
        self.assert_found(found, "handshake", f"Location: https://{NAME}/", "nginx", "no return 301")

    def test_origin_dropped(self) -> None:
        """Without its Origin a foreign page is let in."""
        place = self.nginx(self.application(), lines='proxy_set_header Origin "";')
        found = self.look(f"ws://{place}/")
        self.assert_found(found, "origin", "any site", "nginx", 'no proxy_set_header Origin ""', "warning")

    def test_what_a_stand_in_sees(self) -> None:
        """Path, credentials, subprotocol, compression, the client's address: what does not come is named."""
        dropped = ("Cookie", "Authorization", "Sec-WebSocket-Protocol", "Sec-WebSocket-Extensions")
        place = self.nginx(
            self.enterContext(running(stand_in("127.0.0.1", 0))).port,
            without=("client",),
            target="/other",
            lines="".join(f'proxy_set_header {name} "";\n' for name in dropped),
        )
        found = self.look(f"ws://{place}/")
        for says, line, severity in (
            ("path or query were changed", "proxy_pass http://app;", "fault"),
            *LOST,
        ):
            with self.subTest(says):
                self.assert_found(found, "request", says, "nginx", line, severity)

    def test_path(self) -> None:
        """The application has no such path."""
        app = self.serving(lambda request: syncws.Response("no such page\n", 404))
        found = self.look(f"ws://{self.nginx(app)}/")
        self.assert_found(found, "handshake", 'It says: "no such page"', "nginx", "nothing after the name")


@heavy
class CertificateTests(DoctorCase):
    def look_at(
        self, *arguments: str, names: tuple[str, ...] = (NAME, "127.0.0.1"), days: int = 90
    ) -> list[dict[str, Any]]:
        """The findings of nginx with a certificate for these names, which is valid for so many days."""
        files = certificates.files(self.folder, *names, days=days)
        lines = f"ssl_certificate {files.certificate}; ssl_certificate_key {files.key};"
        place = self.nginx(self.application(), outside=lines, tls="ssl")
        return self.look(f"wss://{place}/", *(arguments or ("--ca", files.authority)))

    def test_expired(self) -> None:
        """It ended yesterday: the further checks are made all the same."""
        found = self.look_at(days=-1)
        self.assert_found(found, "certificate", "certificate has expired", "nginx", "ssl_certificate ")
        self.assertIn("echo", [each["check"] for each in found])

    def test_not_looked_at(self) -> None:
        """With --insecure nobody looks at it, and the report says so."""
        found = self.look_at("--insecure")
        notes = [each["title"] for each in found if each["check"] == "certificate"]
        self.assertEqual(notes, ["it was not looked at (--insecure)"])

    def test_soon(self) -> None:
        """It ends within two weeks: who renews does it earlier."""
        found = self.look_at(days=5)
        self.assert_found(found, "certificate", "valid for 4 more days", "caddy", "renews", "warning")

    def test_another_name(self) -> None:
        """It is for another host."""
        found = self.look_at(names=("other.example.com",))
        self.assert_found(found, "certificate", "IP address mismatch", "nginx", "ssl_certificate ")

    def test_unknown_authority(self) -> None:
        """Nobody trusts who has signed it: mostly the chain is not there."""
        found = self.look_at("--quick")
        self.assert_found(found, "certificate", "issuer certificate", "nginx", "fullchain.pem")

    def test_well(self) -> None:
        """A certificate that is fine is said to be, with its days."""
        found = self.look_at()
        self.assert_well(found, "request")
        (days,) = [each["title"] for each in found if each["check"] == "certificate"]
        self.assertRegex(days, r"valid for \d+ more days")


class FrontTests(DoctorCase):
    """What a server in front does to a handshake, done by a server of ours: nginx itself is in `NginxTests`."""

    def look_at(self, handler: Any, *arguments: str) -> list[dict[str, Any]]:
        return self.look(f"ws://127.0.0.1:{self.serving(handler)}/", *arguments)

    def test_refused(self) -> None:
        """What is answered in place of a 101 is told."""
        found = self.look_at(lambda request: syncws.Response("no such page\n", 404))
        self.assert_found(found, "handshake", 'It says: "no such page"', "nginx", "nothing after the name")

    def test_nobody_there(self) -> None:
        """Nobody listens, or nobody has such a name; and who listens closes, or speaks another protocol."""
        self.assert_fault("reach", self.look(f"ws://127.0.0.1:{free_port()}/"))
        self.assert_fault("reach", self.look("ws://no-such-host.invalid/"))
        with Other(b"SSH-2.0-other\r\n\r\n") as other:
            self.assert_fault("handshake", self.look(f"ws://127.0.0.1:{other.port}/"))
            self.assert_fault("tls", self.look(f"wss://127.0.0.1:{other.port}/"))
        with Other(b"") as other:
            self.assertTrue(self.look(f"wss://127.0.0.1:{other.port}/"))

    def test_no_answer(self) -> None:
        """Who listens does not answer."""
        with socket.create_server(("127.0.0.1", 0)) as silent:
            found = self.look(f"ws://127.0.0.1:{silent.getsockname()[1]}/", "--timeout", "0.2")
        self.assert_fault("reach", found)

    def assert_fault(self, check: str, found: list[dict[str, Any]]) -> None:
        self.assertEqual([(each["check"], each["severity"]) for each in found], [(check, "fault")])

    def test_host_rewritten(self) -> None:
        """An application that gets another Host refuses browsers, and no client without an Origin."""

        def app(request: syncws.Request) -> syncws.Response | None:
            if "Origin" in request.headers:
                return syncws.Response("forbidden\n", 403)
            with syncws.Upgrader().upgrade(request) as conn:
                self.talk(conn)
            return None

        found = self.look_at(app)
        self.assert_found(found, "origin", "is refused (403)", "nginx", "proxy_set_header Host $host;")

    def test_what_a_stand_in_sees(self) -> None:
        """Path, credentials, subprotocol, compression, the client's address: what does not come is named."""
        changed = {"target": "/other", "headers": {"Host": "other", "Origin": "null"}}
        upgrader = syncws.Upgrader(allowed_origins=["*"])

        def app(request: syncws.Request) -> None:
            with upgrader.upgrade(request, [(HEADER, "1")]) as conn:
                conn.send(json.dumps(changed))
                self.talk(conn)

        found = self.look_at(app)
        for says, line, severity in (
            ("path or query were changed", "proxy_pass http://app;", "fault"),
            ("the Host is other", "Host", "fault"),
            ("the header Origin was changed on the way", "Origin", "fault"),
            *LOST,
        ):
            with self.subTest(says):
                self.assert_found(found, "request", says, "nginx", line, severity)


class TLSTests(DoctorCase):
    """A server of ours with a certificate."""

    def look_at(
        self, *arguments: str, names: tuple[str, ...] = (NAME, "127.0.0.1"), days: int = 90
    ) -> list[dict[str, Any]]:
        """The findings of a server with a certificate for these names, which is valid for so many days."""
        files = certificates.files(self.folder, *names, days=days)
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(files.certificate, files.key)

        def echo(request: syncws.Request) -> None:
            with syncws.Upgrader().upgrade(request) as conn:
                self.talk(conn)

        server = self.enterContext(running(syncws.Server(echo, "127.0.0.1", 0, ssl_context=context)))
        return self.look(f"wss://127.0.0.1:{server.port}/", *(arguments or ("--ca", files.authority)))

    def test_days(self) -> None:
        """How long it is valid is told: enough, not long any more, and no more."""
        (days,) = [each["title"] for each in self.look_at() if each["check"] == "certificate"]
        self.assertRegex(days, r"valid for \d+ more days")
        found = self.look_at(days=5)
        self.assert_found(found, "certificate", "valid for 4 more days", "caddy", "renews", "warning")
        found = self.look_at(days=-1)
        self.assert_found(found, "certificate", "certificate has expired", "nginx", "ssl_certificate ")
        self.assertIn("echo", [each["check"] for each in found])

    def test_whose(self) -> None:
        """Another host's, of an authority that nobody knows, or not looked at."""
        found = self.look_at(names=("other.example.com",))
        self.assert_found(found, "certificate", "IP address mismatch", "nginx", "ssl_certificate ")
        found = self.look_at("--quick")
        self.assert_found(found, "certificate", "issuer certificate", "nginx", "fullchain.pem")
        notes = [each["title"] for each in self.look_at("--insecure") if each["check"] == "certificate"]
        self.assertEqual(notes, ["it was not looked at (--insecure)"])


class PlaceTests(unittest.TestCase):
    """What takes a public host, the port 443 or an old TLS to be seen: the place is played."""

    def place(self, url: str) -> Place:
        return Place(url, Visitor(proxy=None), syncws.Headers([]), 1.0)

    def test_unencrypted(self) -> None:
        """Whether the same name answers without TLS is asked on its usual ports only."""
        self.assertEqual(list(handshakes.check_unencrypted(self.place("wss://example.com:8443/"))), [])
        answer = mock.Mock(**{"__str__": lambda _self: "301 Moved Permanently"})
        for outcome, title in (
            (contextlib.nullcontext(), "ws:// works as well"),
            (ConnectionRefusedError(), "ws:// is not there"),
            (syncws.BadHandshakeError("no", response=answer), "ws:// answers"),
        ):
            with self.subTest(title), mock.patch.object(Place, "connection", side_effect=[outcome]):
                (found,) = handshakes.check_unencrypted(self.place("wss://example.com/"))
                self.assertIn(title, found.title)

    def test_not_encrypted(self) -> None:
        """It is a warning where the host is far away."""
        conn = mock.Mock(transport=object())
        for host, near in (
            ("localhost", True),
            ("app.internal", True),
            ("10.0.0.1", True),
            ("app", True),
            ("example.com", False),
            ("9.9.9.9", False),
        ):
            with self.subTest(host):
                found = list(handshakes._of_tls(self.place(f"ws://{host}/"), conn, judged=False))
                self.assertEqual([each.title for each in found], [] if near else ["the connection is not encrypted"])

    def test_an_old_tls(self) -> None:
        """Versions that browsers refuse are a warning; a certificate that was judged is not mentioned again."""
        conn = mock.Mock(transport=mock.Mock(spec=TLSTransport))
        conn.transport.ssl_object = mock.Mock()
        conn.transport.ssl_object.version.return_value = "TLSv1.1"
        conn.transport.ssl_object.getpeercert.return_value = {}
        (found,) = handshakes._of_tls(self.place("wss://example.com/"), conn, judged=True)
        self.assertEqual(found.title, "TLSv1.1, which browsers refuse")

    def test_no_tls(self) -> None:
        """A TLS that fails in another way than by its certificate is told."""
        error = ssl.SSLError(1, "no shared cipher")
        error.reason = "NO_SHARED_CIPHER"
        found = handshakes._of_failure(error, self.place("wss://example.com/"))
        self.assertEqual(found.title, "no TLS could be agreed on")


class ApplicationTests(DoctorCase):
    """What the application itself agrees to, without anything in front."""

    def look_at(self, *arguments: str, **options: Any) -> list[dict[str, Any]]:
        return self.look(f"ws://127.0.0.1:{self.application(**options)}/", *arguments)

    def test_any_origin(self) -> None:
        """It lets pages of any site in."""
        found = self.look_at(allowed_origins=["*"])
        self.assert_found(found, "origin", "any site", "app", 'no allowed_origins=["*"]', "warning")

    def test_no_subprotocol(self) -> None:
        """It knows none of the subprotocols that were offered."""
        found = self.look_at("--subprotocol", "chat")
        self.assert_found(found, "subprotocol", "chat: none was chosen", "app", "Upgrader(subprotocols=")
        self.assert_well(self.look_at("--subprotocol", "chat", subprotocols=["chat"]), "request")

    def test_no_compression(self) -> None:
        """It is a warning for who asks for compression, and fine for everybody else."""
        found = self.look_at("--compression")
        self.assert_found(found, "compression", "not agreed on", "app", "enable_compression=True", "warning")
        self.assert_well(self.look_at("--compression", enable_compression=True), "request")
