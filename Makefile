# Everything runs in $(VENV), which every target sets up by itself.
PYTHON ?= python3
VENV ?= .venv
ARGS ?=

BIN := $(VENV)/bin
STAMP := $(VENV)/.installed

.DEFAULT_GOAL := test
.PHONY: venv demo test check sim properties chaos bench histories clean

venv: $(STAMP)

$(STAMP): pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev,http,otlp]'
	touch $@

demo: $(STAMP)
	$(BIN)/python -m examples.demo

# Random sagas on a store that fails, under crashes: as many seeds as you like.
SEEDS ?= 200
sim: $(STAMP)
	$(BIN)/python -m tests.simulation --seeds $(SEEDS)

# Random programs in every place an instance can live, and rebuilt at every point of their histories.
EXAMPLES ?= 2000
properties: $(STAMP)
	SAGAS_EXAMPLES=$(EXAMPLES) $(BIN)/python -m pytest tests/properties --timeout=0 -o faulthandler_timeout=0 $(ARGS)

# Real processes under kill -9: SEEDS of them from START, each played ROUNDS times.
START ?= 0
ROUNDS ?= 1
chaos: SEEDS = 5
chaos: $(STAMP)
	$(BIN)/python -m tests.chaos --seeds $(SEEDS) --start $(START) --rounds $(ROUNDS)

bench: $(STAMP)
	$(BIN)/python -m benchmarks.kernel
	$(BIN)/python -m benchmarks.year
	$(BIN)/python -m benchmarks.store
	$(BIN)/python -m benchmarks.payloads
	$(BIN)/python -m benchmarks.steps

# Recordings of scenarios that have none of this version yet; later versions must replay them.
histories: $(STAMP)
	$(BIN)/python -m tests.histories.record

test: $(STAMP)
	$(BIN)/python -m pytest $(ARGS)

check: $(STAMP)
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict sagas actors compensations
	$(BIN)/lint-imports

# Leaves .sagas/ alone: what a local server keeps there is data.
clean:
	rm -rf .venv* build dist *.egg-info .hypothesis .import_linter_cache .mypy_cache .pytest_cache .ruff_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
