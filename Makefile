# mmlesion: `make install`, `make test`, `make demo`; `make help` lists the rest.
# requirements/install.sh describes the variables of the setup (PYTHON, TORCH, CUDA,
# JOBS). Pass them as `make install TORCH=torch==2.8.0`.
SHELL := /bin/sh
PY := .venv/bin/python
export PYTHON TORCH CUDA JOBS

DEMO_CONFIG ?= configs/phantom/phantom_3dce_csatt_15slice.py
DEMO_DIR ?= work_dirs/demo
# Path in the configs of configs/phantom.
DEMO_DATA := data/phantom/DeepLesion
DEMO_SCANS := data/phantom/scans
DEMO_SIZE ?= --train 400 --val 60 --test 150 --size 160
DEMO_SEED ?= 0
PYTEST_ARGS ?=

.PHONY: help install test lint demo demo-clean benchmark wheel wheelhouse lock \
    lock-check audit docs clean

help:  ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## /\1\t/p' Makefile | expand -t 14

install:  ## set up .venv; compiles MMCV's operators once
	@sh requirements/install.sh

test: install  ## run all tests, e.g. make test PYTEST_ARGS='-n 0 -k froc'
	$(PY) -m pytest -n auto --dist loadscope $(PYTEST_ARGS)

lint: install  ## check style, docstrings, complexity and types
	$(PY) -m ruff check .
	$(PY) -m ruff format --check .
	$(PY) -m basedpyright

demo: install  ## generate CT data, train, test by FROC, report a whole scan
	$(PY) tools/make_phantom.py deeplesion --out $(DEMO_DATA) $(DEMO_SIZE) \
	    --seed $(DEMO_SEED) --workers "$$(getconf _NPROCESSORS_ONLN)"
	@test -f $(DEMO_DIR)/trained || { \
	$(PY) tools/train.py $(DEMO_CONFIG) --work-dir $(DEMO_DIR) --resume && \
	touch $(DEMO_DIR)/trained; }
	$(PY) tools/test.py $(DEMO_CONFIG) "$$(ls -t $(DEMO_DIR)/best_*.pth | head -n 1)" \
	    --work-dir $(DEMO_DIR) --show-dir $(DEMO_DIR)/pictures
	$(PY) tools/make_phantom.py scans --out $(DEMO_SCANS) --scans 3 --size 160 \
	    --seed $(DEMO_SEED) --workers "$$(getconf _NPROCESSORS_ONLN)"
	@echo "Pictures, curve and table: $(DEMO_DIR)"
	$(PY) tools/detect_scan.py $(DEMO_SCANS)/scan_0001 \
	    --config configs/scan/phantom_scan.py \
	    --checkpoint "$$(ls -t $(DEMO_DIR)/best_*.pth | head -n 1)" \
	    --out $(DEMO_DIR)/scans --formats json csv nifti dicom --report

demo-clean:  ## remove the data and results of the demo
	rm -rf $(DEMO_DIR) $(DEMO_DATA) $(DEMO_DATA).partial \
	    $(DEMO_SCANS) $(DEMO_SCANS).partial

benchmark: install  ## print speeds relative to other libraries
	$(PY) -m benchmarks

wheel:  ## build and check dist/mmlesion-*.whl and .tar.gz; needs no .venv
	rm -rf build dist/mmlesion-*
	@test -x .build/pack/bin/twine || { $(or $(PYTHON),python3) -m venv .build/pack && \
	.build/pack/bin/python -m pip install -q 'build>=1.2' 'twine>=6'; }
	.build/pack/bin/python -m build -o dist .
	.build/pack/bin/twine check --strict dist/mmlesion-*

wheelhouse: install  ## collect all packages in dist/wheelhouse, for machines without a network
	sh requirements/wheelhouse.sh

lock:  ## resolve requirements/locked.txt for each Python version, with hashes
	@PYTHON=$(PYTHON) sh requirements/lock.sh

lock-check:  ## dry-run the installation of the locks on each Python version
	@PYTHON=$(PYTHON) sh requirements/lock.sh --check

audit:  ## look the locked versions up among known advisories; needs a network
	@test -x .build/audit/bin/pip-audit || { \
	$(or $(PYTHON),python3) -m venv .build/audit && \
	.build/audit/bin/python -m pip install -q 'pip-audit>=2.7'; }
	@for lock in requirements/lock-py3.*.txt; do echo "$$lock" && \
	.build/audit/bin/pip-audit --strict --disable-pip --no-deps -r "$$lock" \
	|| exit 1; done

docs: install  ## build the website of the documentation in site/; needs no network
	NO_MKDOCS_2_WARNING=1 $(PY) -m mkdocs build --strict --quiet

clean:  ## remove .venv and build outputs; the cache of the compiled MMCV is kept
	rm -rf .venv .build build dist site *.egg-info mmlesion/.mim .pytest_cache .ruff_cache
