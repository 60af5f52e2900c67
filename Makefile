# Two commands set everything up on a fresh machine: `make demo` and `make test`.
.DEFAULT_GOAL := help
SHELL := bash
export SAM_CLI_TELEMETRY := 0
PYTHON := .venv/bin/python

.PHONY: help
help: ## show the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z-]+):.*## /  make \1|/' | column -t -s'|'

.PHONY: setup
setup: ## make the environments (done by the other commands as needed)
	@tools/setup project sam checkov

.PHONY: demo up
demo: ## the main job on this machine: who ran what, and forgeries refused
	@tools/setup project
	@$(PYTHON) -m local.demo
up: ## the whole stack on this machine, until interrupted
	@tools/setup project
	@exec $(PYTHON) -m local.up

.PHONY: test
test: ## run all tests
	@tools/setup project sam
	$(PYTHON) -m pytest

.PHONY: lint types
lint: ## ruff
	@tools/setup project
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
types: ## mypy, strict
	@tools/setup project
	$(PYTHON) -m mypy

.PHONY: lock
lock: ## pin everything anew from the .in files
	@for name in layers/identity/requirements requirements/dev requirements/sam requirements/checkov requirements/uv; do \
	    "$$(tools/setup --uv)" pip compile --quiet --python "$$(tools/setup --python)" --generate-hashes \
	        --no-header --no-annotate $$name.in -o $$name.txt; done

.PHONY: build validate scan
build: ## build the artifacts that `sam deploy` ships
	@tools/setup sam
	.venv-sam/bin/sam build
validate: ## check template.yaml with SAM's linter
	@tools/setup sam
	.venv-sam/bin/sam validate --lint
scan: ## check template.yaml against the policy scan
	@tools/setup checkov
	.venv-checkov/bin/checkov --file template.yaml --framework cloudformation --skip-download --compact --quiet

.PHONY: policies property
policies: ## check who may what: policies against their schema, and roles
	@tools/setup project
	$(PYTHON) -m tools.check_policies
property: ## ten thousand random sequences of requests against the model of the rules
	@tools/setup project
	PROPERTY_SEQUENCES=10000 $(PYTHON) -m pytest tests/access/test_model.py -s

.PHONY: bench
bench: ## measure against the baselines, and write docs/benchmarks.md
	@tools/setup project sam
	$(PYTHON) -m benchmarks

.PHONY: simulate
simulate: ## run two simulated days of refreshes under all rules, and write docs/simulation.md [ARGS=20000x900]
	@tools/setup project
	PYTHONPATH=layers/identity:functions/plan_refresh:functions/refresh_tokens:. $(PYTHON) -m simulation --write $(ARGS)

.PHONY: backfill
backfill: ## tell the authorization service of all runs that it does not know of yet
	@tools/setup project
	@$(PYTHON) -m tools.backfill

.PHONY: events
events: ## make the sample events in events/ anew
	@tools/setup project
	$(PYTHON) -m tools.make_events

.PHONY: openapi
openapi: ## make docs/openapi.json anew
	@tools/setup project
	$(PYTHON) -m tools.openapi
