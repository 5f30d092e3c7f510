# The two commands of a newcomer are `make demo` and `make test`; both install what they need first.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
DEMO := demo
PORT ?= 0

.PHONY: install demo test test-slow lint bases clean

install: $(VENV)/installed

# torch comes first and pinned: a plain requirement would pull gigabytes of CUDA on some machines.
$(VENV)/installed: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --disable-pip-version-check torch==2.13.0 --constraint constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable ".[all,dev]"
	touch $@

demo: install
	@BIN=$(CURDIR)/$(BIN) DEMO=$(DEMO) PORT=$(PORT) sh $(CURDIR)/specs/demo.sh

test: install
	$(BIN)/pytest --numprocesses logical --maxprocesses 8 --dist loadgroup

test-slow: install
	$(BIN)/pytest -m slow

lint: install
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy
	$(BIN)/lint-imports

bases: install
	$(BIN)/python specs/bases/pretrain.py qwen2_5_vl-tiny --out build/bases/qwen2_5_vl-tiny
	$(BIN)/python specs/bases/pretrain.py llava-tiny --out build/bases/llava-tiny

clean:
	rm -rf $(DEMO) out build .pytest_cache .mypy_cache .ruff_cache
