# The commands one must know. Each sets up what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOWEST := build/lowest
# readers, writers, statistics, figures and errors: where other versions of libraries show
TESTED_LOWEST := tests/artifacts tests/records tests/datasets/test_datasets.py tests/report/test_tables.py tests/report/test_statistics.py tests/report/test_figures.py tests/cli/test_errors.py tests/cli/test_console.py tests/system/test_files.py tests/training/test_augment.py tests/faults/test_files_of_others.py

.PHONY: demo dist test test-long test-lowest test-release check docs measured bench format clean

demo: $(READY)      ## six methods on the built-in digits, then their table
	$(BIN)/dcbench run --method random,k-center,herding,mmd,dm,datadam --dataset digits --ipc 1 --seed 0,1,2 --preset quick --set iterations=40 --networks 3 --out demo-results
	$(BIN)/dcbench report --results demo-results --format markdown

test: $(READY)      ## all but the long tests
	$(BIN)/python -m pytest --numprocesses 2 --dist worksteal

test-long: $(READY) ## the tests that take minutes: generative models, twenty kills, a thousand classes
	$(BIN)/python -m pytest -m long

test-lowest: $(READY) ## a fast part of the tests with the lowest versions that pyproject.toml allows, of all but torch
	mkdir -p build
	$(BIN)/python tests/lowest.py > build/lowest.txt
	$(PYTHON) -m venv --clear $(LOWEST)
	$(LOWEST)/bin/python -m pip install --quiet --only-binary :all: --constraint build/lowest.txt --editable . beartype hypothesis pytest pytest-xdist
	$(LOWEST)/bin/python -m pytest -W ignore::DeprecationWarning -W ignore::FutureWarning -m 'not slow and not long' $(TESTED_LOWEST)

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

measured:           ## list the project's own records, so that reports know them by their content
	find results/measured -name record.json -print0 | LC_ALL=C sort -z | xargs -0 sha256sum > dcbench/records/measured.sha256

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
