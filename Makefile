# `make demo` and `make test` do all their set-up. PYTHON picks the interpreter (3.10 to 3.13) of .venv,
# SHARED the folder with recordings and networks.
PYTHON ?= python3
SHARED ?= ../shared
# Tests wait for topics and processes much of the time: three share two cores well.
TEST_PROCESSES ?= 3

BIN := .venv/bin
DEMO := out/demo

# An environment inherited from a Python of another venv with ROS wheels would load that one's libraries.
ifdef _ROS_WHEELS_BOOTSTRAP_COMPLETE
unexport _ROS_WHEELS_BOOTSTRAP_COMPLETE LD_LIBRARY_PATH
endif

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup demo demo-real recordings test lint format clean distclean

help: ## Say what the targets do
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/  make \1\t\2/p' $(firstword $(MAKEFILE_LIST)) | expand -t 20

setup: ## Make .venv with everything in it: ROS 2, its messages, the libraries, avperception
	@$(PYTHON) tools/setup_environment.py

demo: setup ## Show the whole job on a synthetic road; the page is out/demo/report.html
	@$(BIN)/avperception demo --out $(DEMO)

demo-real: setup recordings ## The same on the recordings of ../shared, with YOLOX-Nano and TwinLiteNet
	$(BIN)/avperception models pull yolox_nano --from $(SHARED)/models/yolox_nano_416.onnx
	$(BIN)/avperception models pull twinlitenet --from $(SHARED)/models/twinlitenet_360x640.onnx
	@mkdir -p $(DEMO)_kitti
	$(BIN)/avperception convert kitti $(SHARED)/data/kitti/training $(DEMO)_kitti/kitti.mcap --force
	$(BIN)/avperception demo --real $(DEMO)_kitti/kitti.mcap --out $(DEMO)_kitti
	$(BIN)/avperception demo --real $(SHARED)/data/video/solidWhiteRight.mp4 --out $(DEMO)_video

recordings:
	@test -d $(SHARED)/data || { echo "make demo-real: no recordings in $(SHARED): name their folder with" \
		"\`make demo-real SHARED=FOLDER\`, or play your own: \`$(BIN)/avperception demo --real BAG\`" >&2; exit 2; }

test: lint ## Run all checks and tests
	$(BIN)/python -m pytest -n $(TEST_PROCESSES) --dist loadfile

lint: setup ## Check style and types
	$(BIN)/python -m ruff check .
	$(BIN)/python -m ruff format --check .
	$(BIN)/python -m mypy

format: setup ## Bring the code into the project's style
	$(BIN)/python -m ruff check --fix .
	$(BIN)/python -m ruff format .

clean: ## Remove what was computed: recordings, builds, caches
	rm -rf out build install log dist .mypy_cache .pytest_cache .ruff_cache .hypothesis

distclean: clean ## Remove .venv as well
	rm -rf .venv
