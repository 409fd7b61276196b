"""The options of every command that is a client: where to, as whom, over which proxy, with which TLS.

    add_dial_options(parser)        the options, in a group of their own
    websocket_url                   the type of the argument that is the URL
    dialer_from(options)            the Dialer that they describe
    headers_from(options)           what `Dialer.dial` gets beside the URL
    cannot_dial(error)              why a dial failed, in one line, in the words of these options

No error here shows a password, a token or the value of a header. The command line itself is no secret: everybody on the
machine sees it in the list of processes, so a header may stand in a file, and a password in the environment.
"""

from __future__ import annotations

import argparse
import base64
import getpass
import os
import re
import ssl
import sys
from pathlib import Path
from typing import Unpack

from .._base.printable import without_controls
from .._client.dialer import Dialer, DialerKeywords
from .._http.headers import Headers, checked_headers
from .._http.url import parse_proxy_url, parse_server_url
from .command import CommandError, load_certificate, seconds

#: Where the password of --user may stand.
PASSWORD_VARIABLE = "SYNCWS_PASSWORD"

#: What people write for ws and wss, as they copied it from a browser.
_SCHEMES = {"http": "ws", "https": "wss"}


#: How an error of the library names what programs give it, and how these options are called.
_OPTIONS = {
    "headers: ": "--header: ",
    "subprotocols of the Dialer is": "--subprotocol is",
    "see enable_compression": "see --compression",
    "(handshake_timeout)": "(--timeout)",
    "proxy=None": "--no-proxy",
    'proxy="http://user:password@host:port"': "--proxy http://user:password@host:port",
}


def add_dial_options(parser: argparse.ArgumentParser) -> None:
    """Add the options. The URL is the command's own argument: its type is `websocket_url`."""
    group = parser.add_argument_group("how to connect")
    group.add_argument(
        "-H",
        "--header",
        metavar="'NAME: VALUE'",
        type=_header,
        action="append",
        default=[],
        help="a header of the handshake; @FILE for those in a file, one a line; may be repeated",
    )
    group.add_argument(
        "--subprotocol", metavar="NAME", action="append", default=[], help="offer it, the preferred first; may repeat"
    )
    group.add_argument("--origin", metavar="URL", help="the page that a browser would come from: https://example.com")
    group.add_argument(
        "--user",
        metavar="NAME[:PASSWORD]",
        help=f"Basic authentication; the password may be in {PASSWORD_VARIABLE}, and is asked for at a terminal",
    )
    group.add_argument(
        "--compression",
        action=argparse.BooleanOptionalAction,
        default=False,
        help="offer permessage-deflate (default: no)",
    )
    group.add_argument(
        "--context-takeover",
        action="store_true",
        help="offer it so that messages may refer back to those before them",
    )
    group.add_argument(
        "--timeout", metavar="SECONDS", type=seconds, default=10.0, help="for connecting (default: %(default)g)"
    )
    way = group.add_mutually_exclusive_group()
    way.add_argument(
        "--proxy",
        metavar="URL",
        type=_proxy,
        help="http, https, socks5 or socks5h (default: http_proxy, https_proxy and no_proxy of the environment)",
    )
    way.add_argument("--no-proxy", action="store_true", help="connect directly, whatever the environment says")
    way.add_argument("--unix", metavar="PATH", help="connect to this Unix socket; the URL tells host and path")
    trust = group.add_mutually_exclusive_group()
    trust.add_argument("--ca", metavar="FILE", help="trust the authorities in this file or directory, in PEM, only")
    trust.add_argument("--insecure", action="store_true", help="check neither the server's certificate nor its name")
    group.add_argument("--cert", metavar="FILE", help="our own certificate, in PEM")
    group.add_argument("--key", metavar="FILE", help="its private key, if it is not in the same file")


def websocket_url(text: str) -> str:
    """A URL as an argument: http and https are taken for ws and wss, and without a scheme it is ws.

    Raises ArgumentTypeError, without credentials and query, for what is no URL.
    """
    scheme, between, rest = text.partition("://")
    if not between:
        scheme, rest = "ws", text
    if rest.startswith((":", "/")):  # ":8080/echo" is what people write for this machine
        rest = f"localhost{rest}"
    url = f"{_SCHEMES.get(scheme.lower(), scheme)}://{rest}"
    try:
        parse_server_url(url)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return url


def dialer_from(options: argparse.Namespace, **more: Unpack[DialerKeywords]) -> Dialer:
    """The Dialer that the options describe; more are options of it that the command sets.

    Raises CommandError for options that cannot work, alone or together.
    """
    given: DialerKeywords = {
        "handshake_timeout": options.timeout,
        "subprotocols": options.subprotocol,
        "enable_compression": options.compression or options.context_takeover,
        "context_takeover": options.context_takeover,
        "ssl_context": _ssl_context(options),
    }
    if options.unix is not None:
        given["unix_path"] = options.unix
    elif options.no_proxy or options.proxy is not None:
        given["proxy"] = options.proxy
    given.update(more)
    try:
        return Dialer(**given)
    except ValueError as error:
        raise CommandError(str(error), 2) from None


def headers_from(options: argparse.Namespace) -> Headers:
    """The headers that the options describe. Raises CommandError for those that cannot be sent."""
    pairs: list[tuple[str, str]] = []
    for each in options.header:
        pairs += each
    own = [("Origin", options.origin, "--origin"), ("Authorization", _authorization(options.user), "--user")]
    try:
        given = checked_headers(pairs)
        for name, value, option in own:
            if value is not None and name in given:
                raise CommandError(f"{option} and --header {name} exclude each other", 2)
        pairs += [(name, value) for name, value, _ in own if value is not None]
        return Dialer(subprotocols=options.subprotocol).check_headers(pairs)
    except ValueError as error:
        raise CommandError(_by_options(str(error)), 2) from None


def cannot_dial(error: Exception) -> str:
    """Why a dial failed, in one line: the error, and what to change, by the names of these options."""
    said = str(error)
    if isinstance(error, OSError) and not isinstance(error, ssl.SSLError) and error.errno:
        said = re.sub(r"^\[Errno -?\d+\] ", "", said)
    notes = list(getattr(error, "__notes__", ()))
    if isinstance(error, ssl.SSLCertVerificationError):
        said = f"the server's certificate is not accepted: {error.verify_message}"
        notes = ["--ca FILE trusts another authority, --insecure checks nothing"]
    advice = "; ".join(notes)
    return without_controls(_by_options(f"{said} ({advice})" if advice else said))


def _by_options(said: str) -> str:
    """An error of the library, which names what programs give it, with the names of these options instead."""
    for name, option in _OPTIONS.items():
        said = said.replace(name, option)
    return said


def _ssl_context(options: argparse.Namespace) -> ssl.SSLContext | None:
    """The context for wss; None for the usual one."""
    if options.key is not None and options.cert is None:
        raise CommandError("--key needs --cert", 2)
    if not (options.insecure or options.ca or options.cert):
        return None
    context = _trusting(options.ca)
    if options.insecure:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if options.cert is not None:
        load_certificate(context, options.cert, options.key, status=2)
    return context


def _trusting(path: str | None) -> ssl.SSLContext:
    if path is None:
        return ssl.create_default_context()
    try:
        if os.path.isdir(path):
            return ssl.create_default_context(capath=path)
        return ssl.create_default_context(cafile=path)
    except OSError as error:
        reason = "it holds no certificate in PEM" if isinstance(error, ssl.SSLError) else error.strerror
        raise CommandError(f"cannot load the authorities of {path}: {reason}", 2) from None


def _authorization(user: str | None) -> str | None:
    if user is None:
        return None
    name, colon, password = user.partition(":")
    if not colon:
        password = os.environ.get(PASSWORD_VARIABLE) or _ask_password(name)
    return f"Basic {base64.b64encode(f'{name}:{password}'.encode()).decode()}"


def _ask_password(name: str) -> str:
    if not sys.stdin.isatty():
        raise CommandError(f"--user has no password: write --user NAME:PASSWORD, or set {PASSWORD_VARIABLE}", 2)
    try:
        return getpass.getpass(f"password of {name}: ")
    except EOFError:
        raise CommandError("no password was given", 2) from None


def _header(text: str) -> list[tuple[str, str]]:
    """The headers of one option: one, or those of a file."""
    if not text.startswith("@"):
        return [_pair(text, "a header")]
    try:
        lines = Path(text[1:]).read_text(encoding="latin-1").splitlines()
    except OSError as error:
        raise argparse.ArgumentTypeError(f"cannot read {text[1:]}: {error.strerror}") from None
    return [_pair(line, f"line {number} of {text[1:]}") for number, line in enumerate(lines, 1) if line.strip()]


def _pair(line: str, what: str) -> tuple[str, str]:
    name, colon, value = line.partition(":")
    try:
        if colon:
            return next(iter(checked_headers([(name, value)])))
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    raise argparse.ArgumentTypeError(f"{what} is 'Name: value', with a colon")  # not shown: it may be a secret


def _proxy(text: str) -> str:
    try:
        parse_proxy_url(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None
    return text
