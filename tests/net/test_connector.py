"""How a client reaches an address: names, happy eyeballs, Unix sockets; one deadline over it, and a stop at any time.

Listeners, connects and signals are real. Only the resolver is not: what it answers, and when, is the test's to say.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import select
import selectors
import signal
import socket
import sys
import tempfile
import threading
import time
import unittest
from collections.abc import Callable, Iterator
from typing import Any
from unittest import mock

from syncws._net import connector
from syncws._net.attempt import Attempt, Stopped
from syncws._net.connector import connect_tcp, connect_unix
from syncws.testing import LeakChecks
from tests.partners import need
from tests.tasks import PATIENCE, Task

NAME = "server.test"  # RFC 6761 section 6.2: nobody has it, so only the test's resolver can know it

#: Far longer than any test: what waits for this long has waited where it should not.
LONG = 1e9


def listening(host: str = "127.0.0.1") -> socket.socket:
    return socket.create_server((host, 0), family=_family(host))


def refusing(host: str = "127.0.0.1") -> socket.socket:
    """A port that is taken, and on which nobody listens."""
    sock = socket.socket(_family(host))
    sock.bind((host, 0))
    return sock


@contextlib.contextmanager
def swallowing() -> Iterator[socket.socket]:
    """A listener with a full backlog: the system ignores who wants to connect, as a dead address does."""
    with socket.create_server(("127.0.0.1", 0), backlog=0) as listener, contextlib.ExitStack() as waiting:
        while True:
            sock = waiting.enter_context(socket.socket())
            sock.setblocking(False)
            sock.connect_ex(listener.getsockname())
            if not select.select([], [sock], [], 0.1)[1]:
                sock.close()  # else it would take the next place
                break
        yield listener


@contextlib.contextmanager
def resolving(*listeners: Any) -> Iterator[None]:
    """NAME has the addresses of these sockets, in this order; a tuple stands for itself."""
    found = [each if isinstance(each, tuple) else _info(each) for each in listeners]
    with answering(lambda: found):
        yield


@contextlib.contextmanager
def answering(answer: Callable[[], Any]) -> Iterator[None]:
    """NAME is looked up by a call."""

    real = socket.getaddrinfo

    def getaddrinfo(host: str, port: int, *, flags: int = 0, **keywords: Any) -> Any:
        if flags & socket.AI_NUMERICHOST:
            return real(host, port, flags=flags, **keywords)
        assert host == NAME
        return answer()

    with mock.patch("socket.getaddrinfo", getaddrinfo):
        yield


def _info(sock: socket.socket) -> tuple[Any, ...]:
    return sock.family, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", sock.getsockname()


def _family(host: str) -> socket.AddressFamily:
    return socket.AF_INET6 if ":" in host else socket.AF_INET


def need_ipv6() -> None:
    try:
        listening("::1").close()
    except OSError:
        need(False, "this machine has no ::1")


class Watched(Attempt):
    """Tells how often the clock was looked at, and no stop was seen: from the last look on only a wake can tell."""

    def __init__(self) -> None:
        super().__init__(None)
        self._looks = 0
        self._changed = threading.Condition()

    def remaining(self, doing: str) -> float | None:
        left = super().remaining(doing)
        with self._changed:
            self._looks += 1
            self._changed.notify_all()
        return left

    def looked(self, times: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: self._looks >= times, PATIENCE)


class Connects:
    """Notes which addresses are connected to, in order; `reached` waits for so many of them."""

    def __init__(self, first: Callable[[], object]) -> None:
        self.seen: list[Any] = []
        self._first = first
        self._changed = threading.Condition()

    def note(self, address: Any) -> None:
        if not self.seen:
            self._first()
        with self._changed:
            self.seen.append(address)
            self._changed.notify_all()

    def reached(self, count: int) -> bool:
        with self._changed:
            return self._changed.wait_for(lambda: len(self.seen) >= count, PATIENCE)


@contextlib.contextmanager
def noting(first: Callable[[], object] = lambda: None) -> Iterator[Connects]:
    """Real sockets that tell when they connect; first is called when the first one does."""
    connects = Connects(first)

    class Noting(socket.socket):
        def connect_ex(self, address: Any) -> int:
            number = super().connect_ex(address)
            connects.note(address)
            return number

        def connect(self, address: Any) -> None:
            connects.note(address)
            super().connect(address)

    with mock.patch("socket.socket", Noting):
        yield connects


def delay(seconds: float) -> Any:
    """Another Connection Attempt Delay."""
    return mock.patch.object(connector, "CONNECTION_ATTEMPT_DELAY", seconds)


@contextlib.contextmanager
def default_timeout(seconds: float) -> Iterator[None]:
    """A program may have set one; it is not for our sockets."""
    socket.setdefaulttimeout(seconds)
    try:
        yield
    finally:
        socket.setdefaulttimeout(None)


@contextlib.contextmanager
def handling(number: int, handler: Any) -> Iterator[None]:
    """A signal handler, for the main thread, which runs the tests."""
    before = signal.signal(number, handler)
    try:
        yield
    finally:
        signal.signal(number, before)


class ConnectorTestCase(LeakChecks):
    def assert_connected(self, sock: socket.socket, listener: socket.socket) -> None:
        """A plain blocking socket, connected to this listener; both its ends are closed."""
        with sock, listener.accept()[0] as accepted:
            self.assertIsNone(sock.gettimeout())
            self.assertTrue(sock.getblocking())
            self.assertFalse(sock.get_inheritable())
            accepted.settimeout(PATIENCE)
            sock.sendall(b"hi")
            self.assertEqual(accepted.recv(9), b"hi")

    def assert_times_out(self, step: str, call: Callable[..., Any], *arguments: Any, seconds: float = 0.2) -> None:
        """The call takes no longer than its attempt's limit; the error names the step and the limit."""
        with self.assertRaisesRegex(TimeoutError, rf"^{re.escape(step)}(?!\w).*\b{seconds:g} s\b") as caught:
            call(*arguments, Attempt(seconds))
        self.assertNotIn("\n", str(caught.exception))

    def assert_stops(self, looks: int, call: Callable[..., Any], *arguments: Any) -> None:
        """stop() ends the call while it waits, which it does after so many looks at the clock."""
        attempt = Watched()
        dialing = Task(call, *arguments, attempt)
        self.assertTrue(attempt.looked(looks))
        attempt.stop()
        self.assertIsInstance(dialing.error(), Stopped)

    def assert_interruptible(self, waiting: Callable[[], bool], call: Callable[..., Any], *arguments: Any) -> None:
        """Ctrl-C ends the call while it waits."""

        def interrupt() -> None:
            self.assertTrue(waiting())
            signal.pthread_kill(threading.main_thread().ident, signal.SIGINT)

        with handling(signal.SIGINT, signal.default_int_handler):
            interrupting = Task(interrupt)
            with self.assertRaises(KeyboardInterrupt):
                call(*arguments, Attempt(PATIENCE))
            interrupting.result()


class LookupTests(ConnectorTestCase):
    def test_an_address(self) -> None:
        """An address is looked up in the caller's thread, and asks nobody."""
        calls: list[tuple[int, int]] = []
        real = socket.getaddrinfo

        def getaddrinfo(*arguments: Any, flags: int = 0, **keywords: Any) -> Any:
            calls.append((threading.get_ident(), flags & socket.AI_NUMERICHOST))
            return real(*arguments, flags=flags, **keywords)

        with listening() as listener, mock.patch("socket.getaddrinfo", getaddrinfo):
            self.assert_connected(connect_tcp(*listener.getsockname(), Attempt(PATIENCE)), listener)
        self.assertEqual(calls, [(threading.get_ident(), socket.AI_NUMERICHOST)])

    def test_an_ipv6_address(self) -> None:
        """An IPv6 address is given without brackets."""
        need_ipv6()
        with listening("::1") as listener:
            self.assert_connected(connect_tcp("::1", listener.getsockname()[1], Attempt(PATIENCE)), listener)

    def test_a_zone(self) -> None:
        """The zone of a link-local address is understood: it reaches the connect."""
        need_ipv6()
        need("lo" in {name for _, name in socket.if_nameindex()}, "this machine calls its loopback interface otherwise")
        with noting() as connects, contextlib.suppress(TimeoutError), self.assertRaises(OSError) as caught:
            connect_tcp("fe80::1%lo", 9, Attempt(0.2))
        self.assertNotIsInstance(caught.exception, socket.gaierror)
        self.assertEqual([address[3] for address in connects.seen], [socket.if_nametoindex("lo")])

    def test_localhost(self) -> None:
        """The system's own resolver knows localhost, which is tried until an address answers."""
        with listening() as listener:
            self.assert_connected(connect_tcp("localhost", listener.getsockname()[1], Attempt(PATIENCE)), listener)

    def test_no_limit_is_too_long(self) -> None:
        """A limit of a hundred years, which no call of the system takes, is a limit like any other."""
        with listening() as listener, resolving(listener):
            for host in (NAME, "127.0.0.1"):
                for timeout in (None, 1e9, 1e300):
                    sock = connect_tcp(host, listener.getsockname()[1], Attempt(timeout))
                    self.assert_connected(sock, listener)

    def test_an_unknown_name(self) -> None:
        """The resolver's error leaves with its number, and with the host in its text and in a note."""

        def answer() -> None:
            raise socket.gaierror(socket.EAI_AGAIN, "Temporary failure in name resolution")

        with answering(answer), self.assertRaises(socket.gaierror) as caught:
            connect_tcp(NAME, 80, Attempt(PATIENCE))
        self.assertEqual(caught.exception.errno, socket.EAI_AGAIN)
        self.assertEqual(caught.exception.strerror, f"Temporary failure in name resolution (looking up {NAME})")
        self.assertEqual(len(caught.exception.__notes__), 1)
        self.assertIn(repr(NAME), caught.exception.__notes__[0])

    def test_what_cannot_be_a_name(self) -> None:
        """An empty label, and one that is too long (RFC 1035 section 2.3.4), are unknown names too."""
        for host in ("a..b", "a" * 64 + ".test", ".test"):
            with self.subTest(host), self.assertRaises(socket.gaierror) as caught:
                connect_tcp(host, 80, Attempt(PATIENCE))
            self.assertEqual(caught.exception.errno, socket.EAI_NONAME)
            self.assertIn(repr(host), caught.exception.__notes__[0])

    def test_a_name_without_addresses(self) -> None:
        """An answer without an address is an unknown name."""
        with resolving(), self.assertRaises(socket.gaierror) as caught:
            connect_tcp(NAME, 80, Attempt(PATIENCE))
        self.assertEqual(caught.exception.errno, socket.EAI_NONAME)

    def test_a_family_that_the_machine_does_not_speak(self) -> None:
        """Such an address is one more that failed: the others are tried, and where there is none it is the error."""
        need_ipv6()

        class Old(socket.socket):
            def __init__(self, family: int = -1, *arguments: Any, **keywords: Any) -> None:
                if family == socket.AF_INET6:
                    raise OSError(errno.EAFNOSUPPORT, "Address family not supported by protocol")
                super().__init__(family, *arguments, **keywords)

        with listening("::1") as new, listening() as old, mock.patch.object(connector.socket, "socket", Old):
            with resolving(new, old), connect_tcp(NAME, 1, Attempt(PATIENCE)) as sock:
                self.assertEqual(sock.getpeername(), old.getsockname())
            with resolving(new), self.assertRaises(OSError) as caught:
                connect_tcp(NAME, 1, Attempt(PATIENCE))
        self.assertEqual(caught.exception.errno, errno.EAFNOSUPPORT)

    def test_another_error(self) -> None:
        """What else goes wrong in the lookup's thread is raised where it is waited for."""

        raised = OSError(errno.EMFILE, "Too many open files")

        def answer() -> None:
            raise raised

        with answering(answer), self.assertRaises(OSError) as caught:
            connect_tcp(NAME, 80, Attempt(PATIENCE))
        self.assertEqual(caught.exception.errno, errno.EMFILE)
        self.assertIsNot(caught.exception, raised)  # which another thread has raised

    def test_a_slow_lookup_reaches_the_deadline(self) -> None:
        """A lookup does not hold its caller: at the deadline that one goes on, and the answer is for nobody."""
        with self._slow() as release, noting() as connects:
            self.assert_times_out(f"looking up {NAME}", connect_tcp, NAME, 80)
            self.assertEqual([thread.name for thread in self._left_threads()], ["syncws-lookup"])
            self.assertTrue(all(thread.daemon for thread in self._left_threads()))
            release.set()
            for thread in self._left_threads():
                thread.join(PATIENCE)
        self.assertEqual(connects.seen, [])

    def test_a_lookup_that_ends_with_the_deadline(self) -> None:
        """An answer that comes as the deadline passes is too late, one step or the other; nothing is connected."""
        with listening() as listener:
            for _ in range(10):
                attempt = Attempt(0.02)
                until = attempt.deadline

                def answer(until: float = until) -> Any:
                    threading.Event().wait(until - time.monotonic())
                    return [_info(listener)]

                with answering(answer), self.assertRaisesRegex(TimeoutError, "looking up|connecting to"):
                    connect_tcp(NAME, 80, attempt)

    def test_a_slow_lookup_is_stopped(self) -> None:
        """stop() ends the wait for a lookup."""
        with self._slow() as release:
            self.assert_stops(2, connect_tcp, NAME, 80)  # before it begins, and before it waits
            release.set()

    def test_a_slow_lookup_is_interrupted(self) -> None:
        """Ctrl-C ends the wait for a lookup."""
        with self._slow() as release:
            self.assert_interruptible(lambda: self._looking_up.wait(PATIENCE), connect_tcp, NAME, 80)
            release.set()

    @contextlib.contextmanager
    def _slow(self) -> Iterator[threading.Event]:
        """A resolver that answers when it may."""
        release, self._looking_up = threading.Event(), threading.Event()

        def answer() -> Any:
            self._looking_up.set()
            release.wait()
            return [(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("127.0.0.1", 9))]

        with answering(answer):
            try:
                yield release
            finally:
                release.set()
                for thread in self._left_threads():
                    thread.join(PATIENCE)  # while the resolver is still this one

    def test_not_begun(self) -> None:
        """An attempt that is over, or was stopped, asks no resolver."""
        stopped = Attempt(None)
        stopped.stop()
        asked: list[int] = []
        for attempt, error in ((stopped, Stopped), (Attempt(1e-9), TimeoutError)):
            with answering(lambda: asked.append(1)):
                self.assertRaises(error, connect_tcp, NAME, 80, attempt)
                self.assertEqual(self._left_threads(), [])
        self.assertEqual(asked, [])

    def test_no_thread(self) -> None:
        """Where no thread can be had the caller's own looks up."""
        refusal = mock.patch("threading.Thread.start", side_effect=RuntimeError("can't start new thread"))
        with listening() as listener, resolving(listener):
            with refusal:
                sock = connect_tcp(NAME, 80, Attempt(PATIENCE))
            self.assert_connected(sock, listener)


class RaceTests(ConnectorTestCase):
    def test_a_default_timeout(self) -> None:
        """The socket blocks, whatever default the program has set for its sockets."""
        with listening() as listener, default_timeout(5):
            sock = connect_tcp(*listener.getsockname(), Attempt(PATIENCE))
            self.assert_connected(sock, listener)

    def test_families_take_turns(self) -> None:
        """The families alternate, that of the first address first; the order of each stays, and nothing comes twice."""
        need_ipv6()
        with refusing("::1") as a6, refusing("::1") as b6, refusing("::1") as c6, refusing() as a4, refusing() as b4:
            for found, expected in (
                ((a6, b6, a6, c6, a4, b4), (a6, a4, b6, b4, c6)),
                ((a4, b4, a6, a4), (a4, a6, b4)),
                ((b4, a4), (b4, a4)),
            ):
                with resolving(*found), noting() as connects, self.assertRaises(ConnectionRefusedError):
                    connect_tcp(NAME, 80, Attempt(PATIENCE))
                self.assertEqual(connects.seen, [sock.getsockname() for sock in expected])

    def test_a_refusal_is_followed_at_once(self) -> None:
        """When an address fails the next one is tried without a delay."""
        with refusing() as first, refusing() as second, listening() as third:
            with resolving(first, second, third), delay(LONG), noting() as connects:
                sock = connect_tcp(NAME, 80, Attempt(PATIENCE))
            self.assertEqual(connects.seen, [each.getsockname() for each in (first, second, third)])
            self.assert_connected(sock, third)

    def test_a_refusal_beside_a_dead_address(self) -> None:
        """So it is while an earlier address is still under way."""

        def no_more_by_the_clock() -> None:
            connector.CONNECTION_ATTEMPT_DELAY = LONG

        with swallowing() as dead, refusing() as nobody, listening() as alive, resolving(dead, nobody, alive):
            with delay(0), noting(no_more_by_the_clock):
                sock = connect_tcp(NAME, 80, Attempt(PATIENCE))
            self.assert_connected(sock, alive)

    def test_what_fails_before_it_begins_is_followed_at_once(self) -> None:
        """So it is after a kind of socket that the system does not have, and after an address without a route."""
        unsupported = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_UDP, "", ("127.0.0.1", 9))
        unreachable = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("255.255.255.255", 9))
        with listening() as listener, resolving(unsupported, unreachable, listener), delay(LONG):
            self.assert_connected(connect_tcp(NAME, 80, Attempt(PATIENCE)), listener)

    def test_a_dead_address_delays_little(self) -> None:
        """While an address does not answer the next is tried beside it, and what has not won is closed."""
        with swallowing() as dead, listening() as alive, resolving(dead, alive), noting() as connects:
            sock = connect_tcp(NAME, 80, Attempt(PATIENCE))
            self.assertEqual(connects.seen, [dead.getsockname(), alive.getsockname()])
            self.assert_connected(sock, alive)

    def test_the_delay(self) -> None:
        """As long as the delay lasts, and nothing fails, only one address is tried: until the deadline, if need be."""
        with swallowing() as dead, listening() as alive, resolving(dead, alive), noting() as connects, delay(LONG):
            self.assert_times_out(f"connecting to {NAME} port 80", connect_tcp, NAME, 80)
            self.assertEqual(connects.seen, [dead.getsockname()])

    def test_an_earlier_one_may_still_win(self) -> None:
        """An address that answers after the next one was tried is as good."""
        with swallowing() as slow, swallowing() as dead, resolving(slow, dead), noting() as connects, delay(0):
            dialing = Task(connect_tcp, NAME, 80, Attempt(PATIENCE))
            self.assertTrue(connects.reached(2))
            slow.accept()[0].close()  # a place for it, which it takes when it asks again, in a second
            self.assert_connected(dialing.result(), slow)

    def test_one_wins(self) -> None:
        """Of two that answer at the same time one is taken, and the other closed without a byte."""
        with listening() as first, listening() as second, resolving(first, second), delay(0), noting() as connects:
            sock = connect_tcp(NAME, 80, Attempt(PATIENCE))
            self.assertEqual(len(connects.seen), 2)
            winner, loser = (first, second) if sock.getpeername() == first.getsockname() else (second, first)
            with loser.accept()[0] as accepted, contextlib.suppress(ConnectionResetError):
                accepted.settimeout(PATIENCE)
                self.assertEqual(accepted.recv(9), b"")
            self.assert_connected(sock, winner)

    def test_one_failure(self) -> None:
        """A refusal is a ConnectionRefusedError that names host and port."""
        with refusing() as nobody:
            port = nobody.getsockname()[1]
            with self.assertRaises(ConnectionRefusedError) as caught:
                connect_tcp("127.0.0.1", port, Attempt(PATIENCE))
        self.assertEqual(caught.exception.errno, errno.ECONNREFUSED)
        self.assertIn(f"127.0.0.1 port {port}", str(caught.exception))

    def test_all_fail(self) -> None:
        """The error is the first address's, and tells of every address what went wrong; in one line."""
        unreachable = (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, "", ("255.255.255.255", 9))
        with refusing() as nobody:
            for found in ((nobody, unreachable), (unreachable, nobody)):
                with resolving(*found), self.assertRaises(OSError) as caught:
                    connect_tcp(NAME, 80, Attempt(PATIENCE))
                text = str(caught.exception)
                self.assertEqual(isinstance(caught.exception, ConnectionRefusedError), found[0] is nobody)
                self.assertIn(f"127.0.0.1: {os.strerror(errno.ECONNREFUSED)}", text)
                self.assertIn("255.255.255.255: ", text)
                self.assertIn(f"{NAME} port 80", text)
                self.assertNotIn("\n", text)

    def test_connected_to_itself(self) -> None:
        """A socket that TCP has connected to itself, by the system's choice of a port, is a refusal."""

        class Unlucky(socket.socket):
            def connect_ex(self, address: Any) -> int:
                self.bind(address)
                return super().connect_ex(address)

        with refusing() as nobody:
            address = nobody.getsockname()
        with mock.patch("socket.socket", Unlucky), self.assertRaises(ConnectionRefusedError):
            connect_tcp(*address, Attempt(PATIENCE))

    def test_what_never_began(self) -> None:
        """A connect that says EAGAIN (Linux, out of ports) has not begun, and is a failure, not a connection."""

        class Exhausted(socket.socket):
            def connect_ex(self, address: Any) -> int:
                return errno.EAGAIN

        with listening() as listener, mock.patch("socket.socket", Exhausted), self.assertRaises(OSError) as caught:
            connect_tcp(*listener.getsockname(), Attempt(PATIENCE))
        self.assertIn("port", str(caught.exception))

    def test_stopped(self) -> None:
        """stop() ends the wait for an answer, be one address under way or two."""
        for dead_ones in (1, 2):
            with swallowing() as first, swallowing() as second, delay(0):
                with resolving(*(first, second)[:dead_ones]):
                    self.assert_stops(2 + dead_ones + 1, connect_tcp, NAME, 80)  # lookup, each start, and the wait

    def test_interrupted_as_it_begins(self) -> None:
        """Ctrl-C while a connect begins leaves no socket open."""
        made: list[socket.socket] = []

        class Interrupted(socket.socket):
            def connect_ex(self, address: Any) -> int:
                made.append(self)
                raise KeyboardInterrupt

        with listening() as listener, mock.patch("socket.socket", Interrupted), self.assertRaises(KeyboardInterrupt):
            connect_tcp(*listener.getsockname(), Attempt(PATIENCE))
        self.assertEqual([sock.fileno() for sock in made], [-1])

    def test_interrupted(self) -> None:
        """Ctrl-C ends the wait for an answer."""
        with swallowing() as dead, noting() as connects:
            self.assert_interruptible(lambda: connects.reached(1), connect_tcp, *dead.getsockname())

    def test_the_deadline(self) -> None:
        """The deadline ends the wait for an answer; the error names host and port."""
        with swallowing() as dead:
            host, port = dead.getsockname()
            self.assert_times_out(f"connecting to {host} port {port}", connect_tcp, host, port)

    def test_out_of_descriptors(self) -> None:
        """However many descriptors there are, too few are an OSError, and none of them is lost."""
        tried = 0
        with listening() as listener:
            for spare in range(20):
                with descriptors(spare) as count_spare:
                    try:
                        sock = connect_tcp(*listener.getsockname(), Attempt(PATIENCE))
                    except OSError as error:
                        self.assertEqual(error.errno, errno.EMFILE)
                    else:
                        sock.close()
                        break
                    finally:
                        left = count_spare()
                self.assertEqual(left, spare)
                tried += 1
        self.assertTrue(1 < tried < 19, tried)

    def test_out_of_descriptors_half_way(self) -> None:
        """A lack of descriptors is an error at once, also while an address is under way."""
        taken: list[int] = []
        with swallowing() as dead, listening() as alive, resolving(dead, alive), delay(0), descriptors(20):
            try:
                with noting(lambda: _take_all(taken)), self.assertRaises(OSError) as caught:
                    connect_tcp(NAME, 80, Attempt(PATIENCE))
            finally:
                for number in taken:
                    os.close(number)
        self.assertEqual(caught.exception.errno, errno.EMFILE)

    def test_what_cannot_be_waited_for(self) -> None:
        """Where the system watches no more sockets (epoll_ctl(2), ENOSPC) that is an error, and none stays open."""

        class Limited(selectors.DefaultSelector):
            def register(self, fileobj: Any, events: int, data: Any = None) -> Any:
                if events == selectors.EVENT_WRITE:
                    raise OSError(errno.ENOSPC, "No space left on device")
                return super().register(fileobj, events, data)

        with listening() as listener, mock.patch("selectors.DefaultSelector", Limited):
            with self.assertRaises(OSError) as caught:
                connect_tcp(*listener.getsockname(), Attempt(PATIENCE))
        self.assertEqual(caught.exception.errno, errno.ENOSPC)


@contextlib.contextmanager
def descriptors(spare: int) -> Iterator[Callable[[], int]]:
    """This process can open so many more; gives a call that counts them."""
    import resource  # which Windows does not have

    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    taken: list[int] = []
    resource.setrlimit(resource.RLIMIT_NOFILE, (256, limits[1]))
    try:
        _take_all(taken)
        for _ in range(spare):
            os.close(taken.pop())
        yield lambda: _take_all(taken)
    finally:
        for number in taken:
            os.close(number)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def _take_all(taken: list[int]) -> int:
    """Open what can be opened; how many that were."""
    before = len(taken)
    with contextlib.suppress(OSError):
        while True:
            taken.append(os.open(os.devnull, os.O_RDONLY))
    return len(taken) - before


@unittest.skipUnless(hasattr(socket, "AF_UNIX"), "this system has no Unix sockets")
class UnixTests(ConnectorTestCase):
    def setUp(self) -> None:
        super().setUp()
        directory = tempfile.TemporaryDirectory()
        self.addCleanup(directory.cleanup)
        self.path = os.path.join(directory.name, "s")

    @contextlib.contextmanager
    def listening(self, path: str | None = None, backlog: int = 5) -> Iterator[socket.socket]:
        with socket.socket(socket.AF_UNIX) as listener:
            listener.bind(self.path if path is None else path)
            listener.listen(backlog)
            yield listener

    @contextlib.contextmanager
    def full(self) -> Iterator[socket.socket]:
        """A listener with a full backlog."""
        need(sys.platform == "linux", "only Linux waits for a place in the backlog of a Unix socket; others refuse")
        with self.listening(backlog=0) as listener, contextlib.ExitStack() as waiting:
            number = 0
            while number == 0:
                sock = waiting.enter_context(socket.socket(socket.AF_UNIX))
                sock.setblocking(False)
                number = sock.connect_ex(self.path)
            self.assertEqual(number, errno.EAGAIN)
            yield listener

    def test_connected(self) -> None:
        """A path leads to its listener; the socket blocks, and has no timeout of the kernel's left."""
        with self.listening() as listener, default_timeout(5):
            sock = connect_unix(self.path, Attempt(PATIENCE))
            self.assertEqual(sock.getsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, 16).strip(b"\0"), b"")
            self.assert_connected(sock, listener)

    def test_an_abstract_name(self) -> None:
        """A name that begins with NUL is one of Linux's, without a file; an error can tell it in print."""
        need(sys.platform == "linux", "only Linux has abstract names")
        name = f"\0syncws-{os.getpid()}-test"
        with self.listening(name) as listener:
            self.assert_connected(connect_unix(name, Attempt(PATIENCE)), listener)
        with self.assertRaisesRegex(ConnectionRefusedError, r"'\\x00syncws"):
            connect_unix(name, Attempt(PATIENCE))

    def test_nobody_there(self) -> None:
        """No file, and a file nobody listens on, are the system's errors, with the path."""
        with self.assertRaises(FileNotFoundError) as caught:
            connect_unix(self.path, Attempt(PATIENCE))
        self.assertIn(self.path, str(caught.exception))
        with self.listening():
            pass
        with self.assertRaises(ConnectionRefusedError) as refused:
            connect_unix(self.path, Attempt(PATIENCE))
        self.assertIn(self.path, str(refused.exception))

    def test_a_path_that_is_too_long(self) -> None:
        """The system's limit of a path's length is an OSError whose text says so and whose note has the path."""
        path = self.path + "x" * 200
        with self.assertRaisesRegex(OSError, "too long") as caught:
            connect_unix(path, Attempt(PATIENCE))
        self.assertIn(path, caught.exception.__notes__[0])

    def test_no_unix_sockets(self) -> None:
        """Where Python has no Unix sockets the error says so."""
        family = socket.AF_UNIX
        self.addCleanup(setattr, socket, "AF_UNIX", family)
        del socket.AF_UNIX
        with self.assertRaisesRegex(OSError, "Unix sockets") as caught:
            connect_unix(self.path, Attempt(PATIENCE))
        self.assertEqual(caught.exception.errno, errno.EAFNOSUPPORT)

    def test_over_before_it_began(self) -> None:
        """An attempt that is over, or was stopped, connects to nothing."""
        stopped = Attempt(None)
        stopped.stop()
        with self.listening(), noting() as connects:
            self.assertRaises(Stopped, connect_unix, self.path, stopped)
            self.assertRaises(TimeoutError, connect_unix, self.path, Attempt(1e-9))
        self.assertEqual(connects.seen, [])

    def test_a_full_backlog_is_waited_for(self) -> None:
        """The connection is made as soon as the listener has a place for it."""
        with self.full() as listener, noting() as connects:
            for timeout in (PATIENCE, None):
                dialing = Task(connect_unix, self.path, Attempt(timeout))
                self.assertTrue(connects.reached(2))  # it has waited for a whole slice
                listener.accept()[0].close()
                with dialing.result() as sock:
                    self.assertEqual(sock.getpeername(), self.path)
                connects.seen.clear()

    def test_the_deadline(self) -> None:
        """The deadline ends the wait for a place, which is no busy one, whatever the program's default timeout."""
        with self.full(), noting() as connects, default_timeout(5):
            self.assert_times_out(f"connecting to the Unix socket {self.path!r}", self._connect)
        self.assertLess(len(connects.seen), 20)

    def _connect(self, attempt: Attempt) -> socket.socket:
        return connect_unix(self.path, attempt)

    def test_stopped(self) -> None:
        """stop() ends the wait for a place."""
        with self.full():
            self.assert_stops(2, connect_unix, self.path)

    def test_interrupted(self) -> None:
        """Ctrl-C ends the wait for a place."""
        with self.full(), noting() as connects:
            self.assert_interruptible(lambda: connects.reached(1), connect_unix, self.path)

    def test_a_signal_is_no_connection(self) -> None:
        """A signal in the middle of the wait, whose handler returns, changes nothing: it goes on."""
        handled: list[int] = []
        with self.full() as listener, handling(signal.SIGUSR1, lambda *_: handled.append(1)):

            def disturb() -> None:
                until = time.monotonic() + PATIENCE
                while len(handled) < 20 and time.monotonic() < until:
                    signal.pthread_kill(threading.main_thread().ident, signal.SIGUSR1)
                listener.accept()[0].close()

            disturbing = Task(disturb)
            try:
                with connect_unix(self.path, Attempt(PATIENCE)) as sock:
                    self.assertEqual(sock.getpeername(), self.path)
            finally:
                disturbing.result()


if __name__ == "__main__":
    unittest.main()
