"""The server, spoken to by clients that were not written here.

* `cases`: what each client is put through, once for all of them, and the server they talk to.
* `clients`: one adapter for each client, all with the same few methods.
* `test_clients`: each client, put through it; `test_page`: a browser on the echo server's page.
* `node/`: the programs that drive Node's `ws` and a browser (playwright-core), told what to do by `nodes`.

A part that is not installed skips its tests, in one line that says how to get it. SYNCWS_REQUIRE=all makes that a
failure; SYNCWS_HEAVY=0 leaves out Node and the browser.
"""
