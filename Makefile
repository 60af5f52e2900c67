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
lint: ## check style (ruff), spelling (codespell) and workflows (zizmor)
	@tools/setup project
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/codespell
	.venv/bin/zizmor --offline --quiet .github
types: ## check types with mypy, strict
	@tools/setup project
	$(PYTHON) -m mypy

LOCKS := layers/identity/requirements $(patsubst %.in,%,$(wildcard requirements/*.in))
.PHONY: lock audit
lock: ## pin what a changed .in file asks for; with UPGRADE=--upgrade move all pins
	@for name in $(LOCKS); do \
	    "$$(tools/setup --uv)" pip compile --quiet --python "$$(tools/setup --python)" --generate-hashes \
	        --no-header --no-annotate $(UPGRADE) $$name.in -o $$name.txt || exit 1; done
audit: ## look up known vulnerabilities of every pinned dependency
	@tools/setup audit
	@for name in $(LOCKS); do echo "$$name.txt"; \
	    .venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$name.txt || failed=1; \
	    done; [ -z "$$failed" ]

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
simulate: ## run two simulated days of refreshes, ours and others', and write docs/simulation.md
	@tools/setup project
	PYTHONPATH=layers/identity:functions/plan_refresh:functions/refresh_tokens:. $(PYTHON) -m simulation

.PHONY: backfill
backfill: ## tell the authorization service of all runs that it does not know of yet
	@tools/setup project
	@$(PYTHON) -m tools.backfill

.PHONY: release-notes
release-notes: ## print the changelog's section of a release: TAG=v1.2.3
	@tools/setup project
	@$(PYTHON) -m tools.release_notes "$(TAG)"

.PHONY: events
events: ## make the sample events in events/ anew
	@tools/setup project
	$(PYTHON) -m tools.make_events

.PHONY: openapi
openapi: ## make docs/openapi.json anew
	@tools/setup project
	$(PYTHON) -m tools.openapi
