# Two commands for a newcomer: `make demo` and `make test`. Both make .venv first.
PYTHON ?= python3
BIN := .venv/bin
UV := $(BIN)/uv pip install --quiet --python $(BIN)/python --constraint constraints.txt
STAMP := .venv/.axilla-installed
# Real data lie in a folder beside the project on some machines; AXILLA_DATA names them elsewhere.
ifneq ($(wildcard ../shared/data/README.md),)
export AXILLA_DATA ?= $(abspath ../shared/data)
endif

.PHONY: demo test lint types rooms format fuzz bench studies clean

demo: $(STAMP)
	$(BIN)/axilla demo

# A process a core, each on one thread; `pytest -n 0` runs all in one, as a debugger wants it.
test: $(STAMP) lint types rooms
	OMP_NUM_THREADS=1 $(BIN)/pytest -n auto --maxprocesses 4 --dist loadfile

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "axilla needs Python 3.11 or later; name it: make PYTHON=python3.11 $(MAKECMDGOALS)"; exit 2; }
	test -x $(BIN)/python || $(PYTHON) -m venv .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt uv
	$(UV) --editable '.[dev]'
	touch $@

lint: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check

types: $(STAMP)
	$(BIN)/mypy

rooms: $(STAMP)
	$(BIN)/lint-imports

format: $(STAMP)
	$(BIN)/ruff check --fix
	$(BIN)/ruff format

# Every property test with other draws, and 5,000 of them; what it finds becomes an @example.
fuzz: $(STAMP)
	AXILLA_HYPOTHESIS=fuzz $(BIN)/pytest -m hypothesis

bench: $(STAMP)
	$(BIN)/python benchmarks/run.py

studies: $(STAMP)
	$(BIN)/python studies/run.py --jobs 2

clean:
	rm -rf .venv axilla-demo studies/out benchmarks/out
