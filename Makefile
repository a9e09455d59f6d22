# make run    everything in one process, and two payouts to watch; ARGS="-h" lists its options
# make test   all tests: units, workflows, HTTP, both databases, end to end
# make check  formatting, vet, linters, determinism of the workflows, then make test
# make record records the histories of runs that are missing in workflows/testdata/histories; never one that is there
# make fuzz   30 s of each fuzz target
# make shots  Temporal's UI as a person sees it, by Chromium: pictures in ./screenshots
# make bench  payouts, the books and webhook intake, beside what this machine could do at best; ARGS="-short" in two minutes, ARGS="-h"
# The first build of the Temporal server takes minutes; later ones seconds.

GO       ?= go
FUZZTIME ?= 30s
BIN      := bin
GOLANGCI := $(BIN)/golangci-lint
WFCHECK  := $(BIN)/workflowcheck

.PHONY: run build test unit watched e2e skipped shots check lint fuzz bench bench-calls clean mistakes record

run:
	@echo "building; the first time this takes some minutes, since the Temporal server is compiled in"
	@cd devserver && $(GO) build -o ../$(BIN)/devserver .
	@exec ./$(BIN)/devserver $(ARGS)

build:
	$(GO) build -o $(BIN)/ ./worker ./starter ./gateway
	cd devserver && $(GO) build -o ../$(BIN)/devserver .

test: unit watched e2e skipped

# The tests sync their databases many thousand times, and none is about the
# disk: where there is enough memory to write to, they write there.
MEMORY := $(shell [ -w /dev/shm ] && [ "$$(df -Pm /dev/shm | awk 'END {print $$4}')" -gt 4000 ] && echo /dev/shm)
ifneq ($(MEMORY),)
unit watched e2e: export GOTMPDIR := $(or $(TMPDIR),/tmp)
unit watched e2e: export TMPDIR := $(MEMORY)
endif

unit:
	$(GO) test -timeout 30m ./...

# Each alert fires on the fault it is for; Prometheus' own engine judges.
watched:
	cd ops && $(GO) test ./...

e2e:
	@echo "building the Temporal server for the end-to-end suite; the first time this takes some minutes"
	cd devserver && $(GO) test -timeout 30m ./...

# go test hides why a passing package skipped something; this does not. In CI
# both are failures.
skipped:
	@initdb=$$(command -v initdb || ls /usr/lib/postgresql/*/bin/initdb 2>/dev/null | head -n 1); \
	if [ -z "$$initdb" ]; then \
		echo "!!! SKIPPED: everything on PostgreSQL. Install it (Debian: apt-get install postgresql) and run make test again."; fi
	@command -v chromium >/dev/null || command -v chromium-browser >/dev/null || command -v google-chrome >/dev/null || \
		echo "!!! SKIPPED: what Temporal's UI shows. Install a browser (Debian: apt-get install chromium) and run make test again."
	@if [ ! -d "$${TRUELAYER_VECTORS:-../shared/vectors}" ]; then \
		echo "!!! SKIPPED: the published signatures and bodies. Name their folder in TRUELAYER_VECTORS and run make test again."; fi

shots:
	cd devserver && SCREENSHOTS=$(abspath screenshots) $(GO) test -count=1 -timeout 10m -run TestTemporalUI ./e2e

check: lint test

lint: $(GOLANGCI) $(WFCHECK)
	@test -z "$$(gofmt -l .)" || { gofmt -l .; echo "run gofmt -w on these"; exit 1; }
	$(GO) vet ./...
	cd devserver && $(GO) vet ./...
	cd ops && $(GO) vet ./...
	$(GOLANGCI) run ./...
	cd devserver && ../$(GOLANGCI) run ./...
	cd ops && ../$(GOLANGCI) run ./...
	$(WFCHECK) -config workflows/workflowcheck.yaml ./workflows/...

# The pins that build with this Go.
$(GOLANGCI):
	GOBIN=$(abspath $(BIN)) $(GO) install github.com/golangci/golangci-lint/v2/cmd/golangci-lint@v2.15.0

$(WFCHECK):
	GOBIN=$(abspath $(BIN)) $(GO) install go.temporal.io/sdk/contrib/tools/workflowcheck@v0.6.0

# What strangers send us: signatures, events, answers, headers.
fuzz:
	@for target in FuzzVerify FuzzWebhook FuzzResponse FuzzRetryAfter; do \
		$(GO) test -run '^$$' -fuzz "^$$target\$$" -fuzztime $(FUZZTIME) ./internal/truelayer || exit 1; done

# Makes each deliberate mistake in a copy, and holds that its test notices.
mistakes:
	MISTAKES=1 $(GO) test -count=1 -timeout 60m -v -run TestMistakesAreCaught ./internal/mistakes

# Real runs on the real server, days of them in seconds; then every history is replayed.
record:
	@echo "building the programs and the Temporal server; the first time this takes some minutes"
	cd devserver && $(GO) test -count=1 -timeout 30m -run '^TestRecord$$' ./e2e -record
	$(GO) test -count=1 -run 'TestHistories|TestBrokenTwins' ./workflows

# docs/benchmarks.md tells how to read it.
bench: build
	cd devserver && $(GO) build -o ../$(BIN)/bench ./bench
	./$(BIN)/bench $(ARGS)

# One call at a time, as go test measures: for whoever changes a line of them.
bench-calls:
	$(GO) test -run '^$$' -bench . ./internal/ledger/... ./internal/app/... ./internal/truelayer/...

clean:
	rm -rf $(BIN)
