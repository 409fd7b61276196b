"""What a real feed sends, made here: JSON whose shape repeats and whose figures move, the same each time."""

from __future__ import annotations

import datetime
import json
import random
from collections.abc import Callable, Iterator
from typing import Any

#: Bytes of the messages that there are.
SIZES = (200, 1024, 16384)

SYMBOLS = ("BTC-EUR", "ETH-EUR", "SOL-EUR", "ADA-EUR", "DOT-EUR", "XRP-EUR", "LTC-EUR", "BCH-EUR")


class Market:
    """Prices that move a little with each step."""

    def __init__(self) -> None:
        self._chance = random.Random(16)
        self._prices = {symbol: self._chance.uniform(10, 40_000) for symbol in SYMBOLS}
        self._sequence = 48_210_000
        self._clock = datetime.datetime(2026, 1, 1, 12)

    def ticker(self) -> dict[str, Any]:
        """The news of one symbol: some 200 bytes."""
        chance = self._chance
        symbol = chance.choice(SYMBOLS)
        price = self._prices[symbol] = self._prices[symbol] * chance.uniform(0.9998, 1.0002)
        self._sequence += chance.randrange(1, 4)
        self._clock += datetime.timedelta(milliseconds=chance.randrange(1, 40))
        return {
            "type": "ticker",
            "sequence": self._sequence,
            "product_id": symbol,
            "price": f"{price:.2f}",
            "best_bid": f"{price - 0.01:.2f}",
            "best_ask": f"{price + 0.01:.2f}",
            "side": chance.choice(("buy", "sell")),
            "last_size": f"{chance.randrange(1, 400) / 100:.2f}",
            "time": self._clock.isoformat(timespec="milliseconds") + "Z",
        }

    def book(self) -> dict[str, Any]:
        """A symbol, and the levels of its order book next to the price: some 1 KiB."""
        chance, ticker = self._chance, self.ticker()
        price = float(ticker["price"])
        levels = [[f"{price + step / 100:.2f}", f"{chance.randrange(1, 9000) / 1000:.3f}"] for step in range(1, 36)]
        return {**ticker, "type": "book", "levels": levels}

    def batch(self) -> dict[str, Any]:
        """Many tickers at once: some 16 KiB."""
        return {"type": "batch", "entries": [self.ticker() for _ in range(76)]}


def messages(size: int, count: int) -> Iterator[str]:
    """So many messages of about so many bytes, of SIZES."""
    market = Market()
    make: Callable[[], dict[str, Any]] = dict(zip(SIZES, (market.ticker, market.book, market.batch), strict=True))[size]
    for _ in range(count):
        yield json.dumps(make())
