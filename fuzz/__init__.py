"""Random inputs for everything that reads a peer's bytes, with oracles: `python -m fuzz`, `make fuzz MINUTES=10`.

A harness for each format makes inputs and says what must be true of each: that syncws gives what another implementation
gives, that it gives the same however the input is cut, that what is written is read again. An exception that may not
escape, an input that takes too long and one that leaves memory behind are findings as well.

* `harness`: what a harness is, a finding, and a named difference from another implementation
* `mutate`: an input changed at random
* `shrink`: a failing input made as short as it goes
* `kept`: inputs in files, `fuzz/corpus`: seeds, and every input that ever failed
* `bounds`: CPU time and memory
* `engine`: the loop
* `harnesses`: all of them by name
* `__main__`: the command line

The harnesses, each after what it is made with:

* `wire`, `readers`, `frames`, `writes`, `accelerator`: streams of frames
* `grammar`: tokens, blanks and lists
* `http`, `requests`, `answers`, `proxies`: heads of HTTP
* `lists`, `cookies`, `origins`: values of headers
* `urls`: of servers and of proxies
* `envelopes`, `buses`: what comes over a bus, and positions in a history
"""
