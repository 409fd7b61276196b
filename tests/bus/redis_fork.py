"""A program for a test: a backplane that is used, a fork, and both processes use theirs."""

import os
import sys
import threading
import traceback

from syncws import RedisBackplane
from syncws._bus.recorder import Recorder


def use(backplane: RedisBackplane, told: Recorder, who: str) -> None:
    assert backplane.subscribe([f"only {who}"], 20)
    for i in range(200):
        assert backplane.publish("a", f"{who} {i}".encode())
        assert backplane.publish(f"only {who}", b"%d" % i)
    assert told.wait(lambda: len(told.on(f"only {who}")) == 200, 20), told.story
    assert told.on(f"only {who}") == [b"%d" % i for i in range(200)]
    assert told.story == ["up"], told.story


def main() -> None:
    backplane = RedisBackplane(sys.argv[1], beat=5)
    told = Recorder()
    backplane.start(told, "0" * 16)
    assert backplane.subscribe(["before"], 20)
    before = set(os.listdir("/proc/self/fd")) if os.path.exists("/proc/self/fd") else set()
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            assert threading.active_count() == 1
            assert not backplane.publish("a", b"x") and not backplane.health().up
            left = {each for each in before if os.path.exists(f"/proc/self/fd/{each}")}
            sockets = [each for each in left if "socket" in os.readlink(f"/proc/self/fd/{each}")]
            assert not sockets, sockets
            told = Recorder()
            backplane.start(told, "1" * 16)
            use(backplane, told, "child")
            backplane.close(5)
            assert threading.active_count() == 1
            status = 0
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(status)
    use(backplane, told, "parent")
    assert os.waitpid(pid, 0)[1] == 0
    backplane.close(5)
    assert threading.active_count() == 1
    print("well")


if __name__ == "__main__":
    main()
