# `make demo` and `make test` need Python >= 3.11 with venv, and nothing else: they build .venv themselves.
PYTHON ?= python3
VENV   := .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
# Each of the queues that ours is compared with, in an environment of its own.
PEERS  := taskiq dramatiq huey arq procrastinate
BENCH  := $(PEERS:%=.venv-bench/%/.installed)

# Tools of the lock files, in an environment of their own.
SUPPLY := .venv-supply
PIP    := -m pip --disable-pip-version-check install --quiet

# The tests start hundreds of processes; without bytecode on disk each of them would compile our sources again.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo up test test-fast test-all soak chaos bench bench-quick check format install lock sbom audit clean

help:            ## This list
	@sed -n 's/^\([a-z-]*:\).*## /\1 /p' $(MAKEFILE_LIST)

# What others wrote comes by its hashes; only then ourselves, for whom pip takes none, with what is there by then.
$(STAMP): pyproject.toml locks/dev.txt
	@$(PYTHON) -c 'import sys; sys.exit(0 if sys.version_info >= (3, 11) else "threadsync needs Python 3.11 or newer; this is " + sys.version.split()[0] + ". Set PYTHON=/path/to/python3.11")'
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python $(PIP) --require-hashes --requirement locks/dev.txt
	$(BIN)/python $(PIP) --no-deps --no-build-isolation --editable .
	@$(BIN)/python -m pip --disable-pip-version-check check >/dev/null || { $(BIN)/python -m pip check; echo "Not what pyproject.toml asks for. If that was changed: make lock. If a package of before is left: make clean." >&2; exit 1; }
	@touch $@

install: $(STAMP)  ## Build .venv with everything in it

demo: $(STAMP)   ## Slack requests become rows while a worker is being killed (under a minute)
	$(BIN)/threadsync demo

up: $(STAMP)     ## Everything on this machine: servers, workers, Slack endpoint, console, metrics, Flower
	$(BIN)/threadsync up

# Most tests wait for something most of the time, so seven at once on two cores; each of them has servers of its own. In the
# order of tests/conftest.py: the slow ones are the first.
PYTEST := $(BIN)/python -m pytest

test: $(STAMP)   ## What is promised, with real servers and real kills: five minutes
	$(PYTEST) --ignore tests/long --numprocesses 7 --dist loadfile --no-loadscope-reorder

test-all: $(STAMP)  ## What takes longer and `make test` does not have: every broker, storms, failovers
	THREADSYNC_WHOLE=1 $(PYTEST) -m "long or bounded" --numprocesses 2 --dist loadfile

soak: $(STAMP)   ## The tests of test-all with five times the numbers
	THREADSYNC_SOAK=1 $(PYTEST) tests/long --timeout 1800

test-fast: $(STAMP)  ## What is promised, and the unit tests: under a minute
	$(BIN)/python -m pytest tests/fundamentals tests/unit

chaos: $(STAMP)  ## A thousand sessions through every fault, in virtual time: exactly one ticket each
	$(BIN)/python -m sandbox.chaos

.venv-bench/%/.installed: locks/bench-%.txt
	@test -x .venv-bench/$*/bin/python || $(PYTHON) -m venv .venv-bench/$*
	.venv-bench/$*/bin/python $(PIP) --require-hashes --requirement $<
	@touch $@

bench: $(STAMP) $(BENCH)  ## Beside other task queues, on a quiet machine: at most 90 minutes
	$(BIN)/python -m benchmarks

bench-quick: $(STAMP) $(BENCH)  ## The same in short: under two minutes
	$(BIN)/python -m benchmarks --quick

check: $(STAMP)  ## Lint, format, types, import direction, and the site
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

format: $(STAMP) ## Rewrite the sources in the project's format
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

$(SUPPLY)/.installed: locks/supply.txt
	@test -x $(SUPPLY)/bin/python || $(PYTHON) -m venv $(SUPPLY)
	@$(SUPPLY)/bin/python $(PIP) --require-hashes --requirement $< || { echo "The tools of $< cannot be installed. They come from a package index: is this machine offline?" >&2; exit 1; }
	@touch $@

lock: $(SUPPLY)/.installed  ## Write locks/ and constraints.txt from pyproject.toml; newer versions by UPGRADE=all or UPGRADE="names"
	$(SUPPLY)/bin/python -m supply.lock $(UPGRADE)

sbom: $(SUPPLY)/.installed  ## The image's bill of materials (CycloneDX) in dist/
	$(SUPPLY)/bin/python -m supply.bill

audit: $(SUPPLY)/.installed ## Ask an advisory service about every locked version; it is on the network
	$(SUPPLY)/bin/python -m supply.audit $(AUDIT)

clean:           ## Remove .venv and caches
	rm -rf $(VENV) $(SUPPLY) .venv-bench .pytest_cache .mypy_cache .ruff_cache .hypothesis .import_linter_cache site
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
