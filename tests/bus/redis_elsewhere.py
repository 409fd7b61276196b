"""A program for a test: a backplane in a process that is unlike others, as its second argument says."""

import itertools
import sys
import threading
import time

from syncws import RedisBackplane


def main(url: str, kind: str) -> None:
    made_before = None
    if kind == "gevent":
        made_before = RedisBackplane(url, beat=1)
        import gevent.monkey

        gevent.monkey.patch_all()
    elif kind == "eventlet":
        import eventlet

        eventlet.monkey_patch()
    elif kind == "descriptors":
        import os
        import resource

        hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        held = [os.open(os.devnull, os.O_RDONLY) for _ in range(1100)]
        assert held[-1] > 1023
    elif kind == "python":
        sys.modules["hiredis"] = sys.modules["libvalkey"] = None  # type: ignore[assignment]

    from syncws._bus.recorder import Recorder
    from syncws.testing import await_

    backplane = made_before or RedisBackplane(url, beat=1)
    told = Recorder()
    ticks = []
    ended = threading.Event()

    def tick() -> None:  # in greenlets: nothing may hold up the others
        while not ended.is_set():
            ticks.append(time.monotonic())
            time.sleep(0.01)

    ticking = threading.Thread(target=tick, daemon=True)
    ticking.start()
    backplane.start(told, "0" * 16)
    assert backplane.subscribe(["a"], 20)
    if kind == "python":
        wire = backplane._running.reader._wire._connection  # type: ignore[union-attr]
        assert "RESP2" in type(wire._parser).__name__, wire._parser
    sent = [b"%d" % i for i in range(300)] + [bytes(500_000)]
    for each in sent:
        assert backplane.publish("a", each)
    assert told.wait(lambda: told.on("a") == sent, 20), len(told.on("a"))
    backplane._running.reader._wire.interrupt()  # type: ignore[union-attr]
    assert told.wait(lambda: told.story == ["up", "down", "up"], 20), (told.story, told.reasons)
    assert backplane.publish("a", b"again")
    assert told.wait(lambda: told.on("a")[-1] == b"again", 20)
    time.sleep(1)  # for the ticks
    assert await_(lambda: backplane.health().lag is not None, 20)  # a heartbeat tells it
    outlet = backplane.outlet()
    outlet.send([("a", b"outlet")], 20)
    outlet.close()
    assert told.wait(lambda: told.on("a")[-1] == b"outlet", 20)
    backplane.close(5)
    ended.set()
    ticking.join()
    pauses = [b - a for a, b in itertools.pairwise(ticks)]
    assert len(ticks) > 30, len(ticks)
    print(f"longest pause {max(pauses):.3f} s")
    left = [each.name for each in threading.enumerate() if "redis" in each.name]
    assert not left, left
    print("well")


if __name__ == "__main__":
    main(*sys.argv[1:])
