# Makefile
#    Builds polyko: the extension (PGXS), polyko_cli, and everything that tests them.
#
#    make demo | check | check-matrix | dist    need only git and make; they install the rest
#    make, make install, make installcheck      as in every PGXS extension (PG_CONFIG=... to choose)
#    make unit | unit-asan | ... | lint         see test/unit/unit.mk; no PostgreSQL needed
#    make bench | bench-serve | bench-publish   measures, beside llama.cpp: see bench/README.md
#
# WERROR=1 turns warnings into errors (CI does), COPT adds compiler options.

EXTENSION = polyko
MODULE_big = polyko
VERSION := $(shell sed -n "s/^default_version *= *'\(.*\)'/\1/p" polyko.control 2>/dev/null)

CORE_C := $(sort $(wildcard src/core/*/*.c))
PG_C := $(sort $(wildcard src/pg/*.c src/pg/*/*.c))
ENGINE_C := src/cli/polyko_engine.c
CLI_C := $(filter-out $(ENGINE_C),$(sort $(wildcard src/cli/*.c)))
CORE_OBJS := $(CORE_C:.c=.o)
PG_OBJS := $(PG_C:.c=.o)
CLI_OBJS := $(CLI_C:.c=.o)
ENGINE_OBJS := $(ENGINE_C:.c=.o)
PROGRAMS = polyko_cli polyko_engine
OBJS = $(CORE_OBJS) $(PG_OBJS)

DATA = $(sort $(wildcard sql/polyko--*.sql))
MODEL_FILES = $(sort $(wildcard models/polyko-tiny/*))

# In this order; lint compares the list with sql/ and expected/.
REGRESS = setup models privileges settings images tokenize generate stream embed errors cache \
	immutable pii redact curation batching ahead update
REGRESS_OPTS = --inputdir=$(srcdir) --load-extension=polyko --encoding=UTF8 --no-locale
ISOLATION = $(sort $(basename $(notdir $(wildcard test/isolation/specs/*.spec))))
ISOLATION_OPTS = --inputdir=$(srcdir)/test/isolation --load-extension=polyko --encoding=UTF8
TAP_TESTS = 1
PROVE_TESTS = $(sort $(wildcard test/t/*.pl))

# No bitcode: inlining SQL functions through LLVM gains nothing here, and core needs its own flags.
override with_llvm = no

PG_CPPFLAGS = -I$(srcdir)/src -include $(srcdir)/src/pg/domain.h
PG_CFLAGS = -std=gnu11 -Wno-declaration-after-statement $(WARNINGS_CC) $(WERROR_FLAG)
# OpenBLAS is never linked: it starts threads when it is loaded (see src/core/kernels/blas.c).
LIBS_CORE = -ljansson -lxxhash -licui18n -licuuc -lm -lpthread -ldl
SHLIB_LINK = $(LIBS_CORE)

WERROR_FLAG = $(if $(WERROR),-Werror)
# clang warns of options and attributes that the server's build found for gcc.
WARNINGS_CC = $(if $(findstring clang,$(CC)),-Wno-unknown-warning-option \
	-Wno-ignored-optimization-argument -Wno-ignored-attributes)
EXTRA_CLEAN = build dist $(OBJS:.o=.d) $(CLI_OBJS) $(CLI_OBJS:.o=.d) $(ENGINE_OBJS) $(ENGINE_OBJS:.o=.d) output_iso tmp_check results \
	regression.diffs regression.out

PG_CONFIG ?= pg_config

# What needs no PGXS: the two commands and their helpers work before PostgreSQL is there, and core's
# own tests have their own makefile, so that nothing of PGXS reaches them.
UNIT_TARGETS = unit unit-asan unit-tsan unit-build headercheck lint format format-check fuzz \
	fuzz-replay
PLAIN_TARGETS = setup demo check check-matrix check-large dist bench bench-serve \
	bench-programs bench-publish $(UNIT_TARGETS)

ifneq ($(and $(MAKECMDGOALS),$(if $(filter-out $(PLAIN_TARGETS),$(MAKECMDGOALS)),,plain)),)

.PHONY: $(PLAIN_TARGETS)
setup:
	@scripts/setup.sh
demo:
	@PG_CONFIG='$(PG_CONFIG)' scripts/demo.sh
check:
	@PG_CONFIG='$(PG_CONFIG)' scripts/check.sh
check-matrix:
	@PG_CONFIG='$(PG_CONFIG)' scripts/matrix.sh $(PARTS)
check-large:
	@test -f '$(CHECKPOINT)/config.json' || { echo "make check-large CHECKPOINT=DIR" >&2; exit 1; }
	@PG_CONFIG='$(PG_CONFIG)' CHECKPOINT='$(abspath $(CHECKPOINT))' scripts/check.sh install large

# CHECKPOINT and the other settings reach it in the environment, where make puts them.
bench:
	@PG_CONFIG='$(PG_CONFIG)' bench/run.sh
bench-serve:
	@PG_CONFIG='$(PG_CONFIG)' bench/run.sh serve
bench-programs:
	@$(MAKE) --no-print-directory -f test/unit/unit.mk bench
bench-publish:
	@test -s build/bench/results.csv || { echo "no build/bench/results.csv: make bench" >&2; exit 1; }
	mkdir -p bench/results
	cp build/bench/results.csv build/bench/bench.svg bench/results/

dist:
	@mkdir -p dist
	git archive --format=tar.gz --prefix=polyko-$(VERSION)/ -o dist/polyko-$(VERSION).tar.gz HEAD
	@echo dist/polyko-$(VERSION).tar.gz

$(UNIT_TARGETS):
	@$(MAKE) --no-print-directory -f test/unit/unit.mk $@

else

PGXS := $(wildcard $(shell $(PG_CONFIG) --pgxs 2>/dev/null))
ifneq ($(PGXS),)
include $(PGXS)

# Core is compiled without the server's include path and options: a PostgreSQL header in core is an
# error, and -ffp-contract=off with plain c11 keeps q8 and q4 the same in every compiler.
CORE_CFLAGS = -std=c11 -O2 -g -ffp-contract=off -fvisibility=hidden -fstack-protector-strong \
	$(CFLAGS_SL) -Wall -Wextra -Wshadow -Wvla -Wpointer-arith -Wmissing-prototypes -Wno-psabi \
	-Wformat-security $(WERROR_FLAG) $(COPT)

include $(srcdir)/src/core/kernels/options.mk
src/core/kernels/x86_avx2.o: CORE_CFLAGS += $(WIDE_COPIES)

$(CORE_OBJS) $(CLI_OBJS) $(ENGINE_OBJS): %.o: %.c
	$(CC) $(CORE_CFLAGS) -I$(srcdir)/src -MMD -MP -c -o $@ $<

$(PG_OBJS): override CFLAGS += -MMD -MP
-include $(OBJS:.o=.d) $(CLI_OBJS:.o=.d) $(ENGINE_OBJS:.o=.d)

all: $(PROGRAMS:%=build/%)
install: install-programs install-model
uninstall: uninstall-polyko

build/polyko_cli: $(CLI_OBJS) $(CORE_OBJS)
build/polyko_engine: $(ENGINE_OBJS) $(CORE_OBJS)
$(PROGRAMS:%=build/%):
	@mkdir -p build
	$(CC) $(CORE_CFLAGS) $(LDFLAGS_EX) -o $@ $^ $(LIBS_CORE)

.PHONY: install-programs install-model uninstall-polyko
install-programs: $(PROGRAMS:%=build/%)
	$(MKDIR_P) '$(DESTDIR)$(bindir)'
	$(INSTALL_PROGRAM) $^ '$(DESTDIR)$(bindir)/'

install-model:
	$(MKDIR_P) '$(DESTDIR)$(datadir)/extension/polyko-tiny'
	$(INSTALL_DATA) $(MODEL_FILES) '$(DESTDIR)$(datadir)/extension/polyko-tiny/'

uninstall-polyko:
	rm -rf '$(DESTDIR)$(datadir)/extension/polyko-tiny' $(PROGRAMS:%='$(DESTDIR)$(bindir)/%')

else
.PHONY: all install installcheck clean
all install installcheck:
	@echo "polyko: '$(PG_CONFIG) --pgxs' names no PostgreSQL build files." >&2
	@echo "Run 'make setup' (installs the packages of scripts/packages.txt), or give PG_CONFIG=..." >&2
	@exit 1
clean:
	rm -rf $(EXTRA_CLEAN) $(OBJS) polyko.so
endif
endif
