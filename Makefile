# Five verbs run everything: demo, test, check, prove, bench. Each installs its requirements, once.
# Three more try other versions of the dependencies: lowest, pinned, newest. Two are for publishing: docs, rehearse.

PYTHON ?= python3
VENV ?= .venv
WAREHOUSE ?= sqlite
# Processes for tests: one more than there are cores, because tests wait for disks and servers half the time.
WORKERS ?= $(shell $(PYTHON) -c 'import os; print(1 + (os.cpu_count() or 1))')
# Markers of the proofs to run. ALL=1 runs every cell of the crash matrix, and a thousand waits at once.
LANES ?= database or crash or airflow
ALL ?=
# The Airflow that `make pinned` tries, and the constraints that it is installed with: a file, or the URL of one.
AIRFLOW ?= 3.3.2
PINS ?= constraints/airflow-$(AIRFLOW).txt
PINNED := $(VENV)-airflow-$(AIRFLOW)
BIN := $(VENV)/bin
PYTEST := -m pytest --numprocesses $(WORKERS)
# Neighbouring tests share fixtures: a process gets many of them at once, and takes over tests from others.
QUICK := $(PYTEST) --dist worksteal -m "not database and not crash and not airflow"
# The tests of a file that starts an Airflow stay in one process. The longest files begin first.
PROOFS := $(PYTEST) --dist loadgroup -m "$(LANES)"
INSTALL := -m pip --disable-pip-version-check install --quiet
PIP := PIP_CONSTRAINT=constraints.txt $(BIN)/python $(INSTALL)
EXTRAS := lineage,messaging,postgres,sqlite

# The quick tests that use a dependency; all quick tests would take twice as long.
TOUCHED := $(addprefix tests/, cli/test_sms_commands.py gateways/test_streams.py gateways/test_transport.py \
	gateways/test_wire.py hooks ledger/test_sql_ledger.py operators/test_native_rendering.py operators/test_send.py \
	plugins sending/rules sensors transfers/test_databases.py transfers/test_lineage.py transfers/test_sms_to_sql.py triggers \
	test_dependencies.py test_phone.py test_phone_properties.py test_provider.py \
	warehouse/test_usual_pages_properties.py)

# Without bytecode, every Airflow command takes twice as long.
unexport PYTHONDONTWRITEBYTECODE

.PHONY: help demo test docs rehearse check prove bench lowest pinned newest clean

help:  ## List the targets.
	@grep -E '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:[^#]*## /\t/' | sort

demo: $(VENV)/.demo  ## Run the example DAGs on Airflow against a WinSMS on this machine.
	@$(BIN)/python -m scripts.demo --warehouse $(WAREHOUSE)

test: $(VENV)/.dev  ## Run the quick tests.
	@$(BIN)/python $(QUICK) $(ARGS)

docs: $(VENV)/.docs  ## Build the site of these pages and of the Python API, and check its links.
	@$(BIN)/python -m scripts.docs.site $(ARGS)

rehearse: $(VENV)/.release  ## Make a release of what is committed, up to its upload.
	@$(BIN)/python -m scripts.rehearse $(ARGS)

check: $(VENV)/.dev  ## Lint, check types, and check the import law.
	@$(BIN)/ruff check .
	@$(BIN)/ruff check --select AIR --preview --quiet .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports

prove: $(VENV)/.browser  ## Run the long proofs: real databases, killed workers, a real scheduler and triggerer.
	@$(if $(ALL),PROVE_ALL=1) $(BIN)/python $(PROOFS) $(ARGS)

bench: $(VENV)/.dev  ## Measure, side by side in one run.
	@$(BIN)/python -m scripts.bench

lowest: $(VENV)-lowest/.ready  ## Run the quick tests on the oldest declared dependencies.
	@$(VENV)-lowest/bin/python $(QUICK) $(TOUCHED) $(ARGS)

pinned: $(PINNED)/.ready  ## Run the quick tests on an Airflow with its own constraints, and none of ours.
	@$(PINNED)/bin/python $(QUICK) $(TOUCHED) $(ARGS)

newest: $(VENV)-newest/.ready  ## Run the quick tests on the newest dependencies.
	@$(VENV)-newest/bin/python $(QUICK) $(TOUCHED) $(ARGS)

clean:  ## Remove the environments and everything that was built.
	rm -rf $(VENV) $(VENV)-lowest $(VENV)-airflow-* $(VENV)-newest build dist .cache .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache

# pip reads dependency groups since 25.1.
$(VENV)/bin/python $(VENV)-lowest/bin/python $(PINNED)/bin/python $(VENV)-newest/bin/python: %/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.12 ...")'
	@echo "Making $* (once; about a minute) ..."
	@$(PYTHON) -m venv $*
	@$*/bin/python $(INSTALL) --upgrade 'pip>=25.1'

$(VENV)/.demo: pyproject.toml constraints.txt | $(VENV)/bin/python
	@echo "Installing Airflow and the provider (most of that minute) ..."
	@$(PIP) --editable '.[postgres,sqlite]' --group demo
	@touch $@

$(VENV)/.dev: $(VENV)/.demo
	@echo "Installing the requirements of the tests ..."
	@$(PIP) --editable '.[$(EXTRAS)]' --group dev
	@touch $@

$(VENV)/.docs: $(VENV)/.demo
	@echo "Installing what builds the site ..."
	@$(PIP) --group docs
	@touch $@

$(VENV)/.release: $(VENV)/.demo
	@echo "Installing what makes a release ..."
	@$(PIP) --group release
	@touch $@

$(VENV)/.browser: $(VENV)/.dev
	@echo "Installing what drives a browser ..."
	@$(PIP) --group browser
	@touch $@

$(VENV)-lowest/.ready: pyproject.toml constraints.txt $(wildcard constraints/*) scripts/floors.py | $(VENV)-lowest/bin/python
	@echo "Installing the oldest dependencies ..."
	@$| -m scripts.floors > $(@D)/floors.txt
	@$| $(INSTALL) --constraint $(@D)/floors.txt --editable '.[$(EXTRAS)]' --group test
	@touch $@

# First as a user installs it. Then the requirements of the tests, which change nothing of that.
$(PINNED)/.ready: pyproject.toml constraints.txt $(wildcard $(PINS)) scripts/floors.py | $(PINNED)/bin/python
	@echo "Installing Airflow $(AIRFLOW) with its own constraints ..."
	@$| $(INSTALL) --constraint $(PINS) apache-airflow==$(AIRFLOW) --editable '.[$(EXTRAS)]'
	@$| -m pip --disable-pip-version-check check
	@$| -m pip --disable-pip-version-check freeze --exclude-editable > $(@D)/installed.txt
	@$| -m scripts.floors $(@D)/installed.txt > $(@D)/pins.txt
	@$| $(INSTALL) --constraint $(@D)/pins.txt --editable '.[$(EXTRAS)]' --group test
	@touch $@

$(VENV)-newest/.ready: pyproject.toml | $(VENV)-newest/bin/python
	@echo "Installing the newest dependencies ..."
	@$| $(INSTALL) --upgrade --editable '.[$(EXTRAS)]' --group test
	@touch $@
