# Every target that needs .venv first brings it up; `make setup` is a fraction of a second when nothing changed.
.DEFAULT_GOAL := help
.NOTPARALLEL:
BIN := .venv/bin
PYTEST_FLAGS ?= -n auto --dist loadfile
NUMBERED := $(sort $(filter-out benchmarks/tables.py,$(wildcard benchmarks/*.py)))
BENCHMARKS := $(patsubst benchmarks/%.py,bench-%,$(NUMBERED)) bench-tables

.PHONY: help setup demo test check pytest slow bench $(BENCHMARKS) clean

help: ## say what each target does
	@awk -F ':.*## ' '/^[a-z]+:.*## / {printf "  make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: ## bring up .venv (PYTHON=python3.12 to choose the interpreter, TORCH_INDEX=URL to choose torch's index)
	@scripts/setup.sh

demo: setup ## train a small CNN on digits, weave it into a spiking network, report to artifacts/demo
	$(BIN)/spikeloom convert --output-dir artifacts/demo

test: check pytest ## check, then every test that is not slow

check: setup ## ruff, pyright strict, and the floors
	$(BIN)/ruff check
	$(BIN)/pyright
	$(BIN)/lint-imports --no-logo

pytest: setup ## every test that is not slow, a process for each core (PYTEST_FLAGS="-k word" for some, in one)
	$(BIN)/pytest -m "not slow" $(PYTEST_FLAGS)

slow: setup ## the slow tests
	$(BIN)/pytest -m slow

bench: $(BENCHMARKS) ## every benchmarks/*.py, one after another, the tables of their numbers last (make bench-NAME for one)

$(BENCHMARKS): bench-%: setup
	$(BIN)/python benchmarks/$*.py

clean: ## remove caches and build outputs; .venv and artifacts stay
	rm -rf build dist .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find src tests benchmarks scripts -name __pycache__ -type d -prune -exec rm -rf {} +
