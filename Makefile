# make run: a virtual environment, the library in it, and the echo server. make test: the same for the tests, five minutes
# on two idle cores; make test-all: all of them; make test-core: those of what every connection comes by.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
NODE = tests/interop/node
OLD_GUNICORN = tests/hosts/gunicorn23

# Options and names for the runner of the tests: make test TESTFLAGS='--verbose -k origin'; --help shows them.
TESTFLAGS ?=

run: $(VENV)/.installed
	$(BIN)/python examples/echo_server.py $(RUNFLAGS)

test: $(VENV)/.installed-test
	$(BIN)/python -m tests $(TESTFLAGS)

test-all: $(VENV)/.installed-test
	$(BIN)/python -m tests --all $(TESTFLAGS)

# What may differ from one Python to the next.
CORE = tests.base tests.frames tests.http tests.net tests.conn tests.rooms tests.relay tests.client tests.server tests.wsgi \
	tests.test_contract tests.test_errors tests.test_logging tests.test_public

test-core: $(VENV)/.installed-test
	$(BIN)/python -m tests $(CORE) $(TESTFLAGS)

# What threads share, on a Python without the GIL or one for which not everything has a wheel: make threads PYTHON=python3.13t
THREADS = tests.test_free_threading tests.test_raised_once tests.frames.test_prepared tests.frames.test_masking \
	tests.net.test_attendance tests.net.test_drain tests.net.test_tls \
	tests.net.test_transport tests.conn.test_batch tests.conn.test_conn tests.conn.test_courier \
	tests.conn.test_closing tests.conn.test_ending tests.conn.test_inbound tests.conn.test_ledger \
	tests.conn.test_orders tests.conn.test_states tests.conn.test_tally tests.conn.test_wire \
	tests.rooms.test_manager tests.rooms.test_manager_duplicates tests.rooms.test_manager_messages \
	tests.rooms.test_registry tests.rooms.test_settler tests.relay.test_claims tests.relay.test_numbers \
	tests.client.test_dialer tests.client.test_reconnector tests.server.test_connection tests.server.test_roster \
	tests.server.test_server

threads: $(VENV)/.installed-threads
	$(BIN)/python -m tests $(TESTFLAGS) $(THREADS)

lint: $(VENV)/.installed-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy --strict
	$(BIN)/basedpyright --pythonpath $(BIN)/python

# Which lines and branches of syncws the tests reach; pyproject.toml says how many they must. What is left out reaches
# nothing that the others do not: the tests of the examples, the benchmarks, the runner and the texts, and those that speak
# with other programs. In fewer processes than otherwise: tests that are traced work more than they wait.
COVERING = $(CORE) tests.bus tests.cli tests.testing tests.hosts \
	$(addprefix tests.test_, bottle callables celery django falcon flask free_threading limits main opentelemetry \
	prometheus pyramid raised_once redis_protocol wsgi)

coverage: $(VENV)/.installed-dev
	$(BIN)/coverage erase
	$(BIN)/coverage run -m tests -j 5 $(TESTFLAGS) $(COVERING)
	$(BIN)/coverage combine --quiet
	$(BIN)/coverage report

# Next to the peers, all questions; it writes docs/benchmarks.md. BENCHFLAGS='--quick': what it takes to see it work.
bench: $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks $(BENCHFLAGS)

# Hours of chaos in which every message is accounted for: docs/reliability.md. SOAKFLAGS='--hours 24': what else it takes.
SOAKFLAGS ?= --minutes 2

soak: $(VENV)/.installed-test $(VENV)/.installed-bench
	$(BIN)/python -m benchmarks.soak $(SOAKFLAGS)

# The accelerator, built anew in the checkout, as `make` itself does where its source has changed.
accelerator: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable .

# Random inputs for whatever reads a peer's bytes, for so many minutes each format; first for the accelerator, under
# AddressSanitizer and UBSan. FORMATS='frames urls' names some, FUZZFLAGS='--seed 7 --jobs 4' has four at a time.
MINUTES ?= 1
FORMATS ?=
FUZZFLAGS ?=
SANITIZED = build/sanitized

fuzz: fuzz-accelerator
	nice $(BIN)/python -m fuzz $(FORMATS) --minutes $(MINUTES) $(FUZZFLAGS)

fuzz-accelerator: $(VENV)/.installed-test $(SANITIZED)/.built
	nice env LD_PRELOAD="$$($(CC) -print-file-name=libasan.so) $$($(CC) -print-file-name=libubsan.so)" \
		ASAN_OPTIONS=detect_leaks=0:quarantine_size_mb=16 UBSAN_OPTIONS=halt_on_error=1:print_stacktrace=1 PYTHONMALLOC=malloc \
		PYTHONPATH=$(SANITIZED):. $(BIN)/python -P -m fuzz accelerator --minutes $(MINUTES) $(FUZZFLAGS)

$(SANITIZED)/.built: setup.py $(shell find syncws -name '*.py') syncws/_frames/fast.c | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet 'setuptools>=77,<82'
	rm -rf $(SANITIZED)
	CFLAGS="-O1 -g -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer" \
		$(BIN)/python setup.py --quiet build --build-base $(SANITIZED).objects --build-lib $(SANITIZED)
	touch $@

# The site, from docs/ and the docstrings, into build/docs: a warning is an error, a link that leads nowhere on the site too.
docs: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --fresh-env --fail-on-warning --keep-going --quiet --jobs auto -d build/doctrees docs build/docs
	@echo "build/docs/index.html"

# Whether the links that lead elsewhere still do; for this the network is asked.
linkcheck: $(VENV)/.installed-docs
	$(BIN)/python -m sphinx --fresh-env --quiet -b linkcheck -d build/doctrees docs build/linkcheck

# Both sides through the Autobahn|Testsuite: `tests/compliance` says what for; FULL=1 runs every case.
compliance: $(VENV)/.installed-test
	$(BIN)/python -m tests.compliance $(COMPLIANCEFLAGS)

# For the tests that drive Node and a browser; without it, `make test` skips them and says so.
node: $(NODE)/node_modules/.installed

# For the tests inside an older gunicorn, which has an eventlet worker; without it, `make test` skips them and says so.
old-gunicorn: $(OLD_GUNICORN)/.installed

# The tests of RedisBackplane with one version of a client, on one server: make buses CLIENT=valkey-6.2.0 SERVER=valkey. It
# stands beside the one of the virtual environment, and is taken by PYTHONPATH, as an older gunicorn is.
CLIENT ?= redis-5.0.8
SERVER ?= redis
CLIENTS = build/clients

buses: $(VENV)/.installed-test $(CLIENTS)/$(CLIENT)/.installed
	PYTHONPATH=$(CLIENTS)/$(CLIENT):. SYNCWS_SERVER=$(SERVER) SYNCWS_CLIENT=$(firstword $(subst -, ,$(CLIENT))) \
		$(BIN)/python -m tests tests.bus -k redis $(TESTFLAGS)

$(CLIENTS)/%/.installed: | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --upgrade --target $(CLIENTS)/$* $(subst -,==,$*)
	touch $@

$(VENV)/.installed: setup.cfg pyproject.toml setup.py syncws/_frames/fast.c
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[test]'
	touch $@

$(VENV)/.installed-threads: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --only-binary :all: hypothesis numpy websocket-client websockets
	touch $@

$(VENV)/.installed-dev: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $(VENV)/.installed-test $@

$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[docs]'
	touch $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --editable '.[bench]'
	touch $@

$(NODE)/node_modules/.installed: $(NODE)/package.json
	cd $(NODE) && npm install --loglevel=error
	touch $@

# It stands beside the newest one, which the virtual environment has, and is taken by PYTHONPATH.
$(OLD_GUNICORN)/.installed: | $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --upgrade --target $(OLD_GUNICORN) gunicorn==23.0.0
	touch $@

clean:
	rm -rf $(VENV) build dist *.egg-info syncws/_frames/_fast.* $(NODE)/node_modules $(OLD_GUNICORN)

.PHONY: run test test-all test-core threads coverage lint soak bench accelerator fuzz fuzz-accelerator docs linkcheck compliance node old-gunicorn buses clean
