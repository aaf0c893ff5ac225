# Two commands for a user (demo, test), three for a developer (check, browser-test, fuzz-api).
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
DEMO_OUTPUT ?= demo_output

# Threads that wait by spinning slow each other down sixfold where the cores are shared.
export OMP_WAIT_POLICY ?= PASSIVE

.PHONY: demo test check browser-test fuzz-api install

demo: install
	$(BIN)/mdcsd demo --output "$(DEMO_OUTPUT)" $(if $(VIDEO),--video "$(VIDEO)")

test: install
	$(BIN)/python -m pytest

# Chromium comes by apt where that may install, else the one on PATH is used; axe-core by npm.
browser-test: install
	@command -v chromium && command -v chromedriver || \
	    { test "$$(id -u)" = 0 && apt-get update && \
	      apt-get install -y --no-install-recommends chromium chromium-driver fonts-dejavu-core; } || \
	    { echo "browser-test: no chromium and chromedriver on PATH, and no apt to bring them."; exit 1; }
	npm ci --prefix tests/browser --no-audit --no-fund
	MDCSD_BROWSER_TEST=1 $(BIN)/python -m pytest -n 0 tests/browser

fuzz-api: install
	$(BIN)/python tests/fuzz_api.py 600 $(SEED)

check: install
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/hadolint docker/Dockerfile
	$(BIN)/kubernetes-validate --strict docker/kubernetes/*.yaml
	$(BIN)/check-jsonschema --builtin-schema vendor.compose-spec docker/compose.yaml

install: $(VENV)/installed

# TORCH_INDEX=https://download.pytorch.org/whl/cpu leaves out CUDA's libraries, on Linux 4 GB.
$(VENV)/installed: pyproject.toml
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(if $(TORCH_INDEX),$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	    --index-url "$(TORCH_INDEX)" torch torchvision)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[dev]'
	touch $@
