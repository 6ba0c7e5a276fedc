# unit.mk
#    Builds and runs what needs no PostgreSQL: unit tests, sanitizers, fuzzing, benches, lint.
#    Called by the Makefile ("make unit"), or alone: make -f test/unit/unit.mk unit CC=clang
#
# Each layer is a static library, and a test links only its own layer and those below, so a call
# in the wrong direction is an undefined symbol. Objects go to build/<flavour>-<compiler>/.
#    TESTS=test/unit/base/test_json.c     runs one test
#    PROVE_FLAGS=-v                       shows each line
#    RUNNER='qemu-aarch64-static -L DIR'  runs the programs of a cross compiler

ifeq ($(origin CC),default)
CC = gcc
endif
ifeq ($(origin AR),default)
AR = $(if $(filter %-gcc,$(CC)),$(CC:-gcc=-ar),ar)
endif
FLAVOUR ?= unit
B = build/$(FLAVOUR)-$(notdir $(firstword $(CC)))
FUZZ_SECONDS ?= 30
FUZZ_SEED ?= 0
PROVE_FLAGS ?=
JOBS ?= 2
RUNNER ?=

# Layers, lowest first, and what each may call (STYLE: the table of dependencies).
LAYERS = base pii kernels tokenizer curate model sample infer engine serve
BELOW_base =
BELOW_pii = base
BELOW_kernels = base
BELOW_model = tokenizer kernels base
BELOW_tokenizer = base
BELOW_curate = tokenizer base
BELOW_sample = kernels base
BELOW_infer = model tokenizer kernels base
BELOW_serve = engine infer sample model tokenizer kernels base
BELOW_engine = infer sample model tokenizer kernels base
LIBS = -ljansson -lxxhash -licui18n -licuuc -lm -lpthread -ldl

# Instrumented code makes gcc see uninitialized variables that are none; the plain build warns.
SANITIZE_unit =
SANITIZE_asan = -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer
SANITIZE_tsan = -fsanitize=thread
SANITIZE_fuzz = -fsanitize=fuzzer-no-link,address,undefined -fno-sanitize-recover=all
SANITIZE_bench =
QUIET = $(if $(SANITIZE_$(FLAVOUR)),-Wno-maybe-uninitialized)
QUIET_CC = $(if $(findstring clang,$(CC)),,$(QUIET))
ASSERTS = $(if $(filter bench,$(FLAVOUR)),,-DPK_ASSERTS)
WARNINGS = -Wall -Wextra -Wshadow -Wvla -Wpointer-arith -Wmissing-prototypes -Wno-psabi -Wformat-security
CFLAGS_ALL = -std=c11 -O2 -g -ffp-contract=off $(WARNINGS) $(if $(WERROR),-Werror) \
	$(SANITIZE_$(FLAVOUR)) $(QUIET_CC) $(ASSERTS) -Isrc $(COPT)

TESTS ?= $(sort $(wildcard test/unit/*/test_*.c))
TEST_PROGRAMS = $(TESTS:test/%.c=$(B)/%)
FUZZERS = $(sort $(patsubst test/fuzz/fuzz_%.c,%,$(wildcard test/fuzz/fuzz_*.c)))
BENCHES = $(sort $(wildcard bench/*.c bench/*/*.c))
HEADERS = $(sort $(wildcard src/core/*/*.h))

lib_of = $(B)/libpk_$(1).a
libs_of = $(foreach l,$(1) $(BELOW_$(1)),$(call lib_of,$(l)))
objs_of = $(patsubst src/%.c,$(B)/%.o,$(sort $(wildcard src/core/$(1)/*.c)))
ALL_OBJS = $(foreach l,$(LAYERS),$(call objs_of,$(l)))
ALL_LIBS = $(call lib_of,pii) $(call lib_of,curate) $(call libs_of,serve)

.PHONY: unit unit-asan unit-tsan unit-build unit-run headercheck lint format format-check fuzz \
	fuzz-run fuzz-replay replay-run bench bench-build

unit:
	@$(MAKE) -f test/unit/unit.mk FLAVOUR=unit unit-run
unit-asan:
	@$(MAKE) -f test/unit/unit.mk FLAVOUR=asan unit-run
unit-tsan:
	@$(MAKE) -f test/unit/unit.mk FLAVOUR=tsan unit-run
unit-build: $(TEST_PROGRAMS)

# Sanitizers stop at the first error, so that none is lost among passing lines. OpenBLAS and ICU
# keep their tables until exit; LeakSanitizer does not count what is still reachable.
unit-run: unit-build
	@ASAN_OPTIONS=abort_on_error=1:detect_stack_use_after_return=1 \
	UBSAN_OPTIONS=print_stacktrace=1 TSAN_OPTIONS=halt_on_error=1 \
	prove $(PROVE_FLAGS) --exec '$(RUNNER)' $(TEST_PROGRAMS)

include src/core/kernels/options.mk
$(B)/core/kernels/x86_avx2.o: CFLAGS_ALL += $(WIDE_COPIES)

$(B)/core/%.o: src/core/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<

define layer_rules
$(call lib_of,$(1)): $(call objs_of,$(1))
	@mkdir -p $$(@D)
	@rm -f $$@
	$$(AR) rcs $$@ $$^
$(filter $(B)/unit/$(1)/%,$(TEST_PROGRAMS)): $(call libs_of,$(1))
$(B)/unit/$(1)/%: test/unit/$(1)/%.c
	@mkdir -p $$(@D)
	$$(CC) $$(CFLAGS_ALL) -MMD -MP -o $$@ $$< $(call libs_of,$(1)) $$(LIBS)
endef
$(foreach l,$(LAYERS),$(eval $(call layer_rules,$(l))))

# The commands of polyko_cli, called as functions: everything of it but main().
CLI_OBJS = $(patsubst src/%.c,$(B)/%.o,$(sort $(wildcard src/cli/cli_*.c)))
.SECONDARY: $(CLI_OBJS)
$(B)/cli/%.o: src/cli/%.c
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -c -o $@ $<
$(B)/unit/cli/%: test/unit/cli/%.c $(CLI_OBJS) $(call libs_of,serve)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -MMD -MP -o $@ $< $(CLI_OBJS) $(call libs_of,serve) $(LIBS)
-include $(ALL_OBJS:.o=.d) $(CLI_OBJS:.o=.d) $(addsuffix .d,$(TEST_PROGRAMS))

# Each header compiles alone.
headercheck:
	@for h in $(HEADERS); do \
		printf '#include "%s"\n' "$${h#src/}" | \
		$(CC) $(CFLAGS_ALL) -fsyntax-only -x c - || { echo "not self-contained: $$h"; exit 1; }; \
	done; echo "headercheck: $(words $(HEADERS)) headers stand alone"

lint:
	@.ci/lint/all.sh

FORMATTED = $(sort $(shell find src test bench -name '*.[ch]'))
format:
	clang-format -i $(FORMATTED)
format-check:
	clang-format --dry-run -Werror $(FORMATTED)

# libFuzzer, each target for FUZZ_SECONDS, with -jN so many at a time; new finds stay under build/, corpora
# are not changed.
# FUZZ_SEED=N goes nearly the same ways each time in a fresh build directory, 0 goes new ones.
fuzz:
	@$(MAKE) -f test/unit/unit.mk CC=clang FLAVOUR=fuzz fuzz-run
fuzz-run: $(FUZZERS:%=fuzz-run-%)
$(FUZZERS:%=fuzz-run-%): fuzz-run-%: $(B)/fuzz_%
	@mkdir -p $(B)/found/$* $(B)/crash; \
	echo "fuzz $*: $(FUZZ_SECONDS) s"; \
	$< -max_total_time=$(FUZZ_SECONDS) -seed=$(FUZZ_SEED) -rss_limit_mb=2048 -timeout=10 \
		-artifact_prefix=$(B)/crash/$*- $(B)/found/$* test/fuzz/corpus/$* \
		>$(B)/$*.log 2>&1 || { tail -40 $(B)/$*.log; echo "not ok - fuzz $*"; exit 1; }; \
	tail -1 $(B)/$*.log; echo "ok - fuzz $* found nothing in $(FUZZ_SECONDS) s"

# The same corpora through gcc's ASan and UBSan, without libFuzzer.
fuzz-replay:
	@$(MAKE) -f test/unit/unit.mk FLAVOUR=asan replay-run
replay-run: $(FUZZERS:%=$(B)/replay_%)
	@for f in $(FUZZERS); do \
		ASAN_OPTIONS=abort_on_error=1 $(B)/replay_$$f test/fuzz/corpus/$$f || \
		{ echo "not ok - replay $$f"; exit 1; }; \
		echo "ok - replay $$f"; \
	done

$(B)/fuzz_%: test/fuzz/fuzz_%.c $(ALL_LIBS)
	$(CC) $(CFLAGS_ALL) -fsanitize=fuzzer -o $@ $< $(ALL_LIBS) $(LIBS)
$(B)/replay_%: test/fuzz/fuzz_%.c test/fuzz/replay.c $(ALL_LIBS)
	$(CC) $(CFLAGS_ALL) -o $@ $< test/fuzz/replay.c $(ALL_LIBS) $(LIBS)

bench:
	@$(MAKE) -f test/unit/unit.mk FLAVOUR=bench bench-build
bench-build: $(BENCHES:%.c=$(B)/%)
	@echo "built: $^"
$(B)/bench/%: bench/%.c bench/timing.h bench/memory.h $(ALL_LIBS)
	@mkdir -p $(@D)
	$(CC) $(CFLAGS_ALL) -o $@ $< $(ALL_LIBS) $(LIBS)
