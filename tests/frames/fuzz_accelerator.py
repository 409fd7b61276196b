"""Random frames through the accelerator and through its twins, as many as there is time for.

    python -m tests.frames.fuzz_accelerator --frames 100_000_000     # about ten minutes
    make fuzz                                                        # under AddressSanitizer and UBSan

Streams of many frames, most of them valid, every third one changed at random, are read by `Protocol`, which has the
accelerator, and by `PureProtocol`, in both roles, in one piece or in several: events, errors and what is left must be
the same. After each stream as many frames are written, and as many payloads masked. A frame counts once it has gone
through both. The first difference ends the program with the stream, and the seed that makes it again.
"""

from __future__ import annotations

import argparse
import os
import socket
import sys
import time
from random import Random, SystemRandom
from typing import Any

from syncws._frames import accelerator, masking
from syncws._frames.frame import FIN, MASKED
from syncws._frames.frame import encode as pure_encode
from syncws._frames.protocol import Protocol, PureProtocol
from syncws.errors import ProtocolError
from tests.frames.twins import bad_frames, mutated, random_frames

#: Frames of one stream. What comes after a fault is not read, and not counted.
FRAMES = 400

#: Frames to draw from, of each role; made anew after so many streams.
POOL, STREAMS = 2000, 500


def read(protocol: Any, chunks: list[bytes]) -> list[Any]:
    """The events of a stream, how it fails, and what is left after each chunk."""
    found: list[Any] = []
    add, next_event = found.append, protocol.next_event
    try:
        for chunk in chunks:
            if protocol.idle and (event := protocol.only(chunk)) is not None:
                add(event)
                continue
            protocol.receive(chunk)
            while (event := next_event()) is not None:
                add(event)
            add((protocol.unread, protocol.idle))
    except ProtocolError as error:
        add((type(error), error.code, error.reason))
    return found


class Fuzz:
    """One run; how many frames went through both."""

    def __init__(self, seed: int) -> None:
        self.random = Random(seed)
        self.frames = 0
        self.streams = 0
        self.pools: dict[bool, list[bytes]] = {}
        self.here, self.there = socket.socketpair()

    def stream(self) -> None:
        """One stream through both."""
        rng = self.random
        client = rng.random() < 0.5
        if self.streams % STREAMS == 0:
            for each in (False, True):
                good = random_frames(rng, each, POOL)
                self.pools[each] = [data for data in good if reads_alone(data, each)]
        self.streams += 1
        frames = rng.choices(self.pools[client], k=FRAMES)
        if rng.random() < 0.3:
            frames[rng.randrange(FRAMES)] = rng.choice(list(bad_frames(rng, client)))
        data = b"".join(frames)
        if rng.random() < 0.3:
            data = mutated(rng, data)
        places = sorted(rng.randrange(len(data)) for _ in range(rng.choice((0, 0, 1, 3))))
        chunks = [data[i:j] for i, j in zip((0, *places), (*places, len(data)), strict=True) if i < j]
        options: dict[str, Any] = {"client": client, "read_limit": rng.choice((None, 1 << 20)), "compression": False}
        fast, pure = read(Protocol(**options), chunks), read(PureProtocol(**options), chunks)
        if fast != pure:
            raise AssertionError(f"they differ: client={client}, {[chunk.hex() for chunk in chunks]}")
        self.frames += len(fast) - len(chunks)

    def others(self) -> None:
        """What writes, masks and receives: a frame of each."""
        rng = self.random
        payload = rng.randbytes(rng.choice((rng.randrange(700), rng.randrange(1 << 16))))
        key, first, offset = rng.randbytes(4), rng.randrange(256), rng.randrange(9)
        assert accelerator.encode(first, payload, False) == pure_encode(first, payload, False)
        head, body = accelerator.encode(first, payload, True)
        frame = head + body
        start = len(frame) - len(payload)
        assert masking.unmask(frame, start, len(frame)) == payload == accelerator.unmask(frame, start, len(frame))
        masked = masking.mask(payload, key, offset)
        assert accelerator.mask(memoryview(payload), key, offset) == masked
        buffer = bytearray(payload)
        accelerator.mask_into(buffer, 0, len(buffer), key, offset)
        assert buffer == masked
        if accelerator.receive is not None and accelerator.send is not None:
            data = rng.choice(self.pools[False])
            if rng.random() < 0.3:
                data = mutated(rng, data)
            data, size = data[:60_000], rng.choice((448, 1792, 65550))
            self.there.sendall(data)
            came = accelerator.receive(self.here.fileno(), size, MASKED, None)
            pure = PureProtocol(client=False, read_limit=None, compression=False)
            expected = pure.only(data) if len(data) < size else None
            assert came == (data[:size] if expected is None else expected), data.hex()
            while len(data) > size:
                data = data[size:]
                self.here.recv(size)
            sent = accelerator.send(self.here.fileno(), socket.MSG_DONTWAIT, FIN | 2, payload, rng.random() < 0.5)
            self.there.recv(1 << 20)
            assert isinstance(sent, int) or sent[0] < len(sent[1]) + len(sent[2])
            self.frames += 1
        self.frames += 1


def reads_alone(data: bytes, client: bool) -> bool:
    """Whether a frame between two messages breaks no rule and leaves none open: a stream does not end with it."""
    found = read(PureProtocol(client=client, read_limit=None, compression=False), [data + data])
    return len(found) == 3


def main() -> int:
    parser = argparse.ArgumentParser(description="Random frames through the accelerator and its twins.")
    parser.add_argument("--frames", type=int, default=1_000_000, help="end after so many (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=600.0, help="end after so long (default: %(default)s)")
    parser.add_argument("--seed", type=int, default=SystemRandom().getrandbits(32), help="of an earlier run")
    options = parser.parse_args()
    if not accelerator.accelerated:
        print("the accelerator is not there")
        return 1
    fuzz, began = Fuzz(options.seed), time.monotonic()
    print(f"seed {options.seed}, {accelerator._fast.__file__}, process {os.getpid()}", flush=True)
    while fuzz.frames < options.frames and time.monotonic() - began < options.seconds:
        fuzz.stream()
        fuzz.others()
    seconds = time.monotonic() - began
    print(f"{fuzz.frames:,} frames in {fuzz.streams:,} streams, {seconds:.0f} s: no difference")
    return 0


if __name__ == "__main__":
    sys.exit(main())
