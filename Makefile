# Every command installs what it needs on a fresh machine. CONTRIBUTING.md lists the commands.
.DEFAULT_GOAL := help
SHELL := bash
export SAM_CLI_TELEMETRY := 0
# Python keeps the bytecode of tests and tools, also in containers that turn it off.
unexport PYTHONDONTWRITEBYTECODE
PYTHON := .venv/bin/python
TEMPLATES := template.yaml permissions.yaml console.yaml observability.yaml

.PHONY: help
help: ## list the commands
	@grep -hE '^[a-z0-9-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/^([a-z0-9-]+):.*## /  make \1|/' | column -t -s'|'

.PHONY: setup
setup: ## create the environments (the other commands do so as needed)
	@tools/setup project sam checkov second-engine

.PHONY: demo up deploy-local
demo: ## show the main job on the local stack: who ran what, and forged credentials refused
	@tools/setup project
	@$(PYTHON) -m local.demo
up: ## run the whole stack on this machine until you press Ctrl-C
	@tools/setup project
	@exec $(PYTHON) -m local.up
deploy-local: build ## deploy the built stack on this machine with the SAM CLI, until you press Ctrl-C
	@tools/setup project second-engine
	@exec $(PYTHON) -m local.deploy

# Tests that start no stack, build nothing and take seconds. A path that does not exist is an error.
QUICK := tests/identity tests/template tests/permissions tests/benchmarks tests/repository tests/stand_ins tests/structure tests/tables \
    $(addprefix tests/docs/test_,$(addsuffix .py,architecture cost decisions links reasons runbook runners settings)) \
    tests/access/test_decisions.py tests/access/test_policies.py tests/runs/test_openapi.py \
    tests/register/test_authorization_service.py \
    $(addprefix tests/refresh/test_,$(addsuffix .py,client_secrets messages mint_locally planning post \
        refresh_timing retry_after row_changes tick_times time_slices token_answers token_rows work_units))
STORES := tests/stand_ins/test_engine.py tests/tables tests/register tests/runs tests/refresh
# One worker more than cores, since tests also wait for servers; a file's tests stay in one process, so that
# its servers start once.
WORKERS = $(shell expr $$(getconf _NPROCESSORS_ONLN) + 1)
PARALLEL := -n $(WORKERS) --dist loadfile --no-loadscope-reorder
PYTHONS := 3.10 3.13
.PHONY: check test test-client test-deploy test-second-engine permissions
check: lint types ## the loop while you work: lint, types and the tests that need no stack
	@tools/setup evaluator
	$(PYTHON) -m pytest -q $(PARALLEL) $(QUICK)
test: ## run all tests but those of the client and of a whole deployment
	@tools/setup project sam second-engine evaluator console
	BYLINE_AWS_CALLS=complete $(PYTHON) -m pytest $(PARALLEL) --ignore tests/client --ignore tests/deploy
test-client: ## run the client's tests on Python 3.10 and 3.13, without the project's packages; PYTHONS="3.11" for another
	@tools/setup project $(PYTHONS:%=client-%)
	for version in $(PYTHONS); do \
	    "$$(tools/setup --uv)" tool run --python .venv-client-$$version/bin/python --from ./client byline --version && \
	    .venv-client-$$version/bin/python -m pytest -c client/pyproject.toml --rootdir . --confcutdir tests/client \
	        $(PARALLEL) tests/client || exit 1; done
test-deploy: ## deploy, check, use, change, upgrade and delete the built stack on this machine
	@tools/setup project sam second-engine evaluator
	$(PYTHON) -m pytest $(PARALLEL) tests/deploy
test-second-engine: ## run the stores' tests on ministack, a second implementation of AWS
	@tools/setup project second-engine
	BYLINE_TEST_ENGINE=ministack $(PYTHON) -m pytest $(PARALLEL) -p tests.second_engine $(STORES)
permissions: ## record the AWS calls of the stores' tests, and check the roles in template.yaml against them
	@tools/setup project evaluator
	BYLINE_AWS_CALLS=record $(PYTHON) -m pytest $(PARALLEL) $(STORES) tests/access
	$(PYTHON) -m pytest tests/permissions

.PHONY: lint types
lint: ## check style (ruff), spelling (codespell) and workflows (zizmor)
	@tools/setup project
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	.venv/bin/codespell
	.venv/bin/zizmor --offline --quiet --strict-collection .github action.yml
types: ## check types (mypy, strict)
	@tools/setup project
	$(PYTHON) -m mypy
	$(PYTHON) -m mypy --config-file client/pyproject.toml

LOCKS := layers/identity/requirements $(patsubst %.in,%,$(wildcard requirements/*.in))
.PHONY: lock audit vendor
lock: ## pin what a changed .in file asks for; UPGRADE=--upgrade moves all pins
	@for name in $(LOCKS); do \
	    case $$name in requirements/client*) range="--universal --python-version 3.10";; *) range=;; esac; \
	    "$$(tools/setup --uv)" pip compile --quiet --python "$$(tools/setup --python)" --generate-hashes \
	        --no-header --no-annotate $$range $(UPGRADE) $$name.in -o $$name.txt || exit 1; done
vendor: ## copy the console's libraries from their lock file, requirements/console/package-lock.json
	@tools/setup project console
	$(PYTHON) -m tools.vendor_console
audit: ## look up known vulnerabilities of every pinned dependency
	@tools/setup audit
	@for name in $(LOCKS); do echo "$$name.txt"; \
	    .venv-audit/bin/pip-audit --strict --disable-pip --require-hashes --progress-spinner off -r $$name.txt || failed=1; \
	    done; [ -z "$$failed" ]

.PHONY: build validate scan
build: ## build the artifacts that `sam deploy` uploads, and what they consist of in .aws-sam/materials; ARCHITECTURE=arm64
	@tools/setup project sam
	$(if $(ARCHITECTURE),BYLINE_ARCHITECTURE=$(ARCHITECTURE)) .venv-sam/bin/sam build \
	    $(if $(ARCHITECTURE),--parameter-overrides Architecture=$(ARCHITECTURE))
	$(PYTHON) -m tools.bill_of_materials .aws-sam/build .aws-sam/materials
.PHONY: deploy
deploy: build ## build and deploy with params/<ENV>.yaml, and print what DNS and the OpenID provider need: ENV=dev
	@$(PYTHON) -m tools.deploy "$(ENV)" $(ARGS)
.PHONY: smoke
smoke: ## check the deployed stack of an environment: ENV=dev; BYLINE_TOKEN, CLIENT as in docs/runbook.md
	@tools/setup project
	@PYTHONPATH=layers/identity:functions:. $(PYTHON) -m tools.smoke "$(ENV)" $(CHECKS)
validate: ## check the templates with SAM's linter
	@tools/setup sam
	@for template in $(TEMPLATES); do .venv-sam/bin/sam validate --lint --template $$template || exit 1; done
scan: ## check the templates against the policy scan
	@tools/setup checkov
	.venv-checkov/bin/checkov $(TEMPLATES:%=--file %) --framework cloudformation --skip-download --compact --quiet

.PHONY: policies property
policies: ## check the Cedar policies against their schema and roles.json
	@tools/setup project
	$(PYTHON) -m tools.check_policies
property: ## run the random tests at length, and the exhaustive ones: 10,000 sequences of requests, 200 orders of faults, 100 requests an operation
	@tools/setup project
	$(PYTHON) -m pytest $(PARALLEL) -m exhaustive tests
	PROPERTY_SEQUENCES=10000 $(PYTHON) -m pytest tests/access/test_model.py -s
	REGISTRATION_SEEDS=200 OPENAPI_EXAMPLES=100 $(PYTHON) -m pytest $(PARALLEL) \
	    tests/register/test_registration_faults.py tests/runs/test_running_stack.py

.PHONY: bench
bench: ## measure against the baselines, and write docs/benchmarks.md
	@tools/setup project sam
	PYTHONPATH=layers/identity $(PYTHON) -m benchmarks

.PHONY: simulate
simulate: ## simulate two days of token refresh, and write docs/simulation.md; ARGS=1000on20x900 for a fleet
	@tools/setup project
	PYTHONPATH=layers/identity:functions:. $(PYTHON) -m simulation --write $(ARGS)

.PHONY: cost
cost: ## compute the monthly cost, and write docs/cost.md; ARGS="token_lifetime=1800" prints it for other assumptions
	@tools/setup project
	@PYTHONPATH=layers/identity:functions:. $(PYTHON) -m tools.cost $(ARGS)

.PHONY: scale
scale: ## compute the tables of docs/scale.md from the rows that the code writes
	@tools/setup project
	PYTHONPATH=layers/identity:functions:. $(PYTHON) -m tools.scale

.PHONY: backfill
backfill: ## register all pending runs with the authorization service; PROJECTS=a,b or all adds older runs
	@tools/setup project
	@PYTHONPATH=layers/identity:. $(PYTHON) -m tools.backfill

.PHONY: release-notes
release-notes: ## print the changelog's section of a release: TAG=v1.2.3
	@tools/setup project
	@$(PYTHON) -m tools.release_notes "$(TAG)"

.PHONY: recording
recording: ## record what this version leaves in AWS, for the tests of later versions
	@tools/setup project
	BYLINE_WRITE_RECORDING=1 $(PYTHON) -m pytest -q tests/releases/test_recording.py

.PHONY: events
events: ## regenerate the sample events in events/
	@tools/setup project
	$(PYTHON) -m tools.make_events

.PHONY: commands
commands: ## write docs/commands.md, the help texts of the client
	@tools/setup project
	PYTHONPATH=client:. $(PYTHON) -m tools.commands_page

.PHONY: sessions
sessions: ## record the terminal sessions of the documents on the local stack: docs/session-….svg
	@tools/setup project
	PYTHONPATH=layers/identity:functions:client:. $(PYTHON) -m tools.terminal_sessions

.PHONY: openapi
openapi: ## regenerate docs/openapi.json
	@tools/setup project
	$(PYTHON) -m tools.openapi
