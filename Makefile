# make demo     start the example marketplace and use it as the world would (ONCE=1: end after the report)
# make test     everything that has to hold: format, lint, types, import contracts, tests, documentation
# make bench    what the kit costs, beside other packages, within one run (JSON=1: machine-readable)
# make redaction-score   how many secrets are hidden of how many kinds, and what else is
# make pythons  the tests on every other Python from 3.11 on that is installed here
# make format   write the format that `make test` checks
# make docs     write the pages that are generated

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
INSTALL = $(BIN)/python -m pip install --disable-pip-version-check -c constraints.txt
CHECKED := src tests examples benchmarks tools

# Tests of what needs nothing but the standard library, whose version is the same, and of pages.
STANDARD_LIBRARY := $(patsubst %,--ignore-glob='*%*',tests/edge tests/pipeline tests/docs tests/rate_limit tests/timing cache_[!f] schemes redaction_c redaction_d redaction_e redaction_h redaction_l \
	redaction_pe redaction_pr redaction_sc redaction_se[!n] redaction_st redaction_te[!l])

# What tests write goes with them: where the machine has room in memory, they need not wait for its disk.
MEMORY := $(shell test -w /dev/shm && test $$(df -k --output=avail /dev/shm | tail -1) -gt 4000000 && echo TMPDIR=/dev/shm)

# About half of what the tests compute.
HALF := tests/check tests/kit tests/redaction tests/webhooks

.PHONY: demo test lint types contracts pytest quick rest servers lowest pythons bench redaction-score format docs clean

demo: $(VENV)/demo
	@ONCE=$(ONCE) $(BIN)/python examples/demo.py

test: lint types contracts
	@$(MAKE) -j4 --output-sync=target --no-print-directory quick rest servers lowest
	@$(BIN)/coverage combine -q .coverage.quick .coverage.rest .coverage.servers
	$(BIN)/coverage report

lint: $(VENV)/dev
	$(BIN)/ruff format --check $(CHECKED)
	$(BIN)/ruff check $(CHECKED)

types: $(VENV)/dev
	$(BIN)/mypy
	$(BIN)/basedpyright

contracts: $(VENV)/dev
	$(BIN)/lint-imports

pytest: $(VENV)/dev
	$(BIN)/python -m pytest --cov --cov-report=term $(ARGS)

# The same in parts, which `make test` runs side by side: two compute, and the one that mostly waits goes first.
COMPUTE = nice $(BIN)/python -m pytest -m "not real_server" --cov --cov-report= --cov-fail-under=0

quick: $(VENV)/dev
	$(MEMORY) COVERAGE_FILE=.coverage.quick $(COMPUTE) $(HALF)

rest: $(VENV)/dev
	$(MEMORY) COVERAGE_FILE=.coverage.rest $(COMPUTE) $(HALF:%=--ignore=%)

servers: $(VENV)/dev
	$(MEMORY) COVERAGE_FILE=.coverage.servers $(BIN)/python -m pytest -m real_server --cov --cov-report= --cov-fail-under=0

lowest: $(VENV)-lowest/dev
	$(MEMORY) nice $(VENV)-lowest/bin/python -m pytest -q -m "not real_server" --hypothesis-profile=brief $(STANDARD_LIBRARY) tests
	$(MEMORY) nice $(VENV)-lowest/bin/python -m pytest -q -m real_server tests/stores $(wildcard tests/webhooks/test_webhook_postgres*.py)

pythons:
	@for python in python3.11 python3.12 python3.13 python3.14 python3.15; do \
		if $$python --version >/dev/null 2>&1; then \
			$(MAKE) pytest PYTHON=$$python VENV=.venv-$$python ARGS="-q --no-cov" || exit 1; \
		else echo "$$python is not installed: skipped"; fi; \
	done

bench: $(VENV)-bench/dev
	@$(VENV)-bench/bin/python -m benchmarks $(if $(JSON),--json)

redaction-score: $(VENV)/dev
	@$(BIN)/python -m benchmarks.redaction.score $(ARGS)

format: $(VENV)/dev
	$(BIN)/ruff format $(CHECKED)
	$(BIN)/ruff check --fix $(CHECKED)

docs: $(VENV)/dev
	$(BIN)/python tools/settings_reference.py > docs/settings.md.new
	mv docs/settings.md.new docs/settings.md

clean:
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-bench .coverage* .mypy_cache .ruff_cache .hypothesis .pytest_cache

$(VENV)/bin/python:
	@echo "Making the virtual environment with $$($(PYTHON) --version) ..." >&2
	@$(PYTHON) -m venv $(VENV)

$(VENV)/demo: $(VENV)/bin/python pyproject.toml requirements-demo.txt constraints.txt
	@echo "Installing LaunchKit and what the example needs (a minute the first time) ..." >&2
	@$(INSTALL) -r requirements-demo.txt -e . >&2
	@touch $@

$(VENV)/dev: $(VENV)/bin/python pyproject.toml requirements-dev.txt requirements-demo.txt constraints.txt
	@echo "Installing LaunchKit and its development tools (some minutes the first time) ..." >&2
	@$(INSTALL) -r requirements-dev.txt -e . >&2
	@touch $@ $(VENV)/demo

# What `make bench` compares with stays out of the environment that the tests run in.
$(VENV)-bench/dev: pyproject.toml requirements-bench.txt requirements-demo.txt constraints.txt
	@echo "Installing LaunchKit and what it is measured beside ..." >&2
	@$(PYTHON) -m venv $(VENV)-bench
	@$(VENV)-bench/bin/python -m pip install --disable-pip-version-check -c constraints.txt \
		-r requirements-bench.txt -e . >&2
	@$(VENV)-bench/bin/python -m pip install --disable-pip-version-check \
		--no-deps asgi-caches==0.3.1 async-caches==0.3.0 >&2  # asks for an older Starlette, and does with ours
	@touch $@

# The lowest versions that pyproject.toml admits, in an environment of their own.
$(VENV)-lowest/dev: pyproject.toml requirements-dev.txt constraints-lowest.txt
	@echo "Installing the lowest supported versions ..." >&2
	@$(PYTHON) -m venv $(VENV)-lowest
	@$(VENV)-lowest/bin/python -m pip install --disable-pip-version-check -c constraints-lowest.txt \
		-r requirements-dev.txt -e . >&2
	@touch $@
