# Two commands for a user (demo, test), one for a developer (check).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_OUTPUT ?= demo_output

# Threads that wait by spinning slow each other down sixfold where the cores are shared.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test check install

demo: install
	$(BIN)/mdcsd demo --output "$(DEMO_OUTPUT)" $(if $(VIDEO),--video "$(VIDEO)")

test: install
	$(BIN)/python -m pytest

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/kubernetes-validate --strict docker/kubernetes/*.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

install: $(VENV)/installed

$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@
