# Five verbs run everything: demo, test, check, prove, bench. Each sets up what it needs, once.

PYTHON ?= python3
VENV ?= .venv
WAREHOUSE ?= sqlite
BIN := $(VENV)/bin
# A file's tests share its fixtures, some of which start an Airflow, so they stay in one process.
PYTEST := $(BIN)/python -m pytest --numprocesses logical --dist loadfile
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python -m pip --disable-pip-version-check install --quiet

# Without bytecode every Airflow command takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test check prove bench clean

help:  ## Say what there is.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort

demo: $(VENV)/.demo  ## Run the example DAGs on Airflow against a WinSMS on this machine.
	@$(BIN)/python -m scripts.demo --warehouse $(WAREHOUSE)

test: $(VENV)/.dev  ## Run the tests that are quick.
	@$(PYTEST) -m "not slow" $(ARGS)

check: $(VENV)/.dev  ## Lint, check types, and hold the import law.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

prove: $(VENV)/.dev  ## Run the slow proofs: a real scheduler and triggerer.
	@$(PYTEST) -m slow $(ARGS)

bench: $(VENV)/.dev  ## Measure, side by side in one run.
	@$(BIN)/python -m scripts.bench

clean:  ## Remove the environment and all that was built.
	rm -rf $(VENV) build dist .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.12 ...")'
	@echo "Making $(VENV) (once; about a minute) ..."
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Airflow and the provider (most of that minute) ..."
	@$(PIP) --editable '.[demo]'
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing what the tests need ..."
	@$(PIP) --editable '.[dev]'
	@touch $@
