# make demo | make test | make check | make bench : see README.md
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
export PATH := $(CURDIR)/$(BIN):$(PATH)

.PHONY: demo test quick check bench protos ui fresh clean

$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "installing Python packages ..."
	@$(BIN)/python -m pip install -q --disable-pip-version-check -e ".[dev]" -c constraints.txt 2>&1 | grep -v "is ignored" || true
	@$(BIN)/python -c "import telemed, fastapi, aiortc, amqtt, pytest"
	@touch $@

protos: $(VENV)/.installed
	@$(BIN)/python -m grpc_tools.protoc -I protos --python_out protos --mypy_out protos protos/telemed/v1/*.proto
