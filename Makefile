# `make demo` and `make test` work on a fresh clone with nothing but Python and pip.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
# The pins are those of Python 3.11, which CI runs; other versions resolve from the ranges.
PINS := $(shell $(PYTHON) -c 'import sys; print("-c constraints.txt" if sys.version_info[:2] == (3, 11) else "")')

.PHONY: help install demo test lint unit test-slow soak test-jetpack6 test-aarch64 test-systemd gpu-check reproduce peers clean

help:  ## Show this list
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 16

install: $(STAMP)  ## Make .venv with everything that development needs

$(STAMP): pyproject.toml constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check $(PINS) -e '.[dev]'
	touch $(STAMP)

demo: $(STAMP)  ## Train, export, calibrate and run on real photographs; leaves demo-out/report.html
	$(BIN)/python benchmarks/demo.py --out demo-out

test: lint unit  ## Every check: style, types, dependency rules, tests

lint: $(STAMP)  ## Style, types and dependency rules
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	MYPYPATH=benchmarks $(BIN)/mypy --explicit-package-bases benchmarks/*.py
	$(BIN)/lint-imports --no-logo

# A file's tests stay together, so that they share what they make. Two of them beside each other fill two
# cores, since the models of the tests are too small for several threads.
JOBS ?= 2

unit: $(STAMP)  ## The tests, without the slow ones; JOBS=1 runs them one by one
	OMP_NUM_THREADS=1 REQUIRE_SYSTEM=$(REQUIRE_SYSTEM) $(BIN)/python -m pytest -m 'not slow' -n $(JOBS) --dist loadfile

test-slow: $(STAMP)  ## Full-size models: ViT-L at 336 and 518 px (half an hour, 12 GB)
	$(BIN)/python -m pytest -m slow --timeout 3600

gpu-check: $(STAMP)  ## Everything that wants an NVIDIA GPU, in one JSON to send back
	$(BIN)/python benchmarks/gpu_check.py --out gpu-check.json

SOAK_MINUTES ?= 480
SOAK := .soak

soak: $(STAMP)  ## Hours of a line whose camera breaks all the time: nothing may grow (SOAK_MINUTES=480)
	$(BIN)/zsad-export --method clip --fp32 --no-engine --out $(SOAK)/clip
	$(BIN)/python benchmarks/soak.py $(SOAK)/clip --minutes $(SOAK_MINUTES) --json $(SOAK)/soak.json

# A device has no torch and no exporter, so an artifact is exported first, as it would be for one.
JETPACK6_PYTHON ?= python3.10
JETPACK6 := .venv-jetpack6

test-jetpack6: $(STAMP)  ## The device's tests on what JetPack 6 has: Python 3.10, numpy 1.26, OpenCV 4.8
	@$(JETPACK6_PYTHON) -c 'import sys; assert sys.version_info[:2] == (3, 10)' || { echo 'this wants Python 3.10: JETPACK6_PYTHON=/path/to/python3.10'; exit 2; }
	test -x $(JETPACK6)/bin/python || $(JETPACK6_PYTHON) -m venv $(JETPACK6)
	$(JETPACK6)/bin/python -m pip install --quiet --disable-pip-version-check -c constraints-jetpack6.txt \
		-e '.[rtx,line]' onnx pytest pytest-timeout scipy
	$(BIN)/zsad-export --method clip --fp16 --no-engine --out $(JETPACK6)/clip
	ZSAD_TEST_ARTIFACT=$(CURDIR)/$(JETPACK6)/clip $(JETPACK6)/bin/python -m pytest \
		tests/runtime tests/calibration tests/device -m 'not slow'

AARCH64 := .aarch64

test-aarch64: $(STAMP)  ## The device's tests on aarch64 under qemu-user (Debian or Ubuntu, 3 minutes)
	$(BIN)/zsad-export --method clip --fp16 --no-engine --out $(AARCH64)/clip
	.ci/aarch64 $(AARCH64) $(AARCH64)/clip

SYSTEMD := .systemd

test-systemd: $(STAMP)  ## The unit under a real systemd, in a container (root on Debian, 3 minutes)
	$(BIN)/zsad-export --method clip --no-engine --out $(SYSTEMD)/clip
	.ci/systemd $(SYSTEMD) $(SYSTEMD)/clip

# The papers' backbone; on a GPU. Example: make reproduce SET=mvtec DATA=/data WEIGHTS=ViT-L.pt
BACKBONE ?= ViT-L-14-336-quickgelu
WEIGHTS ?= openai
SIZE ?= 518
PAPER ?= dive
METHOD ?= $(PAPER)

reproduce: $(STAMP)  ## A paper's row for who has weights and data: SET=mvtec DATA=DIR
	@test -n '$(SET)' -a -n '$(DATA)' || { echo 'name the data set and the folder of all: make reproduce SET=mvtec DATA=DIR'; exit 2; }
	mkdir -p runs
	$(BIN)/python benchmarks/accuracy.py --paper $(PAPER) --method $(METHOD) --set $(SET) --root $(DATA) \
		--backbone $(BACKBONE) --pretrained $(WEIGHTS) --image-size $(SIZE) \
		--work runs/$(PAPER)-$(SET) --json runs/$(PAPER)-$(SET).json

PEERS := .venv-peers

$(PEERS)/.installed: benchmarks/peers-requirements.txt
	test -x $(PEERS)/bin/python || $(PYTHON) -m venv $(PEERS)
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check -r benchmarks/peers-requirements.txt
	$(PEERS)/bin/python -m pip install --quiet --disable-pip-version-check --no-deps anomavision==3.6.2 easydict==1.13
	touch $@

peers: $(STAMP) $(PEERS)/.installed  ## What a user would pick instead, side by side (another 6 GB)
	$(BIN)/python benchmarks/peers.py --peers-python $(PEERS)/bin/python --backend cpu --backend openvino \
		--precision fp32 --precision int8 --json $(PEERS)/peers.json

clean:  ## Remove what the commands above left, the environment included
	rm -rf $(VENV) $(PEERS) $(JETPACK6) $(AARCH64) $(SYSTEMD) $(SOAK) demo-out dist build .mypy_cache .ruff_cache .pytest_cache .import_linter_cache
