# Everything a newcomer needs: `make demo` and `make test` set up whatever is missing. Only python3 and make are assumed.
.DEFAULT_GOAL := help
SHELL := /bin/sh
.DELETE_ON_ERROR:

PYTHON  ?= python3
SECONDS ?= 20
KILLS   ?= 4
# More options for one run: DEMO_ARGS="--json", PYTEST_ARGS="-x -k F01", BENCH_ARGS="takeover", LOCK_ARGS=--upgrade
WORKERS ?= 3
SEEDS   ?= 2000
DEMO_ARGS ?=
PYTEST_ARGS ?=
BENCH_ARGS ?=
SIMULATE_ARGS ?=
LOCK_ARGS ?=

UV_RELEASE := 0.13.9
UV    := .tools/bin/uv
PEERS := benchmarks/.venv
PEERS_4 := benchmarks/.venv-apscheduler4
TOOLS := .tools/.uv-$(UV_RELEASE)
BIN   := .venv/bin
DOCS  := .venv-docs/bin
READY := .venv/.ready
DOCS_READY := .venv-docs/.ready
CODE  := $(wildcard src tests benchmarks examples)
COMPILE := $(UV) pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-emit-index-url --no-annotate \
    --custom-compile-command "make lock" $(LOCK_ARGS)
# Without root the tests of what is missing are left out, or fail where CI=true; whoever runs them is told why.
SERVERS := @tests/servers/install.sh --quiet tests model || echo "going on without: the tests that need it do not run, or fail" >&2

# Real processes and servers beside each other on two cores: what fails there must pass alone, or it has failed.
AGAIN := what failed beside others runs again, alone

.PHONY: help setup servers demo test check format bench simulate faults broken model docs wheel names sql lock clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z]+:.*## / { printf "  make %-8s %s\n", $$1, $$2 }' Makefile

setup: $(READY) ## make .venv with every extra, from the locked requirements

servers: ## install what tests and benchmarks need beside Python, with the peers' servers (as root, by apt-get)
	@tests/servers/install.sh

demo: $(READY) ## real instances, one of them hurt KILLS times in SECONDS, then an audit
	$(BIN)/locum demo --seconds $(SECONDS) --kills $(KILLS) $(DEMO_ARGS)

test: $(READY) ## every test with small counts, those that wait side by side
	$(SERVERS)
	@$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal $(PYTEST_ARGS) || { [ $$? -eq 1 ] && echo "$(AGAIN)" && \
	    $(BIN)/python -m pytest --last-failed --last-failed-no-failures none $(PYTEST_ARGS); }

check: $(READY) ## format, lint, types for the oldest and the newest Python, architecture
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check $(CODE)
	$(BIN)/mypy $(CODE)
	$(BIN)/mypy --python-version 3.14 $(CODE)
	$(BIN)/python -m pytest tests/architecture

format: $(READY) ## put the code into the shape that `make check` asks for
	$(BIN)/ruff format $(CODE)
	$(BIN)/ruff check --fix $(CODE)

bench: $(READY) ## the measured figures, and Locum beside others, as JSON and pictures in benchmarks/out/
	@tests/servers/install.sh --quiet bench || echo "going on without: the peers that need it are left out" >&2
	@$(MAKE) --no-print-directory $(PEERS)/.ready $(PEERS_4)/.ready || echo "going on without the peers' libraries" >&2
	$(BIN)/python -m benchmarks $(BENCH_ARGS)

simulate: $(READY) ## SEEDS whole clusters in virtual time, the seeds that ever failed first (SIMULATE_ARGS="--first 5000")
	$(BIN)/python -m locum.testing.simulation --seeds $(SEEDS) --kept tests/simulation/seeds.txt $(SIMULATE_ARGS)

faults: $(READY) ## tests/faults with the full counts; takes long
	$(SERVERS)
	LOCUM_FULL=1 $(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --timeout 1800 $(PYTEST_ARGS) tests/faults tests/conformance/test_pgbouncer.py

broken: $(READY) ## break one rule after another; a test must notice each, and the simulation those that it can see
	$(SERVERS)
	$(BIN)/python -m tests.faults.broken
	$(BIN)/python -m tests.simulation.broken

model: ## check the models of the protocol, whole and with one rule after another taken out (spin, gcc)
	@tests/servers/install.sh --quiet model
	$(PYTHON) tests/model/run.py

docs: $(DOCS_READY) ## build the documentation into build/site, strictly; by Zensical first, from the same file
	$(DOCS)/zensical build --strict --clean
	NO_MKDOCS_2_WARNING=1 PATH="$(CURDIR)/$(DOCS):$$PATH" $(DOCS)/mkdocs build --strict
	@echo "built: build/site/index.html"

wheel: $(READY) ## build the wheel into dist/
	$(BIN)/hatchling build -t wheel -d dist

names: $(READY) ## write down which names are public now (tests/architecture/public_names.txt)
	$(BIN)/python -m tests.architecture.public_names --write

sql: $(READY) ## write down the statements on PostgreSQL as they are composed now (src/locum/stores/sql/postgresql.json)
	$(BIN)/python -m tests.unit.stores.sql.written --write

lock: $(TOOLS) ## work out the locks anew (LOCK_ARGS=--upgrade for newer releases)
	$(COMPILE) --all-extras --group dev -o requirements.lock pyproject.toml
	$(COMPILE) --group bench -o benchmarks/requirements.lock
	$(COMPILE) --prerelease allow --group bench-apscheduler4 -o benchmarks/apscheduler4.lock
	$(COMPILE) --group docs -o requirements-docs.lock

clean: ## remove what was built and cached; .venv, .venv-docs and .tools stay
	rm -rf build dist .cache .mypy_cache .pytest_cache .ruff_cache benchmarks/out
	find $(CODE) -name __pycache__ -type d -prune -exec rm -rf {} +

# An existing environment is kept and brought up to date; only one that cannot run is made again.
# Without build isolation the locked hatchling builds the project, and nothing that has no hash is fetched.
$(READY): pyproject.toml requirements.lock $(TOOLS)
	@$(BIN)/python -c '' 2>/dev/null || $(UV) venv --quiet --clear --no-python-downloads --python "$$(command -v $(PYTHON))" .venv
	$(UV) pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(UV) pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

# The peers that Locum is measured beside stand apart: nothing of theirs is among what the tests see.
$(PEERS)/.ready: benchmarks/requirements.lock $(READY)
	@$(PEERS)/bin/python -c '' 2>/dev/null || $(UV) venv --quiet --clear --no-python-downloads --python $(BIN)/python $(PEERS)
	$(UV) pip sync --quiet --python $(PEERS)/bin/python --require-hashes benchmarks/requirements.lock
	@touch $@

$(PEERS_4)/.ready: benchmarks/apscheduler4.lock $(READY)
	@$(PEERS_4)/bin/python -c '' 2>/dev/null || $(UV) venv --quiet --clear --no-python-downloads --python $(BIN)/python $(PEERS_4)
	$(UV) pip sync --quiet --python $(PEERS_4)/bin/python --require-hashes benchmarks/apscheduler4.lock
	@touch $@

# Nothing of ours is installed there: the reference is read from the source.
$(DOCS_READY): requirements-docs.lock $(TOOLS)
	@$(DOCS)/python -c '' 2>/dev/null || $(UV) venv --quiet --clear --no-python-downloads --python "$$(command -v $(PYTHON))" .venv-docs
	$(UV) pip sync --quiet --python $(DOCS)/python --require-hashes requirements-docs.lock
	@touch $@

# Debian and Ubuntu ship python3 without ensurepip, and then `python3 -m venv` fails. Asking venv itself is the only sure test.
$(TOOLS):
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	    echo "Locum needs Python 3.11 or newer, and '$(PYTHON)' is not; name one: make PYTHON=/path/to/python3.11" >&2; exit 1; }
	@$(PYTHON) -m venv --clear .tools >/dev/null 2>&1 || { \
	    [ "$$(id -u)" = 0 ] && command -v apt-get >/dev/null || { \
	        echo "'$(PYTHON) -m venv' does not work here; install it first (Debian, Ubuntu: apt-get install python3-venv)" >&2; exit 1; }; \
	    echo "installing python3-venv"; \
	    apt-get update -qq && DEBIAN_FRONTEND=noninteractive apt-get install -y -qq python3-venv && $(PYTHON) -m venv --clear .tools; }
	.tools/bin/python -m pip install --quiet --disable-pip-version-check uv==$(UV_RELEASE)
	@touch $@
