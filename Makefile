# SPDX-License-Identifier: Apache-2.0
# A thin front of Meson: `make` builds build/o3, `make test` runs every test (ARGS=--unit: the quick ones).
BUILD ?= build
MESON_ARGS ?=
PYTHON ?= python3
ARGS ?=
C_FILES = $(shell find src include tests -name '*.[ch]' 2>/dev/null)

.PHONY: all test proof bench bench-grid simulate lint fuzz install fmt docs asan clean help

all: $(BUILD)/build.ninja
	ninja -C $(BUILD)

$(BUILD)/build.ninja:
	meson setup $(BUILD) $(MESON_ARGS)

test: all            ## unit and integration tests; ends with N passed, N failed, N skipped
	$(PYTHON) tests/run $(ARGS)

proof: all           ## the long acceptance on the real engine; writes docs/measured.md
	tests/proof $(ARGS)

bench: all           ## the performance table
	tests/bench $(ARGS)

bench-grid: all      ## the chosen knobs against the whole grid on the real engine
	tests/bench-grid $(ARGS)

simulate: all        ## simulated machines; renews the table of docs/simulation.md
	tools/simulate $(ARGS)

fuzz:                ## fuzz the parsers
	tests/fuzz/run $(ARGS)

lint:                ## style, includes against ARCHITECTURE.md, texts
	tools/lint

fmt:                 ## format the C files in place
	clang-format -i $(C_FILES)

docs: all            ## generate what is generated
	tools/gen-docs

install: all         ## DESTDIR is honoured; prefix: make MESON_ARGS=--prefix=... before
	meson install -C $(BUILD) --no-rebuild

asan: build-asan/build.ninja  ## unit tests under AddressSanitizer and UBSan
	meson test -C build-asan --suite unit --print-errorlogs

build-asan/build.ninja:
	meson setup build-asan --buildtype=debug -Db_sanitize=address,undefined -Db_lundef=false

clean:
	rm -rf $(BUILD) build-asan

help:
	@sed -n 's/^\([a-z-]*\):[^#]*## /\1	/p' Makefile
