# `make quickstart` and `make test` need Python 3.10 or newer and the package index, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUTPUT ?= output/quickstart

.PHONY: quickstart test test-slow lint docs bench bench-crf bench-generators bench-training clean

quickstart: $(VENV)/.installed
	$(BIN)/python tools/self_train.py --config-file configs/quickstart.yaml --images synthetic_train --gt synthetic_val \
		--rounds 1 --output $(OUTPUT)

test: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m "not slow"

test-slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

lint: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# The documentation, in site/; a warning is an error. To read it with its search: python3 -m http.server --directory site
docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

bench: $(VENV)/.installed-test bench-training
	$(BIN)/python benchmarks/maskcut.py
	$(BIN)/python benchmarks/promerge.py
	$(BIN)/python benchmarks/primaps.py
	$(BIN)/python benchmarks/votecut.py --threads 1
	$(BIN)/python benchmarks/localcut.py
	$(BIN)/python benchmarks/refinement.py
	$(BIN)/python benchmarks/generation.py
	$(BIN)/python benchmarks/evaluation.py

# docs/training.md; without Detectron2 the comparisons with it are left out.
bench-training: $(VENV)/.installed-test
	$(BIN)/python benchmarks/engines.py
	$(BIN)/python benchmarks/copy_paste.py
	$(BIN)/python benchmarks/saliency.py
	$(BIN)/python benchmarks/mask_pasting.py
	$(BIN)/python benchmarks/roi_memory.py

# Against pydensecrf, which needs a compiler and uses one thread.
bench-crf: $(VENV)/.installed-test
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[crf,numba]"
	$(BIN)/python benchmarks/crf.py
	$(BIN)/python benchmarks/maskcut.py --images 2 --crf
	$(BIN)/python benchmarks/promerge.py --images 2 --threads 2 --crf
	$(BIN)/python benchmarks/primaps.py --images 2 --threads 2 --crf
	$(BIN)/python benchmarks/votecut.py --images 2 --threads 2 --crf

# make bench-generators DATA=folder/with/sets EVERY=3 OPTIONS="REFINE.NAME crf"
bench-generators: $(VENV)/.installed-test
	$(BIN)/python benchmarks/generators.py $(if $(DATA),--data $(DATA)) --every $(or $(EVERY),1) $(OPTIONS)

clean:
	rm -rf $(VENV) build site *.egg-info

$(VENV)/.installed: setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps trackers
	touch $@
