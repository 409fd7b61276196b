"""redirects.py: which redirects a dial follows, what goes along, and what the error says of the others."""

from __future__ import annotations

import base64
import http.cookiejar
import http.server
import os
import random
import tempfile
import threading
import unittest
from typing import Any

import syncws
import syncws.testing
from syncws._base.counters import breaches
from syncws._client.dialer import Dialer
from syncws._client.redirects import Route
from syncws._http.headers import Headers
from syncws._http.httpclient import ReceivedResponse
from syncws._http.url import parse_server_url
from syncws._net.attempt import Attempt, Stopped
from syncws.errors import BadHandshakeError
from tests.certificates import serving, trusting
from tests.client.cases import Asked, BadServer, DialCase, Hook, accepting, drip, noting_names
from tests.proxies import ConnectProxy
from tests.tasks import PATIENCE, Task

STATUSES = (301, 302, 303, 307, 308)

#: What a caller may give, and what of it another server may see.
HEADERS = {
    "Authorization": "Bearer secret",
    "Cookie": "session=secret",
    "Proxy-Authorization": "Basic secret",
    "X-Api-Key": "secret",
    "Host": "virtual.test",
    "User-Agent": "mine/1",
    "Origin": "https://page.test",
    "Accept-Language": "de",
    "Sec-WebSocket-Protocol": "v1",
}
HARMLESS = {"User-Agent": "mine/1", "Origin": "https://page.test", "Accept-Language": "de"}


def to(*locations: str, status: int = 302, lines: tuple[str, ...] = ()) -> bytes:
    """An answer that redirects to a place, or to nowhere."""
    head = [f"HTTP/1.1 {status} There", *(f"Location: {location}" for location in locations), *lines]
    return "\r\n".join([*head, "Content-Length: 0", "", ""]).encode("latin-1")


class RedirectCase(DialCase):
    def redirecting(self, *places: bytes | None, **options: Any) -> BadServer:
        """A server that answers each request with the next of these, and accepts for None; the last one stays."""
        waiting = list(places)

        def answer(asked: Asked) -> bytes:
            place = waiting.pop(0) if len(waiting) > 1 else waiting[0]
            return accepting()(asked) if place is None else place

        return self.bad_server(answer, hang_up=True, **options)

    def follow(self, url: str, headers: Any = None, **options: Any) -> syncws.Conn:
        conn = self.dial(url, headers, **{"max_redirects": 5, "ssl_context": trusting(), **options})
        self.assertEqual(conn.response.status, 101)
        return conn

    def stuck(self, url: str, headers: Any = None, **options: Any) -> BadHandshakeError:
        """The error of a dial that is led nowhere."""
        with self.assertRaises(BadHandshakeError) as caught:
            self.follow(url, headers, **options)
        self.assertNotIn("secret", str(caught.exception) + "".join(getattr(caught.exception, "__notes__", ())))
        return caught.exception


class FollowTests(RedirectCase):
    """Where redirects lead."""

    def test_each_status(self) -> None:
        """301, 302, 303, 307 and 308 are followed if max_redirects says so; the connection is that of the end."""
        end = self.echo_server()
        for status in STATUSES:
            conn = self.follow(self.redirecting(to(f"{end.url}feed?a=b", status=status)).url)
            self.assert_echo(conn)
            self.assertEqual((end.requests[-1].path, end.requests[-1].query.get("a")), ("/feed", "b"))

    def test_a_real_redirector(self) -> None:
        """Python's own web server redirects a dial in the words of HTTP, as the load balancers do."""
        end = self.echo_server()

        class Redirector(http.server.BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                self.send_response(301)
                self.send_header("Location", f"http://127.0.0.1:{end.port}{self.path}/")
                self.send_header("Content-Length", "5")
                self.end_headers()
                self.wfile.write(b"moved")

            def log_message(self, *_: Any) -> None:
                pass

        with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Redirector) as server:
            serving_thread = threading.Thread(target=server.serve_forever, args=(0.01,))
            serving_thread.start()
            try:
                self.assert_echo(self.follow(f"ws://127.0.0.1:{server.server_port}/feed"))
            finally:
                server.shutdown()
                serving_thread.join()
        self.assertEqual(end.request.path, "/feed/")

    def test_none_by_default(self) -> None:
        """Without max_redirects none is followed, and the error says where it leads and which option would go there."""
        end = self.bad_server(accepting())
        error = self.stuck(self.redirecting(to(f"{end.url}?token=secret")).url, max_redirects=0)
        self.assertIn(f"to '{end.url}'; redirects are not followed: max_redirects is 0", str(error))
        self.assertEqual((error.status, end.asked), (302, []))

    def test_other_statuses(self) -> None:
        """300, 304 and 305 are no redirects, and a Location of another answer is none either."""
        for status in (300, 304, 305, 201, 404, 503):
            error = self.stuck(self.redirecting(to("/elsewhere", status=status)).url)
            self.assertEqual(error.status, status)

    def test_absolute_places(self) -> None:
        """A Location may be a URL of HTTP or WebSocket, in any case, or one without a scheme; a fragment is dropped."""
        for location in ("http://{}/x?y", "HTTP://{}/x?y", "ws://{}/x?y#z", "//{}/x?y", "http://user:secret@{}/x?y"):
            with self.subTest(location):
                end = self.bad_server(accepting())
                self.follow(self.redirecting(to(location.format(f"127.0.0.1:{end.port}"))).url)
                self.assertEqual(end.request.line, "GET /x?y HTTP/1.1")
                self.assertNotIn("Authorization", end.request.headers)

    def test_relative_places(self) -> None:
        """A Location may be relative in each way; characters that no URL may have are percent-encoded in it too."""
        for location, target in (
            ("/x", "/x"),
            ("x", "/a/x"),
            ("../x?y", "/x?y"),
            ("?y", "/a/b?y"),
            ("/{id}?q=[]", "/%7Bid%7D?q=%5B%5D"),
            ("/\u00c3\u00bc", "/%C3%BC"),  # UTF-8, as servers send it
            ("/\u00fc", "/%C3%BC"),  # Latin-1
            (" \t/x ", "/x"),
        ):
            with self.subTest(location):
                server = self.redirecting(to(location), None)
                self.follow(f"{server.url}a/b?c")
                self.assertEqual(server.asked[-1].line, f"GET {target} HTTP/1.1")
                self.assertEqual(server.asked[-1].headers["Host"], f"127.0.0.1:{server.port}")

    def test_from_ws_to_wss(self) -> None:
        """A redirect to https begins TLS, and the certificate must be for the name that it leads to."""
        end = self.echo_server(ssl_context=serving("127.0.0.1"))
        start = self.redirecting(to(end.url.replace("wss:", "https:")))
        conn = self.follow(start.url)
        self.assert_echo(conn)
        self.assertTrue(conn.transport.is_tls)

    def test_the_name_of_a_certificate(self) -> None:
        """server_hostname is for the host of the URL, and for no other that a redirect leads to."""
        context = serving("elsewhere.test")
        names = noting_names(context)
        end = self.bad_server(accepting(), tls=context)
        start = self.redirecting(to(f"https://elsewhere.test:{end.port}/"), None, tls=serving("alias.test"))

        def net_dial(host: str, port: int, timeout: float | None) -> Any:
            return Hook(end.port if host == "elsewhere.test" else start.port)(host, port, timeout)

        self.follow("wss://127.0.0.1/", server_hostname="alias.test", net_dial=net_dial)
        self.assertEqual(names, ["elsewhere.test"])
        start = self.redirecting(to("/again"), None, tls=serving("alias.test"))
        self.follow(start.url, server_hostname="alias.test")

    def test_through_a_proxy(self) -> None:
        """Which proxy is used is asked for each place, by its URL."""
        asked: list[str] = []
        with ConnectProxy() as proxy:
            end = self.bad_server(accepting())
            start = self.redirecting(to(f"http://backend.test:{end.port}/x?y"))

            def choose(url: str) -> str | None:
                asked.append(url)
                return proxy.url if "backend.test" in url else None

            self.follow(start.url, proxy=choose)
            self.assertEqual(asked, [start.url, f"ws://backend.test:{end.port}/x?y"])
            self.assertEqual([target for _, target, _ in proxy.requests], [f"backend.test:{end.port}"])

    def test_cookies_on_the_way(self) -> None:
        """With a cookie_jar the cookies of a redirect are kept, and may lead on from the same place."""
        server = self.redirecting(to("/", lines=("Set-Cookie: a=b",)), None)
        self.follow(server.url, cookie_jar=http.cookiejar.CookieJar())
        self.assertEqual([asked.headers.get("Cookie") for asked in server.asked], [None, "a=b"])


class RefusalTests(RedirectCase):
    """Redirects that are not followed although some are."""

    def test_from_wss_to_ws(self) -> None:
        """From wss to ws none is followed: what TLS protects would be sent in the clear."""
        end = self.bad_server(accepting())
        for scheme in ("http", "ws"):
            start = self.redirecting(to(f"{scheme}://127.0.0.1:{end.port}/?token=secret"), tls=serving())
            error = self.stuck(start.url)
            self.assertIn("; a redirect from wss to ws is never followed", str(error))
            self.assertEqual((error.status, error.response.status), (302, 302))
        self.assertEqual(end.asked, [])

    def test_more_than_allowed(self) -> None:
        """One more than max_redirects is an error that names it, and a breach that is counted under its name."""
        server = self.redirecting(*(to(f"/{number}") for number in range(5)))
        before = breaches.snapshot().get("max_redirects", 0)
        error = self.stuck(server.url, max_redirects=2)
        self.assertIn("to '/2'; max_redirects allows 2, and this is one more", str(error))
        self.assertEqual(len(server.asked), 3)
        self.assertEqual(breaches.snapshot()["max_redirects"], before + 1)
        self.assertIn(f"redirected from {server.url} to {server.url}0 to {server.url}1", error.__notes__)

    def test_a_circle(self) -> None:
        """A redirect to where the dial has been is an error at once, without a jar whose cookies could change that."""
        server = self.redirecting(to("/b"), to("/"))
        self.assertIn("it leads in a circle", str(self.stuck(server.url)))
        self.assertEqual(len(server.asked), 2)
        jar = http.cookiejar.CookieJar()
        self.assertIn("max_redirects allows 5", str(self.stuck(self.redirecting(to("/")).url, cookie_jar=jar)))

    def test_nowhere(self) -> None:
        """A Location that is missing, empty, there twice, invalid or in another scheme is an error that says so."""
        for answer, told in (
            (to(), "it has no Location"),
            (to(""), "it has no Location"),
            (to("/a", "/b"), "it has several Locations"),
            (to("ftp://a/"), "its Location is in the scheme ftp:, and neither http: nor ws:"),
            (to("javascript:alert(1)"), "its Location is in the scheme javascript:"),
            (to("http://:80/"), "its Location is invalid: the URL has no valid host"),
            (to("http://a b/"), "its Location is invalid: the URL has no valid host"),
            (to("http://a:99999/"), "its Location is invalid: the URL of a has no valid port"),
            (to("http://[::1/"), ""),
            (to("http://a\\user:secret@b/"), "its Location is invalid: the URL has credentials that are invalid"),
            (to("/a\x85"), "its Location is invalid: the URL has a control character"),
        ):
            with self.subTest(answer):
                error = self.stuck(self.redirecting(answer).url)
                self.assertIn(told, str(error))
                self.assertEqual(error.status, 302)
                self.assertTrue(str(error).isprintable())

    @unittest.skipUnless(hasattr(os, "fork"), "no Unix sockets")
    def test_away_from_a_unix_socket(self) -> None:
        """What a Unix socket serves is one server: a redirect to another is an error, and one within it is followed."""
        path = self.enterContext(tempfile.TemporaryDirectory()) + "/s"
        answers = [syncws.Response("", 302, {"Location": place}) for place in ("/b", "http://elsewhere.test/")]

        with syncws.testing.running(syncws.Server(lambda request: answers.pop(0), unix_path=path)):
            error = self.stuck("ws://localhost/", unix_path=path)
        self.assertIn("unix_path leads to one server alone", str(error))
        self.assertEqual(answers, [])

    def test_the_time_is_for_all_of_it(self) -> None:
        """One deadline is over all places together, and the error of the last one tells the way."""
        end = self.bad_server(script=lambda sock, asked: drip(sock, b"HTTP/1.1 101 "))
        with self.assertRaises(TimeoutError) as caught:
            self.follow(self.redirecting(to(end.url)).url, handshake_timeout=0.3)
        self.assertIn(f"to {end.url}", "".join(caught.exception.__notes__))

    def test_stop(self) -> None:
        """A dial that was led on is stopped like any other."""
        end = self.bad_server(script=lambda sock, asked: sock.recv(1))
        attempt = Attempt(None)
        task = Task(Dialer(max_redirects=1).dial_within, attempt, self.redirecting(to(end.url)).url)
        self.assertTrue(syncws.testing.await_(lambda: bool(end.asked), PATIENCE))
        attempt.stop()
        self.assertIsInstance(task.error(), Stopped)

    def test_any_location(self) -> None:
        """Whatever a Location holds, it leads to a place or to an error of one line, which shows no credential."""
        chance = random.Random(302)
        pieces = [chr(code) for code in range(32, 256) if code != 127]
        pieces += [
            "http://",
            "https://",
            "ws:",
            "//",
            "a.b",
            ":80",
            "[::1]",
            "%0a",
            "user:secret@",
            "/../",
            "?",
            "\xc3\xbc",
        ]
        for start in ("ws://a/x?secret", "wss://[fe80::1%25eth0]:8/b/c"):
            for _ in range(2000):
                route = Route(parse_server_url(start), Headers(), 3, circles=False, one_server=False)
                location = "".join(chance.choices(["http://", "https://h/", "/", ""]) + chance.choices(pieces, k=8))
                try:
                    route.follow(ReceivedResponse(302, "", Headers({"Location": location})))
                except BadHandshakeError as error:
                    self.assertTrue(str(error).isprintable(), ascii(location))
                    self.assertLess(len(str(error)), 700, ascii(location))
                    self.assertNotIn("secret", str(error), ascii(location))


class CredentialTests(RedirectCase):
    """What goes along."""

    def test_to_the_same_server(self) -> None:
        """Within scheme, host and port everything goes along: the caller's headers, the URL's user and password."""
        server = self.redirecting(to("/x"), None)
        self.follow(server.url, HEADERS)
        for name, value in HEADERS.items():
            self.assertEqual(server.asked[-1].headers.get_all(name), [value])
        server = self.redirecting(to("/x"), None)
        self.follow(server.url.replace("//", "//ann:secret@"))
        basic = f"Basic {base64.b64encode(b'ann:secret').decode()}"
        self.assertEqual([asked.headers.get("Authorization") for asked in server.asked], [basic] * 2)

    def test_to_another_port(self) -> None:
        """Another port is another server: no credential goes there, whatever its header is called."""
        end = self.bad_server(accepting())
        self.follow(self.redirecting(to(end.url)).url.replace("//", "//ann:secret@"), HEADERS, subprotocols=())
        self.check_bare(end.request)

    def test_to_another_scheme(self) -> None:
        """So is another scheme, on the same host and port."""
        end = self.bad_server(accepting(), tls=serving("a.test"))
        start = self.redirecting(to("https://a.test:80/"))
        ports = iter([start.port, end.port])
        hooks = [Hook(port) for port in ports]
        made = iter(hooks)
        self.follow("ws://ann:secret@a.test/", HEADERS, net_dial=lambda *where: next(made)(*where))
        self.assertEqual([hook.calls for hook in hooks], [[("a.test", 80)], [("a.test", 80)]])
        self.check_bare(end.request, "a.test:80")

    def test_to_another_host(self) -> None:
        """So is another host on the same port; a name within the same domain is another host."""
        for place in ("b.test", "x.a.test", "127.0.0.1"):
            end, start = self.bad_server(accepting()), self.redirecting(to(f"http://{place}/"))
            made = iter([Hook(start.port), Hook(end.port)])
            net_dial = lambda *where, made=made: next(made)(*where)  # noqa: E731
            self.follow("ws://ann:secret@a.test/", HEADERS, net_dial=net_dial)
            self.check_bare(end.request, place)

    def check_bare(self, asked: Asked, host: str | None = None) -> None:
        for name, value in HARMLESS.items():
            self.assertEqual(asked.headers.get_all(name), [value])
        self.assertEqual(asked.headers["Sec-WebSocket-Protocol"], "v1")
        for name in HEADERS.keys() - HARMLESS.keys() - {"Sec-WebSocket-Protocol", "Host"}:
            self.assertNotIn(name, asked.headers)
        self.assertNotIn("secret", "".join(asked.lines))
        if host is not None:
            self.assertEqual(asked.headers.get_all("Host"), [host])
        self.assertNotIn("virtual.test", asked.headers["Host"])

    def test_there_and_back(self) -> None:
        """What was left out stays out on the way back: the other server has chosen what is asked."""
        other = self.redirecting(b"")
        start = self.redirecting(to(other.url), None)
        other._answer = to(f"{start.url}chosen?by=it")
        self.follow(start.url.replace("//", "//ann:secret@"), {"X-Api-Key": "secret"})
        self.assertEqual(start.asked[-1].line, "GET /chosen?by=it HTTP/1.1")
        self.assertNotIn("secret", "".join(start.asked[-1].lines))
        self.assertNotIn("Authorization", start.asked[-1].headers)

    def test_it_is_told(self) -> None:
        """The error of a server that misses the credentials says that they were left out, by name alone."""
        end = self.redirecting(b"HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n")
        start = self.redirecting(to(end.url))
        error = self.stuck(start.url.replace("//", "//ann:secret@"), {"X-Api-Key": "secret", "Origin": "null"})
        self.assertEqual(error.status, 401)
        self.assertEqual(
            error.__notes__,
            [
                f"redirected from {start.url} to {end.url}",
                "not sent on to another scheme, host or port: X-Api-Key, the URL's user and password",
            ],
        )

    def test_a_jar_goes_by_its_own_rules(self) -> None:
        """The jar's cookies go to the hosts that they are of."""
        jar = http.cookiejar.CookieJar()
        end = self.bad_server(accepting("Set-Cookie: b=1"))
        start = self.redirecting(to(f"http://b.test:{end.port}/"))

        def net_dial(host: str, port: int, timeout: float | None) -> Any:
            return Hook(end.port if host == "b.test" else start.port)(host, port, timeout)

        first = self.bad_server(accepting("Set-Cookie: a=1"))
        self.dial("ws://a.test/", cookie_jar=jar, net_dial=first.net_dial)
        for _ in range(2):
            self.follow("ws://a.test/", cookie_jar=jar, net_dial=net_dial).close_now()
        self.assertEqual([asked.headers.get("Cookie") for asked in start.asked], ["a=1"] * 2)
        self.assertEqual([asked.headers.get("Cookie") for asked in end.asked], [None, "b=1"])


if __name__ == "__main__":
    unittest.main()
