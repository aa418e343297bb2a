# Front door: each target does its own set-up, is safe to repeat, and does little when there is little to do.
SHELL := /bin/bash
BUILD := build/release
SAMPLE := sample.safetensors
DEVICE := best
PYTHON := python3
JOBS := $(shell nproc)
TOOLKIT = export PATH="$$(tools/toolkit_path.sh):$$PATH"

.DEFAULT_GOAL := help
.PHONY: help setup setup-test build run test test-all test-corpus test-vllm test-gpu test-wheel test-aarch64 wheel format format-check clean

help:  ## this list
	@echo "make run        set up, build, write $(SAMPLE) if there is none, check every operation on the best device"
	@echo "make test       set up, build everything, run all tests"
	@echo "make test-all   the same, with every kernel compiled by every compiler and several releases of NVRTC for every target (hours)"
	@echo "make test-corpus    the emulator runs small CUDA programs by every compiler for every target; prints a table (half an hour)"
	@echo "make test-vllm      vLLM's own Python code drives the drop-in, on emulated boards (the first time it fetches 340 MB)"
	@echo "make test-gpu       the Python package on a GPU of SM 9.0 or 12.x, by PYTHON, which has a CUDA build of torch and pytest"
	@echo "make test-wheel     builds this machine's wheel, installs it in a clean environment and runs the Python tests there"
	@echo "make test-aarch64   part of the tests, cross-compiled for aarch64 and run by qemu"
	@echo "make wheel      release wheels for x86-64 and aarch64, in dist/"
	@echo "make build      set up and build without running anything"
	@echo "make format     clang-format the C++ and CUDA sources (format-check: only say what would change)"
	@echo "make clean      remove the build folder and the sample (the Python environment stays)"
	@echo "variables:      DEVICE=cuda|emu:sm_120a|... SAMPLE=FILE JOBS=N BUILD=FOLDER PYTHON=PROGRAM"

setup:
	@tools/setup.sh run

setup-test:
	@tools/setup.sh test

$(BUILD)/build.ninja:
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release

build: setup
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j$(JOBS)

run: setup
	@$(MAKE) --no-print-directory $(BUILD)/build.ninja
	@ninja -C $(BUILD) -j$(JOBS) deepwell
	@if [ ! -f "$(SAMPLE)" ]; then \
	  $(BUILD)/deepwell sample --out "$(SAMPLE).part" && mv "$(SAMPLE).part" "$(SAMPLE)"; fi
	@echo "== built-in cases"; $(BUILD)/deepwell check --device "$(DEVICE)" --quick; built_in=$$?; \
	echo "== layers of $(SAMPLE)"; $(BUILD)/deepwell check --device "$(DEVICE)" --model "$(SAMPLE)"; model=$$?; \
	exit $$((built_in > model ? built_in : model))

test: setup-test
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release > /dev/null
	@ninja -C $(BUILD) -j$(JOBS)
	@$(TOOLKIT) && python3 tools/run_tests.py $(BUILD) --jobs $(JOBS)

test-all: setup-test
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release > /dev/null
	@ninja -C $(BUILD) -j$(JOBS)
	@$(TOOLKIT) && DEEPWELL_COMPILE_ALL=1 python3 tools/run_tests.py $(BUILD) --jobs $(JOBS)
	@tools/compile_releases.sh $(BUILD) all

test-corpus: setup-test
	@cmake -S . -B $(BUILD) -G Ninja -DCMAKE_BUILD_TYPE=Release > /dev/null
	@ninja -C $(BUILD) -j$(JOBS) corpus_tests
	@$(TOOLKIT) && tests/corpus/run_all.sh $(BUILD)

test-vllm: build
	@python3 tools/run_vllm_client.py --deepwell $(BUILD)/python

test-gpu:
	@DEEPWELL_TEST_DEVICE=cuda DEEPWELL_DEEP_GEMM=always PYTHONPATH=$(PYTHONPATH):$(BUILD)/python $(PYTHON) -m pytest -q \
	  -p no:cacheprovider tests/python/test_kernels.py tests/python/test_hc_prenorm.py tests/python/gpu

test-wheel:
	@tools/test_wheel.sh

test-aarch64:
	@JOBS=$(JOBS) tools/test_aarch64.sh

wheel:
	@tools/build_wheel.sh

format:
	@git ls-files '*.cpp' '*.hpp' '*.h' '*.cuh' | xargs -r clang-format-14 -i

format-check:
	@git ls-files '*.cpp' '*.hpp' '*.h' '*.cuh' | xargs -r clang-format-14 --dry-run --Werror

clean:
	@rm -rf $(BUILD) "$(SAMPLE)" "$(SAMPLE).part"
