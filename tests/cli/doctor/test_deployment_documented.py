"""`syncws doctor URL` finds nothing wrong with the deployments of the pages, which are run as they stand there."""

from __future__ import annotations

from typing import Any, ClassVar

import syncws
from syncws._cli.doctor.deployment import Deployment, Scope
from syncws._cli.doctor.finding import Finding, Severity
from syncws._cli.doctor.standin import stand_in
from syncws._cli.doctor.visitor import Place, visitor_from
from syncws._http.headers import Headers
from syncws.testing import running
from tests.interop.fronts import NAME, Apache, Caddy, HAProxy
from tests.interop.test_nginx import Nginx
from tests.page_configs import blocks
from tests.partners import heavy

from .support import DoctorCase


class DocumentedCases(DoctorCase):
    """One program in front, with its configuration from the page."""

    front: ClassVar[Any]
    named: ClassVar[str | None]  # what the doctor takes it for
    notes: ClassVar[set[str]] = set()  # what it notes of this program in any case

    def look_through(self, server: syncws.Server, scheme: str, scope: Scope) -> list[Finding]:
        """The findings of a visit to app.example.com, whose ports are those that the front really has."""
        front = self.front(f"127.0.0.1:{self.enterContext(running(server)).port}")
        self.addCleanup(front.close)
        dialer = syncws.Dialer(
            net_dial=front.connect, ssl_context=front.trusted, proxy=None, handshake_timeout=5, close_timeout=5
        )
        place = Place(f"{scheme}://{NAME}/", visitor_from(dialer), Headers([]), 5.0)
        deployment = Deployment(place, scope, lambda _text: None)
        findings = list(deployment.check())
        self.assertEqual(deployment.front, self.named)
        return findings

    def assert_nothing(self, findings: list[Finding], *notes: str) -> None:
        """Nothing is wrong, and nothing is noted except what stands here."""
        self.assertEqual([each for each in findings if each.severity > Severity.NOTE], [])
        noted = {each.check for each in findings if each.severity is Severity.NOTE}
        self.assertLessEqual(noted, {*notes, *self.notes})

    def test_the_page(self) -> None:
        """The program of the page, over TLS; the connection is idle for a moment."""
        page: dict[str, Any] = {"__name__": "page"}
        exec(blocks("deployment.md", "python")[0], page)
        server = syncws.Server(page["handler"], "127.0.0.1", 0, health_path="/healthz", ready_path="/readyz")
        findings = self.look_through(server, "wss", Scope(idle=0.5, health="/health"))
        self.assert_nothing(findings, "request", "unencrypted")
        self.assertRegex(*[each.title for each in findings if each.check == "tls"], r"TLSv1\.[23]")
        self.assertIn("GET /health is answered 200 OK", [each.title for each in findings])

    def test_what_comes(self) -> None:
        """All of a request has come, as the stand-in tells, and the client's address with it; without TLS too."""
        findings = self.look_through(stand_in("127.0.0.1", 0), "ws", Scope(idle=None, compression=True))
        findings = [each for each in findings if each.check != "tls"]  # it is not encrypted, as this test wants it
        self.assert_nothing(findings)
        (request,) = [each for each in findings if each.check == "request"]
        self.assertEqual(request.title, "all of it has come; the client is 127.0.0.1")


@heavy
class NginxTests(DocumentedCases):
    front = Nginx
    named = "nginx"


@heavy
class HAProxyTests(DocumentedCases):
    front = HAProxy
    named = None  # it says nothing of itself


@heavy
class CaddyTests(DocumentedCases):
    front = Caddy
    named = "caddy"
    notes: ClassVar[set[str]] = {"early"}


@heavy
class ApacheTests(DocumentedCases):
    front = Apache
    named = "apache"


del DocumentedCases
