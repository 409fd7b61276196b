"""What a load came to, for people and for programs: `as_text`, `as_json`; docs/bench.md describes the fields."""

from __future__ import annotations

import platform
from collections.abc import Iterator
from typing import Any

from ..._base.printable import printable
from ..._base.version import __version__
from ..._http.url import parse_server_url
from .plan import Plan
from .recorder import Recorder
from .tally import Tally

#: The version of the fields; one that goes away or changes its meaning makes it another.
_FORMAT = 1

_PERCENTILES = {"p50": 0.5, "p90": 0.9, "p99": 0.99, "p99.9": 0.999}

#: From this share of its time on, a generator that computes may be what holds the load up.
_FULL = 0.9

#: A generator that neither computed nor waited for this share of the time was kept waiting for a core by others.
_HELD_UP = 0.2

#: Of a rate: what is late by more than this was held up by the generator, or its machine.
_LATE = 0.005


def as_json(plan: Plan, tally: Tally, interrupted: bool) -> dict[str, Any]:
    """All of it, as JSON can hold it. Times are in seconds."""
    return {
        "format": _FORMAT,
        "syncws": __version__,
        "python": platform.python_version(),
        "url": str(parse_server_url(plan.url)),  # without credentials and query, where secrets are
        "loop": "none" if plan.receive_only else "closed" if plan.rate is None else "open",
        "rate": plan.rate,
        "inflight": plan.inflight if plan.rate is None and not plan.receive_only else None,
        "sizes": {"least": min(plan.sizes), "most": max(plan.sizes), "mean": sum(plan.sizes) / len(plan.sizes)},
        "type": "binary" if plan.binary else "text",
        "warmup": plan.warmup,
        "duration": tally.seconds,
        "interrupted": interrupted,
        "connections": {
            "wanted": plan.connections,
            "opened": tally.opened,
            "failed": dict(tally.failures),
            "lost": tally.lost,
            "closes": {str(code): count for code, count in sorted(tally.closes.items())},
            "errors": dict(tally.errors),
            "opening": {"seconds": tally.opening_seconds, **_durations(tally.opening)},
        },
        "messages": {
            "sent": tally.sent,
            "received": tally.received,
            "per_second": _per_second(tally.received, tally),
            "unlike": tally.unlike,
            "unasked": tally.unasked,
            "unanswered": tally.unanswered,
        },
        "bytes": {
            "sent": tally.bytes_sent,
            "received": tally.bytes_received,
            "sent_per_second": _per_second(tally.bytes_sent, tally),
            "received_per_second": _per_second(tally.bytes_received, tally),
        },
        "latency": _durations(tally.latency),
        "late": _durations(tally.late),
        "generator": {
            "processes": [{"cpu": each.cpu, "waiting": each.waiting} for each in tally.busy],
            "limit": _limit(tally),
        },
    }


def as_text(plan: Plan, tally: Tally, interrupted: bool) -> str:
    """A dozen lines."""
    return "\n".join(_lines(plan, tally, interrupted))


def _lines(plan: Plan, tally: Tally, interrupted: bool) -> Iterator[str]:
    yield f"{_say_plan(plan)}, at {parse_server_url(plan.url)}"
    if interrupted:
        yield f"interrupted after {tally.seconds:.1f} s"
    took = f" ({_time(tally.opening.percentile(0.5))} each)" if tally.opened else ""
    yield f"  connections  {tally.opened:,} opened in {tally.opening_seconds:.2f} s{took}"
    if tally.seconds:
        rate = _per_second(tally.received, tally)
        yield f"  messages     {rate:,.0f} /s: {tally.received:,} received in {tally.seconds:.1f} s"
        sent, received = (_per_second(each, tally) / 1e6 for each in (tally.bytes_sent, tally.bytes_received))
        yield f"  bytes        {sent:,.1f} MB/s sent, {received:,.1f} MB/s received"
    for name, recorder in (("latency", tally.latency), ("sent late", tally.late)):
        if recorder.counts:
            shares = [f"{each} {_time(recorder.percentile(share))}" for each, share in _PERCENTILES.items()]
            yield f"  {name:<12} {'   '.join(shares)}   max {_time(recorder.longest)}"
    if tally.busy:
        shares = [f"{each.cpu:.0%}" for each in tally.busy]
        yield f"  generator    busy {', '.join(shares)} of a core"
    yield from (f"  not opened   {count:,}: {printable(why)}" for why, count in tally.failures.most_common())
    yield from (f"  closed       {count:,} with {code}" for code, count in tally.closes.most_common())
    yield from (f"  broken       {count:,}: {printable(why)}" for why, count in tally.errors.most_common())
    yield from _notes(plan, tally)


def _say_plan(plan: Plan) -> str:
    if plan.receive_only:
        shape = "receiving only"
    else:
        least, most = min(plan.sizes), max(plan.sizes)
        size = f"{least:,}" if least == most else f"{least:,} to {most:,}"
        kind = "BINARY" if plan.binary else "TEXT"
        if plan.rate is not None:
            shape = f"{plan.rate:,g} messages/s of {size} bytes, {kind}"
        else:
            shape = f"{plan.inflight} in flight on each, {size} bytes, {kind}"
    processes = f", {plan.processes} processes" if plan.processes > 1 else ""
    return f"{plan.connections:,} connection{'s'[: plan.connections > 1]}, {shape}{processes}"


def _notes(plan: Plan, tally: Tally) -> Iterator[str]:
    """What the figures alone do not say."""
    if limit := _limit(tally):
        busiest = max(each.cpu for each in tally.busy)
        if limit == "generator":
            yield (
                f"This generator was busy {busiest:.0%} of a core: the server may be able to do more. Give it more "
                "cores with --processes, or another machine."
            )
        else:
            yield (
                f"This generator got {busiest:.0%} of a core and was kept waiting for more: the server, or another "
                "program, used its core meanwhile. Give each a core of its own to compare servers."
            )
    if tally.late.percentile(0.99) > _LATE:
        yield (
            "One message in a hundred was sent more than "
            f"{_time(tally.late.percentile(0.99))} late. Latency counts from when each was due, so this is in it."
        )
    if tally.unlike:
        yield f"{tally.unlike:,} answers were not what was sent: is this an echo?"
    if tally.unasked:
        yield f"{tally.unasked:,} messages came unasked; they are not counted."
    if tally.unanswered:
        yield f"{tally.unanswered:,} messages were never answered. They count in the latency with the time they waited."


def _limit(tally: Tally) -> str | None:
    """What held the load up, if it was not the server: "generator", "machine", or None."""
    if any(each.cpu >= _FULL for each in tally.busy):
        return "generator"
    if any(1 - each.cpu - each.waiting > _HELD_UP for each in tally.busy):
        return "machine"
    return None


def _per_second(number: int, tally: Tally) -> float:
    return number / tally.seconds if tally.seconds else 0.0


def _durations(recorder: Recorder) -> dict[str, float]:
    shares = {name: recorder.percentile(share) for name, share in _PERCENTILES.items()}
    return {"count": len(recorder), "mean": recorder.mean, **shares, "max": recorder.longest}


def _time(seconds: float) -> str:
    """Three digits, in the unit that fits."""
    value, unit = seconds * 1e6, "µs"
    for larger in ("ms", "s"):
        if value >= 1000:
            value, unit = value / 1000, larger
    digits = 0 if value >= 99.95 else 1 if value >= 9.995 else 2
    return f"{value:.{digits}f} {unit}"
