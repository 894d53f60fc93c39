# Two commands: `make demo` and `make test`. Each sets up .venv first, with the pinned dependencies.
#
#   make demo PYTHON=python3.12                              another Python, 3.11 or newer
#   make demo TORCH=https://download.pytorch.org/whl/cpu     the build of PyTorch in this package index
#   make demo TORCH=wheels/                                  the one in this folder of wheels
PYTHON ?= python3
TORCH ?=
FROM := $(if $(TORCH),$(if $(findstring ://,$(TORCH)),--extra-index-url,--find-links) $(TORCH))
BIN := .venv/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

.PHONY: demo test matrix lint setup clean

setup: .venv/ready

.venv/ready: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; this is " + sys.version.split()[0] + ". Name one: make PYTHON=python3.11")'
	$(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --constraint constraints.txt $(FROM) --editable '.[dev]'
	touch $@

demo: setup
	$(BIN)/python -m alexnet demo

test: setup
	$(BIN)/python -m pytest -n 2

# The tests that compute, again with other instructions, other numbers of threads, and without Numba.
matrix: setup
	$(BIN)/python tests/matrix.py

lint: setup
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy

clean:
	rm -rf .venv build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
