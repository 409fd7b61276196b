"""A Manager and its callbacks."""

from __future__ import annotations

from collections.abc import Hashable
from typing import assert_type

import syncws


class Chat:
    def __init__(self) -> None:
        self.manager = syncws.Manager(
            on_open=self.on_open,
            on_message=self.on_message,
            on_close=self.on_close,
            duplicate="many",
            overflow="drop_newest",
            heartbeat=syncws.Heartbeat(timeout=None),
        )

    def on_open(self, member: syncws.Member) -> None:
        member.data["name"] = member.conn.request.query.get("name", "")
        assert_type(member.rooms, frozenset[Hashable])

    def on_message(self, member: syncws.Member, message: str | bytes) -> None:
        assert_type(self.manager.broadcast(message, room="lobby", exclude=[member]), int)
        assert_type(self.manager.broadcast_json({"from": member.data["name"]}), int)
        assert_type(self.manager.send("ann", message, text=True), bool)
        assert_type(member.age, float)
        assert_type(member.send_json(["hello"]), bool)

    def on_close(self, member: syncws.Member, error: BaseException | None) -> None:
        if isinstance(error, syncws.CloseError):
            print(error.code)

    def talk(self, conn: syncws.Conn) -> None:
        self.manager.run(conn, id=conn.request.query.get("user"), rooms=["lobby"], data={"color": "red"})

    def watch(self, conn: syncws.Conn) -> None:
        member = self.manager.register(conn, rooms=["lobby"], send_queue=16)
        assert_type(member, syncws.Member)
        for each in self.manager:
            assert_type(each, syncws.Member)
        assert_type(self.manager.get("ann"), syncws.Member | None)
        assert_type(self.manager.stats().sent, int)
        self.manager.unregister(member)


prepared = syncws.PreparedMessage(syncws.TEXT, "to everybody")

syncws.Manager(on_message=lambda member, message: member.send(message)).broadcast(prepared)
