"""Buses that join processes: bytes on named channels, from each process to all that listen. Nothing of rooms or ids.

Floor 1: imports `_base` and `errors`. A bus knows no message, no member and no number: that is `_relay`'s.

* `backplane`: `Backplane`, what a bus must do, and `Sink`, what it tells. Begin here.
* `history`: what a room is to remember, and what a store of it must do.
* `redisarchive`: what rooms remember on Redis and Valkey: the two scripts, and positions.
* `memoryarchive`: what rooms remember where no server does it: in each process.
* `localdirectory`: where the processes of one host find each other: a socket of each, and whose it is.
* `localframes`: the bytes that they write to each other.
* `localpeer`: the way to one of them: what it does not take at once waits, and what is too much is lost and counted.
* `localreader`: what one of them says, and the thread that reads it.
* `localmesh`: all of them, and the thread that minds them; how they find each other, and what is told of losses.
* `localoutlet`: a way out for programs that only publish.
* `local`: `LocalBackplane`: options, and what happens in a fork.
* `ring`: `RingBackplane`: several buses as one, for more messages than one server carries.
* `busarchive`: what the bus for tests remembers.
* `memory`: a bus inside one process, for tests, with a lever for each thing that goes wrong.
* `recorder`: a `Sink` for tests, which keeps what it is told.
* `cases`: the tests that every backplane has to pass.
* `redis`: `RedisBackplane`: Redis or Valkey. What follows is what it is made of.
* `redisurl`: where the server is: URLs, and clients that an application has.
* `rediswire`: one connection to it, with the same behaviour in every version of the clients.
* `redislink`: what the two threads share.
* `redisreader`: what comes: subscribed, watched, connected anew.
* `rediswriter`: what goes: kept until the server has taken it, beats.
* `redisoutlet`: a way out without threads.
* `outbox`: what waits to be sent.
* `subscriptions`: what is wanted, asked for, and acknowledged.
* `watchdog`: whether what goes out comes back.
* `trouble`: what is wrong, for the health and the log.
* `backoff`: delays between attempts to connect.
"""
