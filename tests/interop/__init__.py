"""The library, spoken to by programs that were not written here.

* `cases`: what each client is put through against our server; `clients`: one adapter for each client, all with the same
  few methods; `test_clients`: each of them; `test_page`: a browser on the echo server's page.
* `server_cases`: what our client does with each server; `servers`: one adapter for each; `test_servers`: each of them.
* `takeover`: context takeover in both roles; `terms`: what a side wants of compression; `aiohttps`, `tornados`,
  `javas`: adapters that only these tests use, some with an event loop of `loops`; `test_takeover`: each of them.
* `test_nginx`: nginx in front of our server, with the configuration of docs/deployment.md.
* `test_proxies`: our client through proxies.
* `node/`, `go/`, `java/`: the programs that drive Node's `ws`, a browser (playwright-core) and gorilla/websocket, told
  what to do by `nodes` and `gos`, and Java's own client.

A part that is not installed skips its tests, in one line that says how to get it. SYNCWS_REQUIRE=all makes that a
failure; SYNCWS_HEAVY=0 leaves out everything that is no Python.
"""
