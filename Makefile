# Every target that people use has a `##` line; `make help` prints them.
SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
.DELETE_ON_ERROR:
NODE := node_modules/.bin/node
NODES ?= 3
K8S ?= 1.36.3
CNI ?= cilium
KUBE_PROXY ?= 1

# Present and newer than its prerequisites once `make setup` has nothing left to do.
SETUP_STAMP := node_modules/.setup

.DEFAULT_GOAL := help
help: ## Show this list
	@awk -F':.*## ' '/^[a-z0-9-]+:.*## /{printf "  %-16s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: help

# ---- start here

demo: $(SETUP_STAMP) ## The whole story on a real cluster: install, a policy, who reached whom before and after
	@$(NODE) src/demo/main.ts
TIERS ?=
test: $(SETUP_STAMP) ## All tests; the last line is the sum. TIERS="unit node" runs some (lint verify unit bpf kernels node e2e)
	@$(NODE) test/run.ts $(TIERS)
setup: ## Install what the machine and the checkout lack (Debian 12 and 13, Ubuntu 24.04)
	@src/cluster/setup.sh
$(SETUP_STAMP): package-lock.json src/cluster/setup.sh
	@src/cluster/setup.sh

.PHONY: demo test setup

# ---- the local cluster

CLUSTER = NODES=$(NODES) K8S=$(K8S) CNI=$(CNI) KUBE_PROXY=$(KUBE_PROXY) $(NODE) src/cluster/main.ts
cluster: $(SETUP_STAMP) ## Local cluster of real nodes: NODES=3 K8S=1.36.3 CNI=cilium|ptp|none KUBE_PROXY=1|0
	@$(CLUSTER) up
programs: $(SETUP_STAMP) ## Find, download or build Kubernetes, etcd, Helm, CoreDNS and the reference CNI plugins
	@$(CLUSTER) programs
cluster-load: $(SETUP_STAMP) ## Import an OCI archive into every node: ARCHIVE=x.tar
	@test -n "$(ARCHIVE)" || { echo "make cluster-load: say what: make cluster-load ARCHIVE=build/image/cilium.tar" >&2; exit 2; }
	@$(CLUSTER) load "$(ARCHIVE)"
cluster-down: $(SETUP_STAMP) ## Remove the local cluster without a trace
	@$(CLUSTER) down
cli: $(SETUP_STAMP) ## Put cilium, kubectl and helm into ./bin
	@$(NODE) src/image/cli.ts
clean-all: cluster-down chart-repo-stop ## cluster-down, and remove everything that was built
	rm -rf build dist bin

.PHONY: cluster programs cluster-load cluster-down cli clean-all

# ---- what is shipped

CHART_REPO_PORT ?= 8879
REGISTRY ?=
PUSH_FLAGS ?=
image: $(SETUP_STAMP) bpf cni build/bin/wireguard-go ## Build the OCI image build/image/cilium.tar (no registry, no Docker)
	@$(NODE) src/image/build.ts
push: image ## Copy the image to REGISTRY=host/path (PUSH_FLAGS: options of skopeo copy)
	@test -n "$(REGISTRY)" || { echo "make push: say where to: make push REGISTRY=registry.example/team" >&2; exit 2; }
	skopeo copy $(PUSH_FLAGS) oci-archive:build/image/cilium.tar docker://$(REGISTRY)/cilium:$$($(NODE) -p 'require("./package.json").version')
chart-repo: $(SETUP_STAMP) ## Package the Helm chart and serve it at http://127.0.0.1:8879 (CHART_REPO_PORT)
	@$(NODE) src/image/chart-repo.ts start --port $(CHART_REPO_PORT)
chart-repo-stop: $(SETUP_STAMP) ## End the server of chart-repo
	@$(NODE) src/image/chart-repo.ts stop --port $(CHART_REPO_PORT)

.PHONY: image push chart-repo chart-repo-stop

# ---- what is compiled

BPF_SOURCES := $(wildcard bpf/*.bpf.c)
BPF_OBJECTS := $(BPF_SOURCES:bpf/%.bpf.c=build/bpf/%.o)
BPF_FLAGS := -O2 -g -target bpf -mcpu=v3 -fno-strict-aliasing -Wall -Wextra -Werror
STATIC_CC = gcc -std=gnu11 -O2 -Wall -Wextra -Werror -static -s

bpf: $(BPF_OBJECTS) ## Compile the eBPF programs into build/bpf
build/bpf/%.o: bpf/%.bpf.c $(wildcard bpf/lib/*.h) bpf/vmlinux.h
	@mkdir -p $(@D)
	clang-19 $(BPF_FLAGS) -c -o $@ $<
build/bpf-test/%.o: test/bpf/lib/%.bpf.c
	@mkdir -p $(@D)
	clang-19 -O2 -g -target bpf -mcpu=v3 -Wall -Werror -c -o $@ $<
cni: build/bin/cilium-cni ## Build the static CNI plugin into build/bin
build/bin/cilium-cni: src/cni/plugin/cilium-cni.c $(wildcard src/cni/plugin/*.h)
	@mkdir -p $(@D)
	$(STATIC_CC) -o $@ $<
build/bin/wireguard-go: src/cluster/binaries/catalog.ts
	@$(NODE) src/image/wireguard.ts $@

.PHONY: bpf cni

# ---- what is generated

CODECS := src/kernel/gen/types.ts
generate: $(SETUP_STAMP) ## Write what is generated: the codecs of bpf/lib/types.h, the types of crds/
	@$(NODE) src/kernel/generate.ts bpf/lib/types.h $(CODECS)
	@$(NODE) src/api/generate.ts
verify: $(SETUP_STAMP) ## Fail when something generated is not what its source says
	@fresh=$$(mktemp) && trap 'rm -f "$$fresh"' EXIT \
	  && $(NODE) src/kernel/generate.ts bpf/lib/types.h "$$fresh" \
	  && diff -u $(CODECS) "$$fresh" || { echo "$(CODECS) is not what bpf/lib/types.h says: make generate" >&2; exit 1; }
	@$(NODE) src/api/generate.ts --check

.PHONY: generate verify

# ---- tests, cheapest first

# A test without a timeout of its own; test/run.ts limits whole tiers.
TEST_LIMIT_MS = 300000
TEST = $(NODE) --test --test-timeout=$(TEST_LIMIT_MS) --test-reporter=./test/reporter.ts
test-e2e: TEST_LIMIT_MS = 900000
test-kernels record-instructions: TEST_LIMIT_MS = 1500000
lint: $(SETUP_STAMP) ## Types, type-aware lint, import direction, nothing of this machine in the repository
	@node_modules/.bin/tsc --noEmit
	@node_modules/.bin/oxlint -c config/oxlint.json --type-aware --quiet src test
	@$(TEST) 'test/unit/repository/*.test.ts' | sed '$$d'
test-unit: $(SETUP_STAMP) ## Pure code: no root, no kernel, no cluster
	@$(TEST) 'test/unit/**/*.test.ts'
test-bpf: $(SETUP_STAMP) bpf build/bpf-test/outer.o ## Packets through the compiled programs (BPF_PROG_TEST_RUN; root)
	@$(TEST) --test-concurrency=1 'test/bpf/**/*.test.ts'
test-kernels: $(SETUP_STAMP) bpf build/bpf-test/outer.o ## Every program and packet row on Linux 5.10 and 6.1, in emulated machines
	@$(TEST) 'test/kernels/**/*.test.ts'
record-instructions: export RECORD_INSTRUCTIONS = 1
record-instructions: test-kernels ## As test-kernels, and write down how many instructions the verifiers processed
test-node: $(SETUP_STAMP) programs bpf cni ## Real maps, links and sockets in network namespaces (root)
	@$(TEST) --test-concurrency=1 'test/node/**/*.test.ts'
test-e2e: programs image cli build/bin/e2e-probe ## Real clusters (root)
	@$(NODE) test/e2e/harness/setup.ts
	@$(TEST) --test-concurrency=1 'test/e2e/**/*.test.ts'
# Argo CD's engine; the test that runs it asks for it, and is skipped where there is no Go.
build/bin/argocd-sync: $(wildcard test/e2e/argocd/*)
	@mkdir -p $(@D)
	go=$$($(NODE) src/cluster/binaries/go.ts argocd-sync) && cd test/e2e/argocd && CGO_ENABLED=0 GOWORK=off $$go build -trimpath -buildvcs=false -o $(CURDIR)/$@ .
test-nightly test-oracle: export RECORD_NIGHTLY = 1
test-nightly test-oracle: TEST_LIMIT_MS = 3600000
test-nightly: programs image cli build/bin/e2e-probe ## What takes too long for `make test`, on clusters of its own (root)
	@$(TEST) --test-concurrency=1 'test/nightly/**/*.test.ts' test/e2e/upgrade.test.ts
test-oracle: $(SETUP_STAMP) bpf build/bpf-test/outer.o ## 100,000 random policy sets against the naive reading of the languages, some in the kernel (part of test-nightly; root)
	@$(TEST) test/nightly/oracle.test.ts
build/bin/e2e-probe: test/e2e/harness/probe.c $(wildcard test/e2e/harness/*.h)
	@mkdir -p $(@D)
	$(STATIC_CC) -o $@ $<

.PHONY: lint test-unit test-bpf test-kernels record-instructions test-node test-e2e test-nightly test-oracle

# ---- measurements

BENCH_PROGRAMS := $(patsubst test/bench/programs/%.c,build/bench/%,$(wildcard test/bench/programs/*.c))
ROUNDS ?= 10
PARTS ?=
bench: $(SETUP_STAMP) $(BENCH_PROGRAMS) build/bin/wireguard-go ## Measure against CNI=ptp into test/bench/RESULTS.md: ROUNDS=10 (3: short) PARTS="traffic native encryption policy cni memory"
	@ROUNDS=$(ROUNDS) PARTS="$(PARTS)" $(NODE) test/bench/main.ts
bench-kernel: $(BENCH_PROGRAMS) bpf build/bpf-test/outer.o ## What a verdict costs, and how fast maps are filled, into test/bench/KERNEL.md
	@$(NODE) test/bench/kernel.ts
bench-scale: $(BENCH_PROGRAMS) build/bench/kwok programs image cli ## Policy changes and memory among 10,000 and 50,000 simulated pods, into test/bench/SCALE.md (smaller: SIMULATED_NODES, POLICIES, APPS, PODS, ENDPOINTS, CHANGES)
	@$(NODE) test/bench/scale.ts
bench-nodes: $(BENCH_PROGRAMS) programs image cli ## What 1,000 simulated nodes cost a node, into test/bench/NODES.md (smaller: SIMULATED_NODES, CHANGES)
	@$(NODE) test/bench/nodes.ts
bench-policy: ## What the operator computes of large worlds, and of one change in them, into test/bench/POLICY.md
	@$(NODE) test/bench/policy.ts
build/bench/kwok:
	@mkdir -p $(@D)
	go=$$($(NODE) src/cluster/binaries/go.ts kwok) && GOBIN=$(CURDIR)/$(@D) GOWORK=off $$go install -trimpath -buildvcs=false sigs.k8s.io/kwok/cmd/kwok@v0.8.0
build/bench/%: test/bench/programs/%.c
	@mkdir -p $(@D)
	$(STATIC_CC) -pthread -o $@ $<

.PHONY: bench bench-kernel bench-policy bench-scale bench-nodes
