"""What stands in front of an application, as far as its answers show."""

from __future__ import annotations

from ..._base.printable import printable
from ..._http.httpclient import ReceivedResponse

#: Headers that only one front sends, and whose value does not matter.
_OWN = {"cf-ray": "cloudflare", "x-amzn-trace-id": "alb", "x-caddy-id": "caddy"}

#: How the values of Server and Via begin, in lower case, after the version of HTTP.
_SAYS = {
    "nginx": "nginx",
    "openresty": "nginx",
    "caddy": "caddy",
    "apache": "apache",
    "awselb": "alb",
    "cloudflare": "cloudflare",
    "haproxy": "haproxy",
    "traefik": "traefik",
}

#: What only the pages of errors of one front say.
_PAGES = {
    b"No server is available to handle this request": "haproxy",
    b"Your browser sent an invalid request.\n</body>": "haproxy",
    b"<center>nginx": "nginx",
}


def guess(*answers: ReceivedResponse) -> str | None:
    """The front that has sent or passed these answers; None if none can be told."""
    for answer in answers:
        for name, value in answer.headers:
            lower = name.lower()
            if lower in _OWN:
                return _OWN[lower]
            if lower in ("server", "via"):
                words = value.lower().replace("/", " ").split()
                for word in words:
                    if word in _SAYS:
                        return _SAYS[word]
        for page, front in _PAGES.items():
            if page in answer.body:
                return front
    return None


def hops(answer: ReceivedResponse) -> str:
    """The headers in which servers name themselves, for people: "Server: nginx/1.22.1"."""
    named = [
        f"{printable(name, 40)}: {printable(value, 60)}"
        for name, value in answer.headers
        if name.lower() in ("server", "via", "x-served-by", "cf-ray", "x-powered-by")
    ]
    return ", ".join(named)
