"""The counters, for Prometheus: a collector for prometheus_client, which ``pip install "syncws[prometheus]"`` brings.

    from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

    server = syncws.Server(handler, "127.0.0.1", 8080)
    REGISTRY.register(syncws.prometheus.Collector(server, manager))

    def handler(request):
        if request.path == "/metrics":
            return syncws.Response(generate_latest(), headers=[("Content-Type", CONTENT_TYPE_LATEST)])
        ...

docs/metrics.md has every name, and what to do with several processes.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from ._base.counters import breaches
from ._base.extras import needs
from ._base.printable import printable_repr
from ._base.version import __version__
from ._conn.stats import BUCKETS, CLOSERS, CODES, REFUSALS, RoundTrips, Traffic
from ._net.address import say_peer
from ._relay.health import BackplaneHealth
from ._rooms.manager import Manager
from ._rooms.stats import ManagerStats
from ._server.server import Server
from ._server.stats import ServerStats
from ._wsgi.guests import guests
from ._wsgi.stats import WsgiStats

with needs("prometheus_client", "prometheus"):
    from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
    from prometheus_client.registry import Collector as CollectorBase

__all__ = ["Collector"]

Source = Server | Manager

#: The classes of statuses that are told before the first.
_STATUSES = ("2xx", "3xx", "4xx", "5xx")

#: What a `Server` and WSGI hosting are called, in the label of what they share, and what the latter is called in it.
_SERVER, _WSGI = "server", "wsgi"


@dataclass(frozen=True)
class _Kind:
    """A metric: its name, what it tells, and how it is read from a record.

    kind is Prometheus's. label: the name of one more label, for a dict of numbers; known: its values that are told from
    the beginning, so that the first of a kind is an increase.
    """

    kind: str
    name: str
    help: str
    read: Callable[[Any], Any]
    label: str | None = None
    known: tuple[str, ...] = ()

    def family(self, label: str | None) -> Any:
        """A family of this metric, without samples yet."""
        names = [each for each in (label, self.label) if each is not None]
        make = {
            "counter": CounterMetricFamily,
            "gauge": GaugeMetricFamily,
            "histogram": HistogramMetricFamily,
        }[self.kind]
        return make(f"syncws_{self.name}", self.help, labels=names)

    def add(self, family: Any, labels: list[str], record: object) -> None:
        """Add the samples of one record. What is None there has none."""
        value = self.read(record)
        if value is None:
            return
        if isinstance(value, RoundTrips):
            family.add_metric(labels, _buckets(value), value.total)
        elif isinstance(value, dict):
            for key, number in {**dict.fromkeys(self.known, 0), **value}.items():
                family.add_metric([*labels, key], number)
        else:
            family.add_metric(labels, value)


def _buckets(trips: RoundTrips) -> list[tuple[str, float]]:
    counts = trips.buckets or (0,) * len(BUCKETS)
    return [*((str(bound), float(count)) for bound, count in zip(BUCKETS, counts, strict=True)), ("+Inf", trips.count)]


def _kinds(kind: str, *metrics: tuple[Any, ...]) -> tuple[_Kind, ...]:
    return tuple(_Kind(kind, *each) for each in metrics)


#: Of WebSockets, by server: `Traffic`.
_TRAFFIC = (
    *_kinds(
        "gauge",
        ("connections_open", "WebSocket connections that are open.", lambda of: of.open),
        ("connections_ending", "WebSocket connections that are over and not yet let go of.", lambda of: of.ending),
        ("send_queue_messages", "Messages that wait for slow peers.", lambda of: of.queued_messages),
        ("send_queue_bytes", "Bytes that wait for slow peers.", lambda of: of.queued_bytes),
    ),
    *_kinds(
        "counter",
        ("connections_opened", "WebSocket connections that were opened.", lambda of: of.opened),
        ("connections_closed", "WebSocket connections that ended, by close code.", lambda of: of.closed, "code", CODES),
        ("closes", "The same, by who closed first.", lambda of: of.closed_by, "by", CLOSERS),
        ("refusals", "Handshakes and connections refused, by reason.", lambda of: of.refused, "reason", REFUSALS),
        ("messages_received", "Messages that have come.", lambda of: of.messages_in),
        ("messages_sent", "Messages that have left.", lambda of: of.messages_out),
        ("messages_dropped", "Messages dropped from send queues.", lambda of: of.dropped),
        ("received_bytes", "Bytes that have come, as the kernel counts them.", lambda of: of.bytes_in),
        ("sent_bytes", "Bytes that have left, as the kernel counts them.", lambda of: of.bytes_out),
        ("pings_sent", "Pings that were sent.", lambda of: of.pings),
        ("pongs_received", "Pongs that have come.", lambda of: of.pongs),
    ),
    *_kinds(
        "histogram",
        ("ping_round_trip_seconds", "Seconds from a ping to its pong.", lambda of: of.round_trips),
    ),
)

#: Of a `Server` alone: `ServerStats`.
_SERVERS = (
    *_kinds(
        "gauge",
        ("server_connections", "Connections of any kind, plain HTTP included.", lambda of: of.connections),
        ("server_handlers", "Requests that are being handled, those of WebSockets included.", lambda of: of.handlers),
    ),
    *_kinds(
        "counter",
        (
            *("http_requests", "HTTP requests that were answered and did not become a WebSocket."),
            *(lambda of: of.requests, "status", _STATUSES),
        ),
    ),
)

#: Of WSGI hosting alone: `WsgiStats`.
_GUESTS = _kinds(
    "gauge",
    ("wsgi_detached", "Connections taken away from their WSGI server.", lambda of: of.detached, "software"),
    ("wsgi_borrowed", "Connections that hold a thread of it.", lambda of: of.borrowed, "software"),
)

#: Of a `Manager`: `ManagerStats`.
_MANAGERS = (
    *_kinds(
        "gauge",
        ("manager_members", "Members.", lambda of: of.members),
        ("manager_rooms", "Rooms that somebody is in.", lambda of: of.rooms),
        ("manager_queue_messages", "Messages that wait for slow members.", lambda of: of.queued_messages),
        ("manager_queue_bytes", "Bytes that wait for slow members.", lambda of: of.queued_bytes),
    ),
    *_kinds(
        "counter",
        ("manager_members_opened", "Members that came.", lambda of: of.opened),
        ("manager_members_closed", "Members that went.", lambda of: of.closed),
        ("manager_members_kicked", "Members that the manager closed.", lambda of: of.kicked),
        ("manager_joins", "Joins of rooms.", lambda of: of.joins),
        ("manager_broadcasts", "Calls of broadcast.", lambda of: of.broadcasts),
        ("manager_deliveries", "Messages that members took, each once per member.", lambda of: of.sent),
        ("manager_messages_dropped", "Messages that members lost from full queues.", lambda of: of.dropped),
    ),
)

#: Of a `Manager` that has a backplane: `BackplaneHealth`.
_BACKPLANES = (
    *_kinds(
        "gauge",
        ("backplane_up", "Whether the bus is connected: 1 or 0.", lambda of: int(of.up)),
        ("backplane_nodes", "Processes that are alive, this one included.", lambda of: of.nodes),
        ("backplane_lag_seconds", "Seconds from sending to reading, as last measured.", lambda of: of.lag),
        (
            *("backplane_last_proof_timestamp_seconds", "When the bus was last known to work, since the epoch."),
            lambda of: of.last_proof,
        ),
        ("backplane_queue_messages", "Messages that the bus has not taken yet.", lambda of: of.queued_messages),
        ("backplane_queue_bytes", "Bytes that the bus has not taken yet.", lambda of: of.queued_bytes),
    ),
    *_kinds(
        "counter",
        ("backplane_published", "Messages that the bus has taken.", lambda of: of.published),
        ("backplane_received", "Messages of other processes that came.", lambda of: of.received),
        ("backplane_duplicates", "Copies that were dropped.", lambda of: of.duplicates),
        ("backplane_gaps", "Losses that were found.", lambda of: of.gaps),
        ("backplane_messages_missed", "Messages in those losses, as far as known.", lambda of: of.missed),
        ("backplane_messages_dropped", "Messages that were not sent.", lambda of: of.dropped_out),
        ("backplane_bad", "What came and could not be read.", lambda of: of.bad + of.foreign),
        ("backplane_reconnects", "Connections to the bus that were made again.", lambda of: of.reconnects),
    ),
)

#: Of the process.
_PROCESS = (
    *_kinds("gauge", ("build_info", "1, with the version of syncws.", lambda of: {__version__: 1}, "version")),
    *_kinds("counter", ("limit_breaches", "Breaches of limits, by the option.", lambda of: dict(of), "limit")),
)


class Collector(CollectorBase):
    """Tells prometheus_client what servers, managers, WSGI hosting and this process have counted.

    Register it: ``prometheus_client.REGISTRY.register(Collector(server, manager))``. It keeps nothing of its own: each
    scrape asks. It costs a call of the system for each open connection, and no message anything.

    Each process has its own: a registry that is asked in one worker knows nothing of the others, and the multiprocess
    mode of prometheus_client leaves custom collectors out. docs/metrics.md says what to do there.

    Args:
        sources: each a `Server`, a `Manager`, or a dict of these by their names, for the labels ``server`` and
            ``manager``. A server without one has its address there, a manager its own name, or its number here.
        wsgi: whether to tell of WebSockets inside another WSGI server: with ``server="wsgi"``.

    Raises TypeError for another source, ValueError where two have one name.

    Concurrency: immutable, for any number of threads.
    """

    def __init__(self, *sources: Source | Mapping[str, Source], wsgi: bool = True) -> None:
        self._servers: dict[str, Server] = {}
        self._managers: dict[str, Manager] = {}
        self._wsgi = bool(wsgi)
        for source in sources:
            if isinstance(source, Mapping):
                for name, named in source.items():
                    self._enter(named, name)
            else:
                self._enter(source, None)

    def _enter(self, source: Source, name: str | None) -> None:
        if isinstance(source, Server):
            self._put(self._servers, name or say_peer(source.address), source, taken=_WSGI if self._wsgi else None)
        elif isinstance(source, Manager):
            self._put(self._managers, name or source._name or str(len(self._managers) + 1), source)
        else:
            told = printable_repr(source)
            raise TypeError(f"a source is a Server, a Manager, or a dict of these by name, not {told}")

    def _put(self, named: dict[str, Any], name: str, source: Source, taken: str | None = None) -> None:
        if not isinstance(name, str):
            raise TypeError(f"a source is named by a str, not {printable_repr(name)}")
        if name in named or name == taken:
            raise ValueError(f"two sources are named {name!r}: name them, Collector({{'one': ..., 'other': ...}})")
        named[name] = source

    def describe(self) -> Iterable[Metric]:
        """The metrics, without samples: registering it asks nobody."""
        return self._families({}, {}, None, {}, {})

    def collect(self) -> Iterable[Metric]:
        """The metrics as of now; never raises."""
        servers = {name: server.stats() for name, server in self._servers.items()}
        hosted = guests().stats() if self._wsgi else None
        managers = {name: manager.stats() for name, manager in self._managers.items()}
        health = {name: manager.backplane_health() for name, manager in self._managers.items()}
        buses = {name: each for name, each in health.items() if each is not None}
        return self._families(servers, managers, hosted, buses, {None: breaches.snapshot()})

    def _families(
        self,
        servers: dict[str, ServerStats],
        managers: dict[str, ManagerStats],
        hosted: WsgiStats | None,
        buses: dict[str, BackplaneHealth],
        process: Mapping[None, dict[str, int]],
    ) -> Iterator[Metric]:
        traffic: dict[str, Traffic] = {**servers} if hosted is None else {**servers, _WSGI: hosted}
        yield from _families(_TRAFFIC, _SERVER, traffic)
        yield from _families(_SERVERS, _SERVER, servers)
        yield from _families(_GUESTS, None, {} if hosted is None else {None: hosted})
        yield from _families(_MANAGERS, "manager", managers)
        yield from _families(_BACKPLANES, "manager", buses)
        yield from _families(_PROCESS, None, process)


def _families(
    kinds: Iterable[_Kind], label: str | None, records: Mapping[str, object] | Mapping[None, object]
) -> Iterator[Metric]:
    """The families of some metrics, with a sample of each record; label is where the names of the records stand."""
    for kind in kinds:
        family = kind.family(label)
        for name, record in records.items():
            kind.add(family, [] if name is None else [name], record)
        yield family
