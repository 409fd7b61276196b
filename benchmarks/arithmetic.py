"""What is full first when there are more nodes, rooms and messages than a machine has: computed from measured costs.

Nobody measured these figures. They say how many messages a second there are when the busiest of the parts has used up
one core (Redis and a process of Python each have one), if the members of each room are spread over the nodes by chance.
"""

from __future__ import annotations

import dataclasses

#: Nodes, and members of a room, that the tables have.
NODES = (1, 10, 100)
MEMBERS = (2, 10, 1000)

#: Servers of Redis that share the rooms, in the tables.
SHARDS = 10

#: Bytes that a message has on the wire beside its own: the envelope, a channel's name, the frames of Redis.
HEAD = 120

#: Bytes a second of a network of 1 Gbit/s, and of the messages in the tables.
NETWORK = 125_000_000
SIZE = 1024


@dataclasses.dataclass(frozen=True)
class Costs:
    """Seconds of processor time.

    Args:
        send: of the node that broadcasts, for a message, without its own members.
        receive: of a node that has members in the room, for a message, without the deliveries.
        ignore: of a node that gets the message and has nobody for it.
        deliver: of a node, for each member that gets it.
        take: of the server of Redis, for a message.
        copy: of the server of Redis, for each node that gets it.
    """

    send: float
    receive: float
    ignore: float
    deliver: float
    take: float
    copy: float


def reached(nodes: int, members: int) -> float:
    """How many nodes have a member of a room, on average."""
    return nodes * (1 - (1 - 1 / nodes) ** members)


def nodes_full(costs: Costs, nodes: int, members: int, *, addressed: bool) -> float:
    """Messages a second, over all rooms, at which the nodes have no processor time left.

    addressed: a node gets what is for its rooms (a channel for each room); else all (one channel for everything).
    """
    others = max(0.0, reached(nodes, members) - 1)  # the sender has a member, as a rule
    ignoring = 0.0 if addressed else nodes - 1 - others
    each = costs.send + others * costs.receive + ignoring * costs.ignore + members * costs.deliver
    return nodes / each


def server_full(costs: Costs, nodes: int, members: int, *, addressed: bool, shards: int = 1) -> float:
    """Messages a second, over all rooms, at which the servers of Redis have no processor time left.

    The node that sends listens as well, and gets its own.
    """
    copies = reached(nodes, members) if addressed else nodes
    return shards / (costs.take + copies * costs.copy)


def network_full(nodes: int, members: int, *, addressed: bool) -> float:
    """Messages a second, over all rooms, at which the network of the server of Redis is full, on its way out."""
    copies = reached(nodes, members) if addressed else nodes
    return NETWORK / (copies * (SIZE + HEAD))


def table(costs: Costs) -> list[list[str]]:
    """Titles and rows: what is full at how many messages a second, over all rooms."""
    rows = [
        [
            "nodes",
            "members of a room",
            "nodes it reaches",
            "nodes full, a channel for each room",
            "nodes full, one channel",
            "one Redis full, a channel for each room",
            "one Redis full, one channel",
            f"{SHARDS} Redis full, by room",
            f"network of one Redis full, {SIZE} B",
            "full first",
        ]
    ]
    for nodes in NODES:
        for members in MEMBERS:
            by_room = nodes_full(costs, nodes, members, addressed=True)
            of_server = server_full(costs, nodes, members, addressed=True)
            of_network = network_full(nodes, members, addressed=True)
            limits = {"the nodes": by_room, "Redis": of_server, "the network": of_network}
            figures = [
                by_room,
                nodes_full(costs, nodes, members, addressed=False),
                of_server,
                server_full(costs, nodes, members, addressed=False),
                server_full(costs, nodes, members, addressed=True, shards=SHARDS),
                of_network,
            ]
            rows.append(
                [
                    f"{nodes}",
                    f"{members:,}",
                    f"{reached(nodes, members):.1f}",
                    *(f"{significant(each):,}/s" for each in figures),
                    min(limits, key=limits.__getitem__),
                ]
            )
    return rows


def significant(value: float) -> int:
    """With two digits: the costs are not known better."""
    return int(float(f"{value:.2g}"))
