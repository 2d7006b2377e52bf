.DEFAULT_GOAL := help
BIN := .venv/bin

.PHONY: help test lint clean

help: ## what can be made
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/'

.venv/.stamp: pyproject.toml hatch_build.py $(wildcard tools/*.py) $(shell find protos -name '*.proto')
	python3 -m venv .venv
	$(BIN)/pip install -q -e '.[dev]'
	@touch $@

lint: .venv/.stamp ## check style, types and the public contract
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy servicekit tools hatch_build.py tests
	$(BIN)/buf lint
	$(BIN)/python -m tools.breaking

test: lint ## every check and every test
	$(BIN)/pytest -q

clean: ## remove what was built
	rm -rf .venv build dist
