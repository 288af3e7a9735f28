# From a fresh clone, with Python 3.10+, a C++ compiler and make:
#
#     make demo       build, then compare importance sampling with uniform sampling on Two Circles
#     make test       build, then lint, type check and test
#     make sanitize   the tests under AddressSanitizer and UBSan
#     make clean      remove what was built (`rm -r .venv` removes the environment)
#
# Variables: PYTHON, the interpreter that makes .venv; TORCH, the torch that pip is asked for (its
# options may follow, as in TORCH="torch==2.13.0 --extra-index-url URL").

PYTHON ?= python3
TORCH ?= torch==2.13.0

VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

CPP := $(shell find csrc -name '*.cpp' -o -name '*.h')
# Changes when another torch is installed by hand, which calls for another build.
TORCH_HERE := $(wildcard $(VENV)/lib/python3*/site-packages/torch/version.py)

.PHONY: demo test lint sanitize build clean FORCE
.DELETE_ON_ERROR:

demo: build
	$(BIN)/python -m bench compare two-circles

test: lint
	$(BIN)/python -m pytest

lint: build
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict impsamp_fast
	$(BIN)/clang-format --dry-run -Werror $(CPP)

# A separate build, in a folder of its own: the one in the source tree stays as it is. Python itself
# is not instrumented, so the runtime is preloaded, and what Python never frees is not reported.
SANITIZED := build/sanitize
RUNTIME = $(shell $(CXX) -print-file-name=lib$(1).so)

sanitize: build
	IMPSAMP_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-lib $(SANITIZED)
	LD_PRELOAD=$(call RUNTIME,asan):$(call RUNTIME,ubsan) \
		ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
		$(BIN)/pytest -o pythonpath="$(SANITIZED) ." --ignore tests/test_build.py

clean:
	rm -rf build dist *.egg-info impsamp_fast/*.so impsamp_fast/_built_with.py $(VENV)/built

build: $(VENV)/built

# Written when torch, the tools and the extension are all in place.
$(VENV)/built: $(VENV)/torch setup.py pyproject.toml impsamp_fast/__init__.py $(CPP) $(TORCH_HERE)
	$(BIN)/pip install --no-build-isolation --editable '.[dev]'
	touch $@

# Before the build, which compiles against torch and is not isolated from this environment.
$(VENV)/torch: $(VENV)/request
	$(BIN)/pip install --upgrade pip
	$(BIN)/pip install 'setuptools>=77' ninja $(TORCH)
	touch $@

# Rewritten only when TORCH asks for something else than last time.
$(VENV)/request: FORCE | $(VENV)/pyvenv.cfg
	@echo '$(TORCH)' | cmp --quiet - $@ || echo '$(TORCH)' > $@

$(VENV)/pyvenv.cfg:
	$(PYTHON) -m venv $(VENV)
