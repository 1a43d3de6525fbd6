# Targets set up a virtual environment first; they need Python 3.11 or later, pip and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
# Each process begins at its own end of the tests: those of a file share what is prepared and compiled for them.
PYTEST := -n 2 --dist worksteal

.PHONY: demo test test-slow fuzz soak check bench clean

demo: $(VENV)/.ready-demo
	$(BIN)/python main.py --n 1000 --M 10 --D 2 --K 3 --num_epochs 1000 --seed 0

test: $(VENV)/.ready-test check
	$(BIN)/python -m pytest $(PYTEST) -m "not slow"

# What takes long: tables reproduced, real data, many seeds, killed processes
test-slow: $(VENV)/.ready-test
	$(BIN)/python -m pytest $(PYTEST) -m slow

# As part of test-slow, with as many random cases of each kind as wanted: make fuzz CASES=20000
CASES ?= 500
fuzz: $(VENV)/.ready-test
	DEGMM_FUZZ_CASES=$(CASES) $(BIN)/python -m pytest $(PYTEST) -m slow --timeout=0 tests/fuzz

# One process that fits and fits, and what it holds meanwhile
soak: $(VENV)/.ready-test
	DEGMM_SOAK_FITS=1000 $(BIN)/python -m pytest -s -m slow tests/test_soak.py

check: $(VENV)/.ready-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

bench: $(VENV)/.ready-test
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -e '.[bench]'
	$(BIN)/python -m benchmarks.side_by_side

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.ready-demo: pyproject.toml requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -r requirements.txt
	touch $@

$(VENV)/.ready-test: pyproject.toml requirements.txt | $(VENV)/bin/python
	$(BIN)/python -m pip install -q --disable-pip-version-check --no-compile -e '.[dev]'
	touch $@

clean:
	rm -rf $(VENV) .pytest_cache .pytest_programs .ruff_cache .mypy_cache .hypothesis out
