# make demo: the whole road once, from nothing. make check and make test: what CI runs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
JOBS ?= 2
SERVERS ?= mlserver kserve litserve triton bentoml vllm
LOCK := uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-header --no-annotate --no-emit-index-url --quiet

.PHONY: demo test test-unit test-long check bench fmt lock clean

demo: $(VENV)/.demo
	$(BIN)/titleshot demo $(ARGS)

test: $(VENV)/.dev
	$(BIN)/pytest tests -n $(JOBS) --dist loadfile $(ARGS)

test-unit: $(VENV)/.dev
	$(BIN)/pytest tests/unit -n $(JOBS) $(ARGS)

# What takes too long for every change: a hundred kills (half an hour), vLLM, the laws with sixty times as many examples;
# and every cell of the matrix, into docs/matrix.md.
# Makes the environments of the model servers that are not there yet: vLLM's has 2.5 GB.
test-long: $(VENV)/.dev
	eval "$$(PYTHON='$(PYTHON)' .ci/servers $(SERVERS))"; $(BIN)/pytest tests -m "long or cell" --matrix docs/matrix.md $(ARGS)
	HYPOTHESIS_PROFILE=thorough $(BIN)/pytest tests/unit -n $(JOBS) $(ARGS)

check: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports

# Beside the peers in requirements/bench.txt: gcc, nginx and haproxy, as far as they are installed.
bench: $(VENV)/.bench
	$(BIN)/python bench/peers.py --write $(ARGS)

fmt: $(VENV)/.dev
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Bounds live in pyproject.toml; these files pin what was tested, by hash, and name no index. Needs uv (pip install uv).
lock:
	$(LOCK) --extra demo -o requirements/demo.txt
	$(LOCK) --extra demo --extra dev -o requirements/dev.txt
	$(LOCK) --extra bench --constraint requirements/dev.txt -o requirements/bench.txt

$(BIN)/python:
	@command -v $(PYTHON) >/dev/null || { echo "make: $(PYTHON) is missing: apt-get install python3" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "make: Python 3.11 or newer is needed, this is $$($(PYTHON) -V): make PYTHON=python3.11 ..." >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { echo "make: Python's venv is missing: apt-get install python3-venv" >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.demo: $(BIN)/python requirements/demo.txt pyproject.toml
	$(BIN)/pip install --disable-pip-version-check --quiet --require-hashes -r requirements/demo.txt
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps -e .
	@touch $@

$(VENV)/.dev: $(BIN)/python requirements/dev.txt pyproject.toml
	$(BIN)/pip install --disable-pip-version-check --quiet --require-hashes -r requirements/dev.txt
	$(BIN)/pip install --disable-pip-version-check --quiet --no-deps -e .
	@touch $@ $(VENV)/.demo

$(VENV)/.bench: $(VENV)/.dev requirements/bench.txt
	$(BIN)/pip install --disable-pip-version-check --quiet --require-hashes -r requirements/bench.txt
	@touch $@

clean:
	rm -rf $(VENV) .mypy_cache .ruff_cache .pytest_cache .hypothesis
