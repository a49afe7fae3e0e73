# Two commands on a fresh machine: `make demo` and `make test`. Each does all its own set-up.
# `make test` takes minutes and leaves out the tests marked slow; `make test-all` and CI run them all.
VENV := .venv
PYTHON ?= python3
READY := $(VENV)/.ready
READY_TO_DEVELOP := $(VENV)/.ready-to-develop
READY_TO_WRITE := $(VENV)/.ready-to-write

# One process per core. A module's tests mostly stay together, so that they share their fixtures.
TEST := $(VENV)/bin/pytest -q -n auto --maxprocesses 8 --dist worksteal

.PHONY: demo test test-all lint docs clean

demo: $(READY)
	$(VENV)/bin/phosphene demo

test: $(READY_TO_DEVELOP)
	$(TEST) -m "not slow"

test-all: $(READY_TO_DEVELOP)
	$(TEST)

lint: $(READY_TO_DEVELOP)
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/mypy

docs: $(READY_TO_WRITE)
	$(VENV)/bin/python -m sphinx -q -W --keep-going -b html docs docs/_build/html
	@echo open docs/_build/html/index.html

# Where pip finds only CUDA builds of torch (gigabytes), point PIP_EXTRA_INDEX_URL at PyTorch's index of CPU builds first.
$(READY): pyproject.toml constraints.txt
	$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "phosphene needs Python 3.11 or newer: make PYTHON=python3.12")'
	test -x $(VENV)/bin/python || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt torch
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable .
	touch $@

$(READY_TO_DEVELOP): $(READY)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[dev]'
	touch $@

$(READY_TO_WRITE): $(READY)
	$(VENV)/bin/python -m pip install --quiet --constraint constraints.txt --editable '.[docs]'
	touch $@

clean:
	rm -rf $(VENV) runs dist build docs/_build .mypy_cache .ruff_cache .pytest_cache
