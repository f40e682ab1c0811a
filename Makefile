# Every target sets up what it needs from the hashed locks in locks/ and runtimes/*/*/lock.txt.
# Needs: Python 3.11 to 3.13 with venv, a C compiler, and a package index.

PYTHON ?= $(shell for python in python3.11 python3.12 python3.13 python3; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null && { echo $$python; break; }; done)
FRAMEWORKS := agentscope agno crewai langgraph lightagent n8n
EXAMPLE := $(if $(N8N),$(FRAMEWORKS),$(filter-out n8n,$(FRAMEWORKS)))
WANTED = $(filter-out fake,$(or $(FRAMEWORK),$(FRAMEWORKS)))
ROWS ?= 4
PORT ?= 3000
SEEDS ?= 60
SEED ?= 1

VENV := .venv
BIN := $(VENV)/bin
TOOLS := PYTHONPATH=tools $(BIN)/python -m orchestrator_tools
UV := $(BIN)/uv --quiet
PROJECTS := . runtimes/contract gateway marketplace $(FRAMEWORKS:%=runtimes/%)
GUEST_COVERAGE := var/guest-coverage/.installed

# byte code is what makes the second start fast
unexport PYTHONDONTWRITEBYTECODE PYTHONPATH PYTHONHOME VIRTUAL_ENV
export DAGSTER_DISABLE_TELEMETRY := 1
export DEPENDENCY_REVIEW_N8N := $(if $(N8N),1)
SHELL := /bin/sh
.SHELLFLAGS := -eu -c
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

.PHONY: help demo up test check chart browser bench isolation kill published publish-storm cluster-up cluster-down e2e cluster-bench conformance compat runtimes example-runtimes locks format clean

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / { printf "make %-13s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: example-runtimes ## Agents of five frameworks review installed distributions (ROWS=4; N8N=1 adds n8n, five minutes)
	@$(TOOLS).demo --rows $(ROWS)

up: example-runtimes ## Web UI and daemon over the same, until Ctrl-C (PORT=3000; N8N=1 adds n8n)
	@exec env $(TOOLS).services --port $(PORT)

test: $(VENV)/.ready $(GUEST_COVERAGE) runtimes ## Tests, conformance of every runtime, coverage (TESTS=path for only some tests)
	@$(TOOLS).testing $(TESTS)

check: $(VENV)/.ready runtimes ## Formatting, lint, types, layers, spelling
	@$(TOOLS).checks

chart: $(VENV)/.ready ## Tests of the Helm chart, with a Helm that is built from source the first time (four minutes)
	@$(BIN)/python -m pytest -q tests/helm

browser: $(VENV)/.ready ## Web pages in a real browser: Debian's Chromium, which is fetched the first time
	@$(BIN)/python -m pytest -q tests/browser

bench: $(VENV)/.ready runtimes ## Benchmarks; prints ratios to the bare frameworks
	@$(BIN)/python -m benchmarks

isolation: $(VENV)/.ready ## All that Dagster can be asked for, asked by another tenant; counts what it reached (ten minutes)
	@$(TOOLS).isolation

kill: $(VENV)/.ready runtimes ## Kills guests, hosts, gateways and databases at every boundary and at SEEDS random moments (FRAMEWORK=name for one)
	@$(BIN)/python -m kills --seeds $(SEEDS) $(if $(FRAMEWORK),--framework $(FRAMEWORK))

published: $(VENV)/.ready ## An agent in three frameworks is published at a marketplace, runs, is upgraded and withdrawn
	@$(BIN)/orchestrator runtimes install langgraph agno lightagent
	@PYTHONPATH=tools $(BIN)/python -m examples.published_reviewers.walk

publish-storm: $(VENV)/.ready ## Publishes at a real marketplace while daemons, servers and databases are killed; counts what runs (SEED=1; half an hour)
	@PYTHONPATH=tools $(BIN)/python -m storms --seed $(SEED)

cluster-up: $(VENV)/.ready ## A Kubernetes of one node on this machine, built from source the first time (as root; ten minutes, then seconds)
	@$(TOOLS).cluster up

cluster-down: $(VENV)/.ready ## End it and leave nothing but the build cache
	@$(TOOLS).cluster down

e2e: $(VENV)/.ready ## Tests on a Kubernetes: that of KUBECONFIG, else the one of cluster-up (TESTS=path for only some)
	@$(TOOLS).cluster.e2e $(TESTS)

cluster-bench: $(VENV)/.ready ## Figures of a Kubernetes (BENCH=thousand, queue, deploys or leftovers; ARGS for its options)
	@$(TOOLS).cluster.benchmark $(BENCH) $(ARGS)

conformance: $(VENV)/.ready runtimes ## What each runtime is proved to do (FRAMEWORK=name for one)
	@$(BIN)/orchestrator conformance --matrix var/conformance.jsonl $(if $(FRAMEWORK),--framework $(FRAMEWORK),--page docs/conformance.md)

compat: $(VENV)/.ready ## The suite against another upstream version (FRAMEWORK=name VERSION=x.y.z)
	@test -n "$(FRAMEWORK)" -a -n "$(VERSION)" || { echo "usage: make compat FRAMEWORK=name VERSION=x.y.z"; exit 2; }
	@$(BIN)/orchestrator compat $(FRAMEWORK) $(VERSION)

runtimes: $(VENV)/.ready ## Install the environments of all frameworks (FRAMEWORK=name for one)
	@$(if $(WANTED),$(BIN)/orchestrator runtimes install $(WANTED))

example-runtimes: $(VENV)/.ready
	@$(BIN)/orchestrator runtimes install $(EXAMPLE)

locks: $(VENV)/.ready ## Resolve every lock again
	@$(TOOLS).locks

format: $(VENV)/.ready ## Format the code, sort its imports, write the generated files of the chart and the web page
	@$(BIN)/ruff check --quiet --fix . || true
	@$(BIN)/ruff format --quiet .
	@$(TOOLS).chart
	@$(TOOLS).marketplace_page

clean: ## Remove what was made here; the runtimes that projects share stay
	@test ! -e var/cluster || $(TOOLS).cluster down
	rm -rf $(VENV) var dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

# The installer of everything else: it comes with pip, which checks its hash.
$(VENV)/.installer: locks/tools.txt
	@test -n "$(PYTHON)" || { echo "no Python 3.11 to 3.13 found: install one, or name it with PYTHON=path"; exit 1; }
	@echo "making $(VENV) with $(PYTHON)"
	@$(PYTHON) -c 'import ensurepip, venv' || { echo "$(PYTHON) lacks venv: install it, on Debian and Ubuntu the package python3-venv"; exit 1; }
	@$(PYTHON) -m venv --clear $(VENV)
	@$(BIN)/python -m pip install --quiet --require-hashes --only-binary :all: --requirement locks/tools.txt
	@touch $@

$(VENV)/.synced: locks/dev.txt $(VENV)/.installer
	@echo "installing the locked distributions of locks/dev.txt"
	@$(UV) pip sync --python $(BIN)/python --require-hashes --compile-bytecode locks/dev.txt
	@touch $@

$(VENV)/.ready: $(VENV)/.synced $(PROJECTS:%=%/pyproject.toml)
	@echo "installing the packages of this repository, editable"
	@$(UV) pip install --python $(BIN)/python --no-deps --no-build-isolation $(PROJECTS:%=--editable %)
	@touch $@

$(GUEST_COVERAGE): locks/guest-test.txt $(VENV)/.installer
	@echo "installing coverage for guests"
	@rm -rf $(@D)
	@$(UV) pip install --python $(BIN)/python --target $(@D) --require-hashes --compile-bytecode --requirement locks/guest-test.txt
	@touch $@
