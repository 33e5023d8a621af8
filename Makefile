# Each target sets up what it needs by itself: a machine with Python 3.11+ and make is enough.
PYTHON ?= python3
BIN := .venv/bin
# A process more than cores, four at most: tests wait for other processes more than they compute.
WORKERS := $(shell $(PYTHON) -c 'import os; print(min(4, (os.cpu_count() or 1) + 1))')
PYTEST := $(BIN)/python -m pytest -q -n $(WORKERS)
READY := .venv/.ready

.PHONY: setup foreign demo test test-all torture check bench lock suites states bundle clean
.DEFAULT_GOAL := help

help:
	@echo "make demo      two simulated models over the standard suite; no key, only package registries"
	@echo "make test      the fast tests (under 3 minutes)"
	@echo "make test-all  every test that this machine can run (under 40 minutes)"
	@echo "make torture   every crash test at its full length, 15 minutes on 2 cores; prints the figures reached"
	@echo "make check     format, lint, types, layers"
	@echo "make bench     timings, paired with bare servers of both SDKs and the raw operation"
	@echo "make foreign   the clients and servers of others that test-all holds it against"
	@echo "make bundle    dist/surefoot-VERSION.mcpb, which hosts install by a double click"
	@echo "make setup     .venv alone; also there: make suites, make states, make lock, make clean"

$(READY): requirements/dev.txt pyproject.toml
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# What others wrote and the slow tests hold us against: node 24, clients, conformance, servers.
FOREIGN := .venv/foreign/.ready
CLAUDE_CODE := .venv/foreign/claude-code/.ready

$(FOREIGN): $(addprefix tests/foreign/,requirements.txt package.json package-lock.json .npmrc)
	$(PYTHON) -m venv .venv/foreign
	.venv/foreign/bin/python -m pip install --quiet --disable-pip-version-check --no-deps --require-hashes -r tests/foreign/requirements.txt
	cp $(filter-out %.txt,$^) .venv/foreign/
	cd .venv/foreign && PATH="$$PATH:$$PWD/bin" npm ci
	@touch $@

# Large, and not for every machine: without it, its test says that it is left out.
$(CLAUDE_CODE): $(FOREIGN) $(addprefix tests/foreign/claude-code/,package.json package-lock.json)
	mkdir -p $(@D)
	cp $(filter-out $<,$^) tests/foreign/.npmrc $(@D)/
	cd $(@D) && PATH="$$PATH:$(CURDIR)/.venv/foreign/bin" npm ci && touch .ready || echo "claude-code could not be installed"

foreign: $(READY) $(FOREIGN) $(CLAUDE_CODE)

setup: $(READY)

demo: $(READY)
	@run=runs/demo-$$(date +%Y%m%d-%H%M%S); \
	$(BIN)/surefoot run --model sim:steady --model sim:hasty --seed 7 --out $$run && \
	$(BIN)/surefoot reconcile $$run

test: $(READY)
	$(PYTEST)

test-all: $(READY) foreign
	TORTURE=ci $(PYTEST) -m "not live"

torture: $(READY)
	TORTURE=full $(PYTEST) -rP -m "not live" \
	  tests/crash tests/server/test_answers_model.py tests/server/test_simulated_day.py

check: $(READY)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/basedpyright

bench: $(READY)
	$(BIN)/python bench/bench.py

suites: $(READY)
	$(BIN)/python suites/generate.py

states: $(READY)
	$(BIN)/python -m surefoot_server.journal.diagram > docs/states.md

bundle: $(READY)
	$(BIN)/python packaging/mcpb/build.py

lock: $(READY)
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate pyproject.toml -o requirements/runtime.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --group dev pyproject.toml -o requirements/dev.txt
	$(BIN)/uv pip compile -q --universal --python-version 3.11 --generate-hashes --no-header --no-annotate tests/foreign/requirements.in -o tests/foreign/requirements.txt
	cd tests/foreign && npm install --package-lock-only && cp .npmrc claude-code/ && cd claude-code && npm install --package-lock-only; rm -f .npmrc

clean:
	rm -rf .venv runs dist build
