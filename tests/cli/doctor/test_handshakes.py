"""The checks that need a handshake: broken nginx, certificates, origins, subprotocols, what comes of a request."""

from __future__ import annotations

from typing import Any

import syncws
from syncws._cli.doctor.standin import stand_in
from syncws.testing import running
from tests import certificates
from tests.partners import heavy

from .support import NAME, DoctorCase, free_port


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
            ("the header Cookie was lost", "Cookie", "fault"),
            ("the header Authorization was lost", "Authorization", "fault"),
            ("Sec-WebSocket-Protocol was lost", "Sec-WebSocket-Protocol", "fault"),
            ("Sec-WebSocket-Extensions was lost", "Sec-WebSocket-Extensions", "fault"),
            ("X-Forwarded-For and X-Forwarded-Proto did not come", "X-Forwarded-For $remote_addr;", "warning"),
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
