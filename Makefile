# The commands one must know. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready

.PHONY: demo dist test test-long test-release check docs bench format clean

demo: $(READY)      ## six methods on the built-in digits, then their table
	$(BIN)/dcbench run --method random,k-center,herding,mmd,dm,datadam --dataset digits --ipc 1 --seed 0,1,2 --preset quick --set iterations=40 --networks 3 --out demo-results
	$(BIN)/dcbench report --results demo-results --format markdown

test: $(READY)      ## all but the long tests
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-long: $(READY) ## the tests that take minutes: generative models, twenty kills, a thousand classes
	$(BIN)/python -m pytest -m long

test-release: $(READY) ## wheel and sdist of the last commit, installed into an empty environment
	$(BIN)/python -m pytest -m release tests/test_release.py

dist: $(READY)      ## wheel and sdist of the last commit, in dist/
	rm -rf build/clone && git clone -q . build/clone
	cd build/clone && ../../$(BIN)/python -c "from setuptools.build_meta import *; build_sdist('../../dist'); build_wheel('../../dist')"

check: $(READY)     ## format, lint, architecture, types
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/mypy --num-workers 2

docs: $(READY)      ## the pages as a site, in build/site; any dead link is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet

bench: $(READY)     ## speed of the engine beside a plain transcription
	$(BIN)/python -m benchmarks

format: $(READY)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

clean:
	rm -rf $(VENV) build demo-results

$(READY): pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --editable '.[dev]'
	touch $@
