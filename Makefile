# Every target that runs our code goes through npm, whose PATH begins with the pinned Node of package-lock.json.
.DEFAULT_GOAL := help
.PHONY: help install build demo simulate test types lint imports check format bench bench-growth bench-in-process bench-attestation bench-database bench-egress bench-scale test-faults soak soak-http size fuzz flips hostile native image-base kernel eif reproduce release emulator test-emulated bench-emulated fuzz-eif bench-eif bench-eif-build bench-identity test-native fuzz-native bench-signing bench-rotation cost clean

NPM := npm --loglevel=error

help: ## Show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-18s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: node_modules/.installed ## Install exactly what package-lock.json names, with no install scripts

node_modules/.installed: package.json package-lock.json
	@echo "installing dependencies (npm ci)"
	@$(NPM) ci --ignore-scripts
	@touch $@

build: install ## Compile to dist/js, which is what the package publishes
	@$(NPM) run --silent build

demo: install ## Start the simulator, sign a real transaction as a new user would, stop
	@$(NPM) run --silent demo

simulate: install ## Keep the simulator running, with its state in .cloister/ (Ctrl-C stops it)
	@$(NPM) run --silent simulate

test: install dist/native/secp256k1.node ## Run every test
	@$(NPM) run --silent test

types: install ## Type-check the whole tree, and the browser zones without Node's types
	@$(NPM) run --silent types

lint: install ## Lint and check the format
	@$(NPM) run --silent lint

imports: install ## Check that every import follows the table of trust zones
	@$(NPM) run --silent imports

check: types lint imports size ## Everything that reads the code without running it

format: install ## Format, and repair what the linter can
	@$(NPM) run --silent format

bench: install ## Measure the standard set beside its peers and write docs/performance.md (some three minutes; QUICK=1: prints alone)
	@$(NPM) run --silent bench -- --set standard $(if $(QUICK),--quick,--write)

bench-growth: install ## Measure growth by connections, enclaves and wallets and write docs/performance.md (WALLETS=100,10000,1000000)
	@$(NPM) run --silent bench -- --set growth $(if $(QUICK),--quick,--write) --sizes-of wallets="$(WALLETS)"

cost: install ## Compute docs/cost.md from docs/performance.json and docs/cost-inputs.json
	@$(NPM) run --silent cost

bench-attestation: install ## Measure attestation verifications beside @peculiar/x509 with cbor-x
	@$(NPM) run --silent bench-attestation

size: install ## Print the size of the browser bundle of attestation/, against its budget
	@$(NPM) run --silent size

fuzz: install ## Fuzz the attestation decoder for a minute (more: npm run fuzz -- --seconds 600)
	@$(NPM) run --silent fuzz

fuzz-eif: install ## Fuzz the reader of enclave images for a minute (more: npm run fuzz-eif -- --seconds 600)
	@$(NPM) run --silent fuzz-eif

flips: install ## Flip every bit of every genuine attestation document, through every check (some minutes)
	@CLOISTER_ALL_FLIPS=1 $(NPM) run --silent test -- test/attestation/bit-flips.test.ts

bench-identity: USERS ?= 1,1000,100000
bench-identity: install ## Measure logins, stamps and sealing with 1, 1,000 and 100,000 users (some minutes)
	@$(NPM) run --silent bench -- --parts logins --sizes-of logins="$(USERS)"

bench-signing: install ## Measure signing of each kind, in process, beside the library that people would use
	@$(NPM) run --silent bench -- --parts limits,signing

bench-in-process: install ## Measure stamped signing by the enclave's request handler alone, beside node:crypto with viem
	@$(NPM) run --silent bench -- --parts in-process

bench-egress: install ## Measure the egress relay beside socat
	@$(NPM) run --silent bench-egress

bench-database: install ## Show PostgreSQL's plan for each query of the records at 10^6, and how each grows (some minutes)
	@$(NPM) run --silent bench-database

bench-scale: install ## Measure requests on one, two and three enclaves over one PostgreSQL, and what looking anew costs
	@$(NPM) run --silent bench -- --parts enclaves

bench-rotation: install ## Measure the pass that seals all records anew, over SQLite and PostgreSQL
	@$(NPM) run --silent bench -- --parts rotation

test-faults: SECONDS ?= 20
test-faults: install ## Kill, cut, throttle and fill what several enclaves rest on, under load (some minutes): SECONDS=20
	@CLOISTER_FAULT_SECONDS="$(SECONDS)" $(NPM) run --silent test -- test/scale/faults.test.ts

soak: REQUESTS ?= 10000000
soak: install ## Show that the enclave's memory is flat over ten million requests (an hour or more): REQUESTS=10000000
	@$(NPM) run --silent soak -- --requests "$(REQUESTS)"

soak-http: REQUESTS ?= 1000000
soak-http: install ## Show that parent and enclave are flat over a million requests by HTTP (half an hour or so): REQUESTS=1000000
	@$(NPM) run --silent soak-http -- --requests "$(REQUESTS)"

bench-eif: install ## Measure reading an image of 100 MB beside openssl dgst -sha384
	@$(NPM) run --silent bench-eif

bench-eif-build: install ## Build EIFs of growing images in a small heap; prints times and peak memory
	@$(NPM) run --silent bench-eif-build

hostile: install ## Work through a parent that misbehaves at random: make hostile SEED=… N=…
	@$(NPM) run --silent hostile -- --seed "$(SEED)" --requests "$(or $(N),1000)"

native: install ## Compile the addons and the enclave's init to dist/native (ARCH=aarch64 cross-compiles)
	@$(NPM) run --silent native -- --arch "$(ARCH)"

# Tests take compiled code where it can be made; on other systems they take npm's binding, and skip what has none.
dist/native/secp256k1.node: $(wildcard vsock/native/* enclave/native/* enclave/init/*) scripts/build-native.ts | install
	@$(NPM) run --silent native || echo "tests go on without what was not compiled"

image-base: install ## Make the bases of the enclave's image from Debian's packages, without a registry
	@$(NPM) run --silent image-base

kernel: install ## Build the enclave's kernel into dist/kernel/ (some minutes, then cached)
	@$(NPM) run --silent kernel

eif: install ## Build the enclave's image into dist/cloister.eif: make eif MANIFEST=cloister.yaml
	@$(NPM) run --silent eif -- --manifest "$(MANIFEST)"

reproduce: install ## Build the enclave's image twice in unlike surroundings and compare every byte (FULL=1: kernel too)
	@$(NPM) run --silent reproduce -- --manifest "$(MANIFEST)" $(if $(FULL),--full)

release: install ## Pack dist/cloister-…tar.gz for an EC2 parent (make native first)
	@$(NPM) run --silent release

test-native: install ## Test the compiled code alone, under AddressSanitizer and UBSan
	@$(NPM) run --silent test -- test/native test/vsock test/enclave/nsm

fuzz-native: install ## Fuzz what init and the NSM addon parse: make fuzz-native N=… SEED=…
	@$(NPM) run --silent fuzz-native -- --rounds "$(or $(N),20000000)" --seed "$(SEED)"

emulator: install ## Build QEMU's Nitro Enclave machine, outside the tree (some minutes; once)
	@$(NPM) run --silent emulator

test-emulated: emulator ## Boot dist/cloister.eif in QEMU and test what only an image can show (some minutes)
	@$(NPM) run --silent test-emulated

bench-emulated: emulator ## Measure where the time of a boot in QEMU goes, and the memory that it needs
	@$(NPM) run --silent bench-emulated

clean: ## Remove what building and simulating left behind
	rm -rf dist .cloister
