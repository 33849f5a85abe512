# Every task of the project, by one name: people, hooks and CI call the same targets.
PYTHONS := 3.11 3.12 3.13
VENV    := .venv
BIN    := $(VENV)/bin
READY  := $(VENV)/.ready

# Libraries are compiled once, at set-up; a shell that forbids byte code would make every start slow.
unexport PYTHONDONTWRITEBYTECODE

# The interpreter of a version where there is one: of that name, or one of pyenv that is not the chosen one.
find-python = $$(for each in python$(1) $${PYENV_ROOT:-$$HOME/.pyenv}/versions/$(1).*/bin/python$(1); do \
	if $$each -c "" 2>/dev/null; then echo $$each; break; fi; done)
# What makes the environment: the first of those that there is, unless PYTHON names another.
PYTHON ?= $(shell echo $(foreach each,$(PYTHONS),$(call find-python,$(each))) | cut -d " " -f 1)

.DEFAULT_GOAL := help
.PHONY: help env lock train job ui deploy undeploy worker screenshots docs-keys test test-pythons test-slow test-browser test-team chaos recorded corpus check format bench bench-azure bench-watcher bench-drift bench-rows bench-serving clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-13s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

env: $(READY) ## Make the environment from the lock (again only when the lock changed)

$(READY): requirements.lock pyproject.toml
	@set -e; python=$(BIN)/python; test -x $$python || python="$(PYTHON)"; \
	: "$${python:?none of $(PYTHONS) is installed. Install one, or name it: make PYTHON=/path/to/python $(MAKECMDGOALS)}"; \
	version=$$("$$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])'); \
	case " $(PYTHONS) " in *" $$version "*) ;; \
	    *) echo "$$python is Python $$version, and one of $(PYTHONS) is needed: delete $(VENV), if it is that one's," \
	        "and name another: make PYTHON=/path/to/python $(MAKECMDGOALS)" >&2; exit 1;; esac; \
	test -x $(BIN)/python || "$$python" -m venv $(VENV)
	@test -x $(BIN)/uv || $(BIN)/python -m pip install --quiet --disable-pip-version-check $$(grep -o '^uv==[^ ]*' requirements.lock)
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes --compile-bytecode requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --compile-bytecode --editable .
	@touch $@

lock: ## Resolve pyproject.toml anew into requirements.lock, for every Python that is declared
	$(BIN)/uv pip compile --quiet --group dev --generate-hashes --no-emit-index-url --upgrade \
	    --universal --python-version $(firstword $(PYTHONS)) --custom-compile-command "make lock" pyproject.toml -o requirements.lock

train: $(READY) ## Train the diabetes classifier as a pipeline on this machine
	$(BIN)/python flows/create_aml_pipeline_train.py

job: $(READY) ## Train it as a single job on this machine
	$(BIN)/python flows/create_aml_experiment_job_train.py

ui: $(READY) ## Show the local runs: a Prefect server and the MLflow UI
	$(BIN)/tandem ui

deploy: $(READY) ## Put deployments and automations on the Prefect server (again only what has changed)
	$(BIN)/python -m deployments.deploy deploy

undeploy: $(READY) ## Remove from the Prefect server what `make deploy` has made, and nothing else
	$(BIN)/python -m deployments.deploy undeploy

worker: $(READY) ## Run what the deployments start, until Ctrl+C
	$(BIN)/python -m deployments.deploy worker

screenshots: $(READY) ## Take the pictures of README and docs anew, with a headless Chromium
	$(BIN)/python -m deployments.screenshots

docs-keys: $(READY) ## Write docs/keys.md anew from the table of keys
	$(BIN)/python -m flows.engines.local.keys.page > docs/keys.md

test: $(READY) ## Run the tests, but for the slow ones (some 15 minutes on 2 cores)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "not slow and not browser and not team"

TESTS ?= tests/engines/local tests/any_yaml tests/test_packaging.py
test-pythons: ## Run what depends on the interpreter with every Python that is declared and installed: TESTS=tests for all
	@set -e; for version in $(PYTHONS); do \
	    python=$(call find-python,$$version); \
	    if [ -z "$$python" ]; then echo "Python $$version is not on this machine: not tested."; continue; fi; \
	    echo "Python $$version: $$python"; \
	    $(MAKE) --no-print-directory VENV=.venv-$$version PYTHON="$$python" env; \
	    .venv-$$version/bin/python -m pytest -n 2 --dist worksteal -m "not slow and not browser and not team" $(TESTS); \
	done

test-slow: $(READY) ## Run the slow ones: whole runs, killed, suspended, deployed (some 17 minutes)
	$(BIN)/python -m pytest -n 2 --dist worksteal -m "slow and not team"

test-browser: $(READY) ## Look at the pages in a headless Chromium (apt-get install chromium); pictures in outputs/browser
	$(BIN)/python -m pytest -m browser tests/browser

test-team: $(READY) ## Run a team's servers on PostgreSQL, with workers on two hosts (apt-get install postgresql; as root)
	$(BIN)/python -m pytest -m team tests/team

RUNS ?= 60
SEED ?= 1
ENGINE ?= both
chaos: $(READY) ## Kill, stop and race commands: RUNS=60 SEED=1 ENGINE=both; CASE=17 does one again
	$(BIN)/python -m tests.chaos --runs $(RUNS) --seed $(SEED) --engine $(ENGINE) $(if $(CASE),--case $(CASE))

recorded: $(READY) ## Compare the loopback Azure ML service with recordings of the real one: RECORDINGS=DIR
	@: "$${RECORDINGS:?Name the folder of the recordings: make recorded RECORDINGS=DIR}"
	$(BIN)/python -m tests.recorded "$$RECORDINGS"

corpus: $(READY) ## Judge a folder of Azure ML YAML beside Azure ML's own client: CORPUS=folder; LIST=1 names each file
	$(BIN)/python -m tests.spec.corpus $(if $(LIST),--list) $(CORPUS)

check: $(READY) ## Lint, types, architecture
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/pyright

format: $(READY) ## Put the code into its form
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

bench: $(READY) ## Measure speed: ratios to plain processes, the engine's own time a step, a plan of many steps
	$(BIN)/python tests/bench/bench.py
	$(BIN)/python tests/bench/engine_overhead.py

bench-azure: $(READY) ## Measure what waiting for Azure ML costs: API calls, reaction time, memory of 200 flow runs
	$(BIN)/python tests/bench/azure_ml.py

bench-watcher: $(READY) ## Measure what following 1,000 suspended flow runs costs: memory, API calls, delay
	$(BIN)/python tests/bench/watcher.py

bench-drift: $(READY) ## Measure how often the watch over incoming data is wrong, and how long it takes
	$(BIN)/python tests/bench/drift.py

bench-rows: $(READY) ## Measure time and memory of prep and train up to 10 million rows
	$(BIN)/python tests/bench/rows.py

bench-serving: $(READY) ## Measure serving beside `mlflow models serve`, requests during rollouts, and `tandem score`
	$(BIN)/python tests/bench/serving.py
	$(BIN)/python -m tests.rollout
	$(BIN)/python tests/bench/batch_scoring.py

clean: ## Delete the local state (runs, models, caches of steps) where TANDEM_HOME says, else .tandem and outputs
	@test -x $(BIN)/tandem || { echo "There is no environment in $(VENV), which knows what runs. Nothing was deleted: make env, then make clean." >&2; exit 1; }
	$(BIN)/tandem state clean
	@test -n "$$TANDEM_HOME" || rm -rf outputs
