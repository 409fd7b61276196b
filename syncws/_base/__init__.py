"""What everything else may use, and what uses nothing: options, a wake-up, what a process knows of itself.

Floor 0: every folder may import it; it imports nothing of syncws.

* `copies`: raises an exception that was kept, and lets one go.
* `owners`: whose an option is, told to who gives it to another.
* `options`: what can be set on a connection, and the checks of options that several classes share.
* `callables`: what is given once and called later must do its work when it is called; what a call has given.
* `extras`: what to install for a part that needs a package of its own.
* `version`: the one place where the version is written.
* `green`: whether gevent or eventlet has patched this process.
* `waker`: wakes a loop that waits in select.
* `printable`: what a peer wrote, fit for a log line or an exception.
* `forks`: which process this is, and what begins anew in the child of a fork.
* `tracebacks`: what an exception says in the log begins no line of its own.
* `logs`: the loggers, whose records say which connection they are about.
* `interrupts`: whether an exception in the middle of a read has cost bytes.
* `latelock`: a lock of a module, made at first use.
* `counters`: how often each limit was breached.
* `advice`: warnings that do not repeat themselves.
* `unfinished`: the memory that unfinished messages take, of all connections together.
* `errands`: work that is handed on to a thread of its own.
* `endings`: what is said to others before the process ends.
* `threads`: a thread whose start waits for nobody.
* `worker`: whether this process is one of several workers.
"""
