# From a fresh clone, with Python 3.10+, a C++ compiler and make:
#
#     make demo        build, then compare importance sampling with uniform sampling on Two Circles
#     make test        build, then lint, type check and test
#     make docs        build the site of README's links into build/site
#     make sanitize    the tests under AddressSanitizer and UBSan
#     make wheel       a wheel for all CPUs and this torch's release into build/wheel; for Linux
#     make wheel-check install that beside its torch, use it there, and collect the sdist's tests
#     make cuda-check  build with CUDA (no GPU needed), look at what kernels take, and test on the CPU
#     make bench-guard build, then ratios of operators to peers: any worse than committed?
#     make clean       remove what was built (`rm -r .venv` removes the environment)
#
# Variables: PYTHON, the interpreter that makes .venv; TORCH, the torch that pip is asked for (its
# options may follow, as in TORCH="torch==2.13.0 --extra-index-url URL"); CUDA_TORCH, the same for
# cuda-check; CUDA_GPUS, those it compiles for.

PYTHON ?= python3
TORCH ?= torch==2.13.0
CUDA_TORCH ?= torch==2.14.1 torchvision==0.29.1
CUDA_GPUS ?= 8.0;9.0+PTX

VENV := .venv
BIN := $(VENV)/bin
export PIP_DISABLE_PIP_VERSION_CHECK := 1

CPP := $(shell find csrc -name '*.cpp' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' -o -name '*.metal')
TEST_CPP := $(shell find tests -name '*.h' -o -name '*.cpp')
# Changes when another torch is installed by hand, which calls for another build.
TORCH_HERE := $(wildcard $(VENV)/lib/python3*/site-packages/torch/version.py)

.PHONY: demo test bench-guard lint docs sanitize wheel wheel-check cuda-check build clean FORCE
.DELETE_ON_ERROR:

demo: build
	$(BIN)/python -m bench compare two-circles

test: lint
	$(BIN)/python -m pytest

bench-guard: build
	$(BIN)/python -m bench guard

lint: build
	$(BIN)/ruff check
	$(BIN)/ruff format --check
	$(BIN)/mypy --strict impsamp_fast
	$(BIN)/clang-format --dry-run -Werror $(CPP) $(TEST_CPP)

docs: build
	NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict

# A separate build, in a folder of its own: the one in the source tree stays as it is. Python itself
# is not instrumented, so the runtime is preloaded, and what Python never frees is not reported.
SANITIZED := build/sanitize
RUNTIME = $(shell $(CXX) -print-file-name=lib$(1).so)

sanitize: build
	IMPSAMP_SANITIZE=1 $(BIN)/python setup.py --quiet build --build-lib $(SANITIZED)
	LD_PRELOAD=$(call RUNTIME,asan):$(call RUNTIME,ubsan) \
		ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1 \
		$(BIN)/pytest -o pythonpath="$(SANITIZED) ." --ignore tests/packaging/test_build.py

# libtorch and the OpenMP library are torch's own; a second copy would have threads of its own.
WHEEL := build/wheel

wheel: build
	rm -rf $(WHEEL) build/lib.*  # which would still have modules that are gone
	IMPSAMP_WHEEL=1 $(BIN)/python -m build --quiet --wheel --no-isolation --outdir $(WHEEL)/as-built
	PATH="$(BIN):$$PATH" $(BIN)/python -m auditwheel repair --wheel-dir $(WHEEL) \
		--exclude 'libtorch*' --exclude 'libc10*' --exclude 'libcudart*' --exclude libgomp.so.1 \
		$(WHEEL)/as-built/*.whl

# An environment that sees torch and the tools in .venv, but not the source tree that is installed
# there.
WHEEL_VENV := build/wheel-venv
SITE := -c 'import sysconfig; print(sysconfig.get_path("purelib"))'

wheel-check: wheel
	rm -rf $(WHEEL_VENV) build/sdist
	$(BIN)/python -m venv $(WHEEL_VENV)
	$(BIN)/python $(SITE) > "$$($(WHEEL_VENV)/bin/python $(SITE))/tools.pth"
	$(WHEEL_VENV)/bin/pip install --quiet $(WHEEL)/*.whl
	cd / && $(CURDIR)/$(WHEEL_VENV)/bin/python $(CURDIR)/tests/packaging/use_installed.py
	$(BIN)/python -m build --quiet --sdist --no-isolation --outdir build/sdist
	cd build/sdist && tar --extract --strip-components 1 --file *.tar.gz
	cp impsamp_fast/_C*.so impsamp_fast/_built_with.py build/sdist/impsamp_fast
	cd build/sdist && $(abspath $(BIN))/python -m pytest --collect-only -qq > /dev/null

# The same in a copy of the source tree, by an environment with a CUDA build of torch. ptxas tells of
# what it compiles, so all of it is compiled whenever a source has changed. The tests left out are
# those that compile the kernels or run the benchmarks themselves, and those of trainers, figures
# and pages.
CUDA_VENV := .venv-cuda
CUDA_PYTHON := $(CURDIR)/$(CUDA_VENV)/bin/python
CUDA_COPY := build/cuda
COPY = tar --create --exclude '*.so' --exclude _built_with.py --exclude __pycache__ \
	setup.py pyproject.toml MANIFEST.in README.md LICENSE csrc impsamp_fast bench tests \
	| tar --extract --directory $(CUDA_COPY)
CUDA_UNTESTED := bench cuda examples metal integrations pages plot packaging/test_build.py

cuda-check: $(CUDA_COPY)/log
	$(CUDA_PYTHON) tests/cuda/cuda_resources.py $<
	$(CUDA_PYTHON) -c 'import torchvision'  # beside which the data sets of bench can be loaded
	rm -rf $(CUDA_COPY)/bench $(CUDA_COPY)/tests  # files that were moved since the last time
	find $(CUDA_COPY)/impsamp_fast -name '*.py' -not -name _built_with.py -delete
	$(COPY)
	cd $(CUDA_COPY) && $(CUDA_PYTHON) -m pytest \
		$(addprefix --ignore=tests/,$(CUDA_UNTESTED))

$(CUDA_COPY)/log: $(CUDA_VENV)/ready setup.py pyproject.toml $(CPP)
	rm -rf $(CUDA_COPY)
	mkdir -p $(CUDA_COPY)
	$(COPY)
	cd $(CUDA_COPY) && IMPSAMP_CUDA=1 TORCH_CUDA_ARCH_LIST='$(CUDA_GPUS)' \
		$(CUDA_PYTHON) setup.py build_ext --inplace > log.part 2>&1 || { cat log.part; false; }
	mv $(CUDA_COPY)/log.part $@

$(CUDA_VENV)/ready: Makefile
	$(PYTHON) -m venv $(CUDA_VENV)
	$(CUDA_PYTHON) -m pip install --upgrade pip
	$(CUDA_PYTHON) -m pip install 'setuptools>=77' ninja $(CUDA_TORCH) \
		hypothesis mpmath numpy pytest scipy torchdata
	touch $@

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
