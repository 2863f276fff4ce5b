# The two commands are `make demo` and `make test`; everything runs in .venv, which is made when it is absent.

PYTHON ?= python3
BIN := .venv/bin
# Runs of this checkout stay in it; commands run by hand use ~/vgsr, or $VGSR_HOME.
export VGSR_HOME ?= $(CURDIR)/runs

.PHONY: demo test test-faults lint ui clean

demo: .venv/ready
	$(BIN)/python sweeps/margin_search.py

test: .venv/ready
	$(BIN)/python -m pytest

test-faults: .venv/ready
	$(BIN)/python -m pytest -m faults

lint: .venv/ready
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

ui: .venv/ready
	$(BIN)/vgsr ui

clean:
	rm -rf .venv runs

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "VGSR needs Python 3.11 or newer; this is " + sys.version.split()[0] + " (make PYTHON=python3.12 …)")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@
