"""A program that connects to a node, sends as fast as it may, reads what comes, and waits to be killed: see `crowd`."""

from __future__ import annotations

import sys
import time

import syncws


def main() -> None:
    with syncws.dial(sys.argv[1], proxy=None) as conn:
        number = 0
        while True:
            number += 1
            conn.send_json({"t": "m", "n": number, "pad": "a program that is killed"})
            until = time.monotonic() + 0.05
            while (left := until - time.monotonic()) > 0:
                try:
                    conn.receive(left)
                except syncws.ReadTimeout:
                    break


if __name__ == "__main__":
    main()
