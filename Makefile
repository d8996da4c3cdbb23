# make demo | make test | make check | make bench : see README.md
SHELL := /bin/bash
.SHELLFLAGS := -eu -o pipefail -c
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
UI := cloud_hub/web/ui
PROVIDER := tests/oidc_provider
PIP := $(BIN)/python -m pip install -q --disable-pip-version-check --no-warn-script-location
# What is installed has the very bytes that were locked; our own package is linked into place, its builder locked too.
INSTALL := $(PIP) --require-hashes -r
OURSELVES := $(PIP) --no-deps --no-build-isolation -e .
UI_SOURCES := $(shell find $(UI)/src $(UI)/*.json $(UI)/*.ts $(UI)/*.html $(UI)/*.mjs -type f 2>/dev/null)
export PATH := $(CURDIR)/$(BIN):$(PATH)
# Set PORT_OFFSET to run a second demo beside the first; RECORD plays a WFDB or EDF record.
export PORT_OFFSET ?= 0
export RECORD ?=
# Compiled once, not in each of the hundreds of processes that tests start; pytest collects in two thirds of the time.
unexport PYTHONDONTWRITEBYTECODE
HOURS ?= 72

.PHONY: demo test quick check bench chaos transfers drain fuzz fuzz-http torch train-cmb lock sbom protos ui fresh gpu clean debian provider

demo: $(VENV)/.demo $(UI)/dist/.built
	@exec $(BIN)/python -m deploy.demo

test: $(VENV)/.dev debian provider $(UI)/dist/.built check torch
	@echo "== fast tests"
	@$(BIN)/python -m pytest -q -n 2 --maxschedchunk 8 -m "not slow and not browser"
	@echo "== tests with real processes, brokers, databases and a browser"
	@$(BIN)/python -m pytest -q -n 2 --dist loadscope -m "slow or browser"

quick: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -n 2 -m "not slow and not browser and not fuzz"

check: $(VENV)/.dev $(UI)/dist/.built
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports
	@cd $(UI) && npm run --silent check

bench: $(VENV)/.dev debian $(UI)/dist/.built
	@$(BIN)/python -m bench

# Kills edge, hub and broker for so many minutes and adds to bench/chaos.md; needs root (namespaces).  OF=bundle: each
# episode is one in which model bundles come, OF=renewal: one whose certificates end, OF=plain: none of these.
chaos: $(VENV)/.dev debian
	@$(BIN)/python -m tests.faults.chaos --minutes $(or $(MINUTES),10) $(if $(SEED),--seed $(SEED)) $(if $(OF),--of $(OF))

# So many studies by C-STORE while receivers, workers of models, node and hub are killed; the result is bench/transfers.md.
transfers: $(VENV)/.dev debian
	@$(BIN)/python -m tests.faults.transfers --studies $(or $(STUDIES),200)

# Three days of measurements written and drained, the drain ten times as fast as in life; Linux, root; an hour or two.
drain: $(VENV)/.dev debian $(UI)/dist/.built
	@$(BIN)/python -m bench.drain --hours $(HOURS)

# Every reader of foreign bytes for so many seconds, by coverage; the corpus grows in var/fuzz, the result is bench/fuzz.md.
fuzz: $(VENV)/.fuzz
	@$(BIN)/python -m tests.fuzz --seconds $(or $(SECONDS),600) $(if $(ONLY),--only $(ONLY))

# So many requests of each operation of both faces as their OpenAPI documents have them, and spoilt.
fuzz-http: $(VENV)/.dev $(UI)/dist/.built
	@FACES_EXAMPLES=$(or $(EXAMPLES),200) $(BIN)/python -m pytest -q tests/flows/test_openapi.py

# What training needs: torch only in its build for CPUs, where one is at hand; else tests of training are skipped by name.
torch: $(VENV)/.dev
	@$(BIN)/python -c 'import torch, onnx, onnxscript, onnxruntime, safetensors' 2>/dev/null || \
		$(PIP) "torch==2.13.0+cpu" "onnx>=1.23" "onnxscript>=0.7" "onnxruntime>=1.31" "safetensors>=0.8" \
			2> >(grep -v "is ignored" >&2) || \
		echo "torch 2.13.0 for CPUs is not at hand; tests of training are skipped by name"

# Trains the microbleed detector's three arms with three seeds, the last without phase too, and the regions: over an hour of one core;
# the report is var/models/cmb/ABLATION.md.
train-cmb: torch
	@$(BIN)/python -m models ablate cmb --preset hard --seeds 0-2

# Chooses versions anew only where pyproject.toml asks for it; `make lock UPGRADE=--upgrade` takes the newest.
lock: | $(VENV)/bin/python
	@$(PIP) uv
	@for part in dev fuzz demo edge hub; do \
		echo "locking $$part ..."; \
		$(BIN)/uv pip compile -q pyproject.toml --extra $$part --universal --python-version 3.11 --generate-hashes \
			--no-annotate --no-header $(UPGRADE) $$([ $$part = dev ] || echo "-c deploy/locks/dev.txt") \
			-o deploy/locks/$$part.txt; \
	done

# What the installed packages are: CycloneDX for machines, docs/licences.md for people.
sbom: $(VENV)/.dev $(UI)/dist/.built
	@$(BIN)/python -m deploy.supply

protos: $(VENV)/.dev
	@$(BIN)/python -m grpc_tools.protoc -I protos --python_out protos --mypy_out protos protos/telemed/v1/*.proto
	@$(BIN)/python -m grpc_tools.protoc -I protos --grpc_python_out protos --mypy_grpc_out protos \
		protos/telemed/v1/{transfer,talk,reconcile,enrolment}.proto

ui: $(UI)/dist/.built

# On a machine with an NVIDIA card: every graph, and the bundles named in BUNDLES (a:b:c), by every library that is there.
gpu: $(VENV)/.dev
	@$(BIN)/python -m pytest -q -s tests/gpu

fresh:
	@bash deploy/ci/fresh-clone.sh

# Programs that tests use; what cannot be installed is skipped by name.
debian:
	@bash deploy/ci/debian-programs.sh

# The identity provider of the tests; where npm reaches no registry they are skipped by name.
provider: $(VENV)/.dev
	@cd $(PROVIDER) && { [ node_modules/.package-lock.json -nt package-lock.json ] || \
		npm ci --ignore-scripts --loglevel=error || echo "oidc-provider cannot be installed; its tests are skipped by name"; }

$(VENV)/bin/python:
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "Python 3.11 or newer is needed; name it: make PYTHON=python3.11 ...")'
	@$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: pyproject.toml deploy/locks/demo.txt | $(VENV)/bin/python
	@echo "installing Python packages (demo), about two minutes the first time ..."
	@$(INSTALL) deploy/locks/demo.txt 2> >(grep -v "is ignored" >&2)
	@$(OURSELVES)
	@touch $@

$(VENV)/.dev: pyproject.toml deploy/locks/dev.txt | $(VENV)/bin/python
	@echo "installing Python packages (development), about three minutes the first time ..."
	@$(INSTALL) deploy/locks/dev.txt 2> >(grep -v "is ignored" >&2)
	@$(OURSELVES)
	@touch $(VENV)/.demo $@

$(VENV)/.fuzz: $(VENV)/.dev deploy/locks/fuzz.txt
	@$(INSTALL) deploy/locks/fuzz.txt
	@touch $@

$(UI)/dist/.built: $(UI_SOURCES) | $(VENV)/.demo
	@echo "building the screens ..."
	@cd $(UI) && if ! [ node_modules/.package-lock.json -nt package-lock.json ]; then npm ci --no-audit --no-fund --loglevel=error; fi
	@cd $(UI) && npm run --silent build
	@rm -rf edge_node/bedside/static && mkdir -p edge_node/bedside && cp -r $(UI)/dist/bedside edge_node/bedside/static
	@touch $@

clean:
	@rm -rf var $(UI)/dist $(UI)/node_modules $(PROVIDER)/node_modules edge_node/bedside/static .mypy_cache .ruff_cache .pytest_cache
