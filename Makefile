# SPDX-License-Identifier: BSD-2-Clause
# `make help` lists the targets.

MAKEFLAGS += --no-builtin-rules --no-print-directory
.SUFFIXES:
.DELETE_ON_ERROR:
.DEFAULT_GOAL := all
SHELL := /bin/sh

ifeq ($(origin CC),default)
CC := gcc
endif
FUZZ_CC ?= clang
HOSTCC ?= gcc
STATIC_CC ?= gcc
AR ?= ar
V ?= 0
FUZZ_SECONDS ?= 10
PREFIX ?= /usr/local
ARCH ?= $(shell uname -m)
VERSION := $(shell cat VERSION)

comma := ,
Q := $(if $(filter 1,$V),,@)
say = $(if $(filter 1,$V),,@printf '  %-7s %s\n' $1 $2)
is_clang = $(findstring clang,$(notdir $(firstword $1)))
tag := $(if $(call is_clang,$(CC)),-clang)

# --- what there is -------------------------------------------------------------------------------------------------

LAYERS := base ev sys store sched net node head launch ui
CORE := $(sort $(wildcard core/*/*.c))
CMD := $(sort $(filter-out cmd/main.c,$(wildcard cmd/*.c)))
MAIN := $(wildcard cmd/main.c)
ASSETS := $(sort $(wildcard core/*/assets/*))
UNIT := $(sort $(wildcard tests/unit/test_*.c))
UNIT_HELP := $(sort $(filter-out $(UNIT),$(wildcard tests/unit/*.c)))
FUZZ := $(sort $(wildcard tests/fuzz/fuzz_*.c))
SMOKE := $(sort $(wildcard tests/smoke/*.c))
FAULTS := $(sort $(wildcard tests/faults/*.c))
LAB := $(sort $(wildcard tests/lab/*.c))
HEADERS := $(sort $(wildcard core/*/*.h core/*/*.def cmd/*.h cmd/*.def tests/*/*.h vendor/*/*.h))
OURS := $(CORE) $(CMD) $(MAIN) $(UNIT) $(UNIT_HELP) $(FUZZ) $(SMOKE) $(FAULTS) $(LAB) tests/fuzz/replay_main.c \
	tests/bench/measure.c tests/bench/execs.c $(wildcard vendor/*/*.c)

# In the order of linking: a library before those it uses.
LIBS := $(if $(wildcard vendor/libssh2/hive_bearssl.c),libssh2) bearssl libsodium sqlite3 yyjson libinih
lib_file = $(patsubst lib%,%,$1)

# --- flags ---------------------------------------------------------------------------------------------------------

WARN := -Wall -Wextra -Wpedantic -Wshadow -Wconversion -Wno-sign-conversion -Wstrict-prototypes \
	-Wmissing-prototypes -Wold-style-definition -Wmissing-declarations -Wredundant-decls -Wvla -Wformat=2 \
	-Wpointer-arith -Wwrite-strings -Wundef -Wimplicit-fallthrough -Wdouble-promotion -Wnested-externs
WARN_GCC := -Wlogical-op -Wduplicated-cond -Wduplicated-branches -Wcast-align=strict -Wformat-signedness
warn = $(WARN) $(if $(call is_clang,$1),,$(WARN_GCC))

# -iquote, so that <sys/stat.h> is never looked for in core/sys.
CPPFLAGS_ALL := -D_GNU_SOURCE -iquote core -iquote . -iquote tests -iquote build/gen
CFLAGS_ALL := -std=gnu11 -fno-common -fno-strict-aliasing -ffile-prefix-map=$(CURDIR)=.
SANITIZE := -fsanitize=address,undefined -fno-sanitize-recover=all -fno-omit-frame-pointer

# --- generated sources ---------------------------------------------------------------------------------------------

# core/ui/assets/app.js -> asset_ui_app_js
asset_symbol = asset_$(subst .,_,$(subst -,_,$(notdir $(patsubst %/assets/,%,$(dir $1)))_$(notdir $1)))
GEN := build/gen/asset_vendor_lock.c $(foreach a,$(ASSETS),build/gen/$(call asset_symbol,$a).c)
GEN_H := build/gen/assets.h build/gen/version.h

build/gen/version.h: VERSION
	@mkdir -p $(@D)
	@printf '/* Made from VERSION. */\n#define HIVE_VERSION "%s"\n' '$(VERSION)' >$@

# Rewritten only where the list changed, because everything may include it.
build/gen/assets.h: scripts/embed FORCE
	@mkdir -p $(@D)
	@scripts/embed header $(sort $(basename $(notdir $(GEN)))) >$@.new
	@if cmp -s $@.new $@; then rm $@.new; else mv $@.new $@; fi

build/gen/vendor.lock.json: vendor/lock-json vendor/lib.sh vendor/deps.lock $(LIBS:%=build/vendor/src/%/.stamp)
	@mkdir -p $(@D)
	$Qvendor/lock-json >$@

define asset_rule
build/gen/$1.c: $2 scripts/embed
	@mkdir -p $$(@D)
	$$Qscripts/embed data $1 $2 >$$@
endef
$(eval $(call asset_rule,asset_vendor_lock,build/gen/vendor.lock.json))
$(foreach a,$(ASSETS),$(eval $(call asset_rule,$(call asset_symbol,$a),$a)))

# --- third-party libraries -----------------------------------------------------------------------------------------

# vendor/build compares hashes over all inputs, and what it rebuilds gets a new .stamp. .checked is when it last did, so
# that make asks again only when a file that it knows of is newer.
vendor_inputs = vendor/deps.lock vendor/build vendor/lib.sh $(filter-out %.md,$(wildcard vendor/$1/*))

# $1 flavour, $2 name, $3 what else must be there first, $4 environment
define vendor_rule
build/vendor/$1/$2/.stamp: build/vendor/$1/$2/.checked
	@:
build/vendor/$1/$2/.checked: $(call vendor_inputs,$2) $3
	$$QBUILD=build/vendor $4 vendor/build $1 $2
	@touch $$@
endef

# $1 flavour, $2 compiler, $3 flags, $4 optimisation (empty: the recipe's), $5 libraries, $6 what else must be there first
define vendor_flavour
build/vendor/$1/.flags: FORCE
	@mkdir -p $$(@D)
	@printf '%s\n' '$2 $(AR) $3 $4' "$$$$(gcc -dumpfullversion) $$$$($2 -dumpversion 2>&1)" | cmp -s - $$@ || \
	    printf '%s\n' '$2 $(AR) $3 $4' "$$$$(gcc -dumpfullversion) $$$$($2 -dumpversion 2>&1)" >$$@
build/vendor/$1/libssh2/.checked: build/vendor/$1/bearssl/.stamp build/vendor/$1/libsodium/.stamp
$(foreach l,$5,$(eval $(call vendor_rule,$1,$l,build/vendor/src/$l/.stamp build/vendor/$1/.flags $6,\
    CC="$2" AR="$(AR)" FLAGS="$3" OPT="$4")))
endef

$(foreach l,$(LIBS) musl,$(eval $(call vendor_rule,src,$l,,HOSTCC="$(HOSTCC)")))
$(eval $(call vendor_flavour,san$(tag),$(CC),-g -fno-omit-frame-pointer -fsanitize=address,-O1,$(LIBS)))
$(eval $(call vendor_flavour,plain$(tag),$(CC),-g,,$(LIBS)))
ifneq ($(tag),)
$(eval $(call vendor_flavour,plain,gcc,-g,,$(LIBS)))
else
$(eval $(call vendor_flavour,san-clang,$(FUZZ_CC),-g -fno-omit-frame-pointer -fsanitize=address,-O1,$(LIBS)))
endif

# The static binary's C library, then everything else with its compiler wrapper.
MUSL := build/vendor/musl/musl/.stamp
MUSL_CC := $(CURDIR)/build/vendor/musl/musl/bin/musl-gcc
HARDEN := -fPIE -fstack-protector-strong -fstack-clash-protection -ftrivial-auto-var-init=zero -fvisibility=hidden \
	-ffunction-sections -fdata-sections
$(eval $(call vendor_flavour,musl,$(STATIC_CC),-fPIE,,musl))
$(eval $(call vendor_flavour,static,$(MUSL_CC),$(HARDEN),,$(LIBS),$(MUSL)))

# A core/ test is linked with core/ alone; one that includes "cmd/..." gets the commands too.
OF_CMD := $(if $(UNIT)$(FUZZ),$(shell grep -l '^#include "cmd/' $(UNIT) $(FUZZ)))
archives = $(filter %/libcmd.a,$1) $(filter %/libhive.a,$1)

# --- one flavour of our own code -----------------------------------------------------------------------------------

# $1 name (build/$1), $2 compiler, $3 compiler flags, $4 linker flags, $5 vendor flavour
define flavour
build/$1/.flags: FORCE
	@mkdir -p $$(@D)
	@printf '%s\n' '$2 $(call warn,$2) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $3 $4 $$(CFLAGS)' | cmp -s - $$@ || \
	    printf '%s\n' '$2 $(call warn,$2) $(CPPFLAGS_ALL) $(CFLAGS_ALL) $3 $4 $$(CFLAGS)' >$$@

build/$1/obj/%.o: %.c build/$1/.flags $(LIBS:%=build/vendor/$5/%/.stamp) $(GEN_H)
	@mkdir -p $$(@D)
	$$(call say,CC,'$$< ($1)')
	$$Q$2 $(call warn,$2) $(CPPFLAGS_ALL) $(LIBS:%=-isystem build/vendor/$5/%/include) $(CFLAGS_ALL) $3 $$(CFLAGS) \
	    -MMD -MP -c -o $$@ $$<

build/$1/libhive.a: $(patsubst %.c,build/$1/obj/%.o,$(CORE) $(GEN))
build/$1/libcmd.a: $(CMD:%.c=build/$1/obj/%.o)
build/$1/libhive.a build/$1/libcmd.a:
	@mkdir -p $$(@D)
	@rm -f $$@
	$$Q$(AR) rcsD $$@ $$^

build/$1/hive: $(MAIN:%.c=build/$1/obj/%.o) build/$1/libcmd.a build/$1/libhive.a
	$$(call say,LINK,$$@)
	$$Q$2 $3 $(CFLAGS_ALL) $$(CFLAGS) -o $$@ $$^ $(call vendor_libs,$5) $4 $$(LDFLAGS)

$(patsubst tests/unit/%.c,build/$1/tests/%,$(filter $(OF_CMD),$(UNIT))): build/$1/libcmd.a
build/$1/tests/%: build/$1/obj/tests/unit/%.o $(UNIT_HELP:%.c=build/$1/obj/%.o) build/$1/libhive.a
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$Q$2 $3 $$(CFLAGS) -o $$@ $$(filter %.o,$$^) $$(call archives,$$^) $(call vendor_libs,$5) $4 $$(LDFLAGS)

build/$1/smoke/%: build/$1/obj/tests/smoke/%.o $(LIBS:%=build/vendor/$5/%/.stamp)
	@mkdir -p $$(@D)
	$$(call say,LINK,$$@)
	$$Q$2 $3 $$(CFLAGS) -o $$@ $$< $(call vendor_libs,$5) $4 $$(LDFLAGS)

.SECONDARY: $(patsubst %.c,build/$1/obj/%.o,$(OURS) $(GEN)) $(LIBS:%=build/vendor/$5/%/.stamp) \
    $(LIBS:%=build/vendor/src/%/.stamp)
-include $(patsubst %.c,build/$1/obj/%.d,$(OURS) $(GEN))
endef
vendor_libs = $(foreach l,$(LIBS),build/vendor/$1/$l/lib/lib$(call lib_file,$l).a)

DEV := dev$(tag)
$(eval $(call flavour,$(DEV),$(CC),-Og -g $(SANITIZE),,san$(tag)))
$(eval $(call flavour,plain$(tag),$(CC),-O2 -g -fno-omit-frame-pointer,,plain$(tag)))

$(eval $(call flavour,static,$(MUSL_CC),-O2 -g $(HARDEN),-static-pie \
    -Wl$(comma)-z$(comma)relro -Wl$(comma)-z$(comma)now -Wl$(comma)-z$(comma)noexecstack -Wl$(comma)--gc-sections \
    -Wl$(comma)--build-id=none,static))

.PHONY: all static dev plain unit
# Installs missing packages (or asks), fetches, builds: for whoever just cloned. `make static` only builds.
all:
	+$Q./build-static.sh

static: build/hive build/THIRD-PARTY-LICENSES
build/hive: build/static/hive scripts/check-static
	$Qstrip -s -R .comment -o $@.new $<
	$Qscripts/check-static $@.new
	@mv $@.new $@

build/THIRD-PARTY-LICENSES: vendor/notices vendor/lib.sh vendor/deps.lock $(patsubst %,build/vendor/src/%/.stamp,$(LIBS) musl)
	$QBUILD=build/vendor vendor/notices >$@.new
	@mv $@.new $@

dev: build/$(DEV)/hive
plain: build/plain$(tag)/hive

unit: $(patsubst tests/unit/%.c,build/$(DEV)/tests/%,$(UNIT))
	$(if $^,prove -j2 -e '' $^,@echo 'no unit tests')

# --- fuzzing -------------------------------------------------------------------------------------------------------

fuzz_name = $(patsubst tests/fuzz/fuzz_%.c,%,$1)
FUZZ_NAMES := $(call fuzz_name,$(FUZZ))

$(patsubst tests/fuzz/fuzz_%.c,build/$(DEV)/fuzz/%,$(filter $(OF_CMD),$(FUZZ))): build/$(DEV)/libcmd.a
$(patsubst tests/fuzz/fuzz_%.c,build/fuzz/bin/%,$(filter $(OF_CMD),$(FUZZ))): build/fuzz/libcmd.a
build/$(DEV)/fuzz/%: build/$(DEV)/obj/tests/fuzz/fuzz_%.o build/$(DEV)/obj/tests/fuzz/replay_main.o build/$(DEV)/libhive.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(CC) $(SANITIZE) $(CFLAGS) -o $@ $(filter %.o,$^) $(call archives,$^) $(call vendor_libs,san$(tag)) $(LDFLAGS)

$(eval $(call flavour,fuzz,$(FUZZ_CC),-O1 -g $(SANITIZE) -fsanitize=fuzzer-no-link -DHIVE_FUZZING=1,,san-clang))
build/fuzz/bin/%: build/fuzz/obj/tests/fuzz/fuzz_%.o build/fuzz/libhive.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(FUZZ_CC) $(SANITIZE) -fsanitize=fuzzer -o $@ $(filter %.o,$^) $(call archives,$^) $(call vendor_libs,san-clang)

.PHONY: fuzz fuzz-runtime fuzz-replay $(FUZZ_NAMES:%=fuzz-run-%) $(FUZZ_NAMES:%=fuzz-replay-%)
fuzz: $(FUZZ_NAMES:%=fuzz-run-%)
fuzz-runtime:
	@mkdir -p build/fuzz
	@echo 'int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n); int LLVMFuzzerTestOneInput(const unsigned char *d, unsigned long n) { return d && n > 9; }' | \
	    $(FUZZ_CC) -fsanitize=fuzzer,address,undefined -x c -o build/fuzz/probe - 2>/dev/null || { \
	    echo 'make fuzz: $(FUZZ_CC) has no fuzzer runtime (Debian 12: apt-get install clang libclang-rt-14-dev);' >&2; \
	    echo '           `make fuzz-replay` needs none.' >&2; exit 1; }
# New inputs go to build/fuzz/corpus; what is worth keeping is copied to tests/fuzz/corpus by hand.
$(FUZZ_NAMES:%=fuzz-run-%): fuzz-run-%: fuzz-runtime build/fuzz/bin/%
	@mkdir -p build/fuzz/corpus/$* build/fuzz/found
	$Qbuild/fuzz/bin/$* -max_total_time=$(FUZZ_SECONDS) -timeout=10 -rss_limit_mb=2048 -print_final_stats=1 \
	    -artifact_prefix=build/fuzz/found/$*- build/fuzz/corpus/$* $(wildcard tests/fuzz/corpus/$*) \
	    2>build/fuzz/$*.log || { tail -40 build/fuzz/$*.log >&2; exit 1; }
	@awk -v n='$*' '/stat::number_of_executed_units/ { print "fuzz " n ": " $$2 " runs, nothing found" }' build/fuzz/$*.log

fuzz-replay: $(FUZZ_NAMES:%=fuzz-replay-%)
$(FUZZ_NAMES:%=fuzz-replay-%): fuzz-replay-%: build/$(DEV)/fuzz/%
	@build/$(DEV)/fuzz/$* $(wildcard tests/fuzz/corpus/$*) 2>build/$(DEV)/fuzz/$*.log >build/$(DEV)/fuzz/$*.out || \
	    { tail -40 build/$(DEV)/fuzz/$*.log >&2; exit 1; }
	@sed 's/^/fuzz-replay $*: /' build/$(DEV)/fuzz/$*.out

# --- tests that are scripts ----------------------------------------------------------------------------------------

.PHONY: run test bench faults smoke
# The SSH and TLS glue against real OpenSSH and OpenSSL. SMOKE_FLAVOUR=static tries what is shipped.
SMOKE_FLAVOUR ?= $(DEV)
smoke: $(SMOKE:tests/smoke/%.c=build/$(SMOKE_FLAVOUR)/smoke/%)
	tests/smoke/run-smoke build/$(SMOKE_FLAVOUR)/smoke
run: all
	scripts/run

# What needs root or a package says so and is listed as skipped; with CI=true it fails instead.
# The long ones first, so that none of them is left over at the end.
TEST_PROGRAMS := $(sort $(wildcard tests/faults/*.t)) $(sort $(wildcard tests/lab/*.t)) tests/smoke/smoke.t \
	$(sort $(wildcard tests/bench/*.t)) $(sort $(wildcard tests/cli/*.t)) tests/unit/harness.t $(UNIT:tests/unit/%.c=build/$(DEV)/tests/%) tests/fuzz/replay.t
.PHONY: test-build
test-build: all dev $(UNIT:tests/unit/%.c=build/$(DEV)/tests/%) $(FUZZ_NAMES:%=build/$(DEV)/fuzz/%) \
    $(SMOKE:tests/smoke/%.c=build/$(DEV)/smoke/%) faults-build lab-build build/bench/measure build/bench/execs
test:
	@scripts/setup-deps --dev $(if $(CI),--yes) || echo 'make test: going on with what is there' >&2
	+$Q$(MAKE) -j$(or $(HIVE_JOBS),$(shell nproc)) test-build
	@scripts/test $(TEST_PROGRAMS)
bench: static build/bench/measure build/bench/execs lab-build
	tests/bench/run
	tests/bench/reach
build/bench/measure: tests/bench/measure.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(CC) $(call warn,$(CC)) $(CFLAGS_ALL) -D_GNU_SOURCE -O2 -g $(CFLAGS) -o $@ $< $(LDFLAGS)
# What is shipped, of core/
build/bench/execs: build/static/obj/tests/bench/execs.o build/static/libhive.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(MUSL_CC) -O2 $(CFLAGS) -static-pie -o $@ $^ $(call vendor_libs,static) $(LDFLAGS)
# The long version: 10,000 kills, every call made to fail. `make test` runs a part of the same.
faults: all dev faults-build
	tests/faults/run

# Drivers of the fault tests share nothing with what they test but the JSON library. `quiet` is a job, and static.
fault_cc = $1 $(call warn,$1) $(CPPFLAGS_ALL) -isystem build/vendor/plain$(tag)/yyjson/include $(CFLAGS_ALL) -O2 -g
.PHONY: faults-build
faults-build: build/faults/kill9 build/faults/quiet build/faults/wallclock.so
build/faults/kill9: $(addprefix tests/faults/,kill9.c work.c client.c work.h client.h) build/vendor/plain$(tag)/yyjson/.stamp
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(call fault_cc,$(CC)) $(CFLAGS) -o $@ $(filter %.c,$^) build/vendor/plain$(tag)/yyjson/lib/libyyjson.a $(LDFLAGS)
build/faults/quiet: tests/faults/quiet.c $(MUSL)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(call fault_cc,$(MUSL_CC)) -static -o $@ $<
build/faults/wallclock.so: tests/faults/wallclock.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(call fault_cc,$(CC)) -fPIC -shared -o $@ $<

# Hosts as namespaces, cables between them, a name service: for tests/lab/lib.sh.
.PHONY: lab-build
lab-build: build/lab/host build/lab/link build/lab/nss/libnss_lab.so.2 build/lab/sshrun build/lab/deployrun
build/lab/host build/lab/link: build/lab/%: tests/lab/%.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(CC) $(call warn,$(CC)) $(CFLAGS_ALL) -D_GNU_SOURCE -O2 -g $(CFLAGS) -o $@ $< $(LDFLAGS)
# Of core/, under the sanitizers
build/lab/sshrun build/lab/deployrun: build/lab/%: build/$(DEV)/obj/tests/lab/%.o build/$(DEV)/libhive.a
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(CC) $(SANITIZE) $(CFLAGS) -o $@ $^ $(call vendor_libs,san$(tag)) $(LDFLAGS)
build/lab/nss/libnss_lab.so.2: tests/lab/nss.c
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$Q$(CC) $(call warn,$(CC)) $(CFLAGS_ALL) -D_GNU_SOURCE -O2 -g $(CFLAGS) -fPIC -shared -o $@ $< $(LDFLAGS)

# --- checks --------------------------------------------------------------------------------------------------------

# Of the libraries only the headers are wanted: those of the flavour that the tests need anyway.
$(eval $(call flavour,lint-gcc,gcc,-O2 -Werror,,san$(tag)))
$(eval $(call flavour,lint-clang,clang,-O1 -Werror,,san$(tag)))

.PHONY: fmt check-format check-layers check-docs check-shell lint reproducible sbom
fmt:
	clang-format -i $(filter %.c %.h,$(OURS) $(HEADERS))
check-format:
	scripts/check-format
check-layers:
	scripts/check-layers
check-docs:
	scripts/check-docs
check-shell:
	scripts/check-shell

# Glue needs the headers of what it is glued to, so vendor/build compiles it; here only for its warnings.
GLUE := $(wildcard vendor/*/*.c)
GLUE_FLAGS := -D_GNU_SOURCE -DLIBSSH2_MBEDTLS -Ivendor/libssh2 $(LIBS:%=-isystem build/vendor/san$(tag)/%/include) \
	-isystem build/vendor/src/libssh2/src
LINT := $(patsubst %.c,%.o,$(CORE) $(CMD) $(MAIN) $(UNIT) $(UNIT_HELP) $(FUZZ) $(SMOKE) $(FAULTS) $(LAB) \
	tests/fuzz/replay_main.c tests/bench/measure.c tests/bench/execs.c)
lint: $(LINT:%=build/lint-gcc/obj/%) $(LINT:%=build/lint-clang/obj/%)
	$Qfor f in $(GLUE); do \
	    case $$f in */libssh2/*) i='-include hive_bearssl.h' ;; *) i= ;; esac; \
	    gcc -fsyntax-only -O2 -Werror $(call warn,gcc) $(CFLAGS_ALL) $(GLUE_FLAGS) $$i $$f || exit 1; \
	    clang -fsyntax-only -O2 -Werror $(call warn,clang) $(CFLAGS_ALL) $(GLUE_FLAGS) $$i $$f || exit 1; \
	done
	@unsafe=$$(find build/lint-gcc/obj/core build/lint-gcc/obj/cmd -name '*.d' 2>/dev/null | \
	    xargs -r grep -L 'core/base/safe\.h'); \
	    [ -z "$$unsafe" ] || { echo 'lint: not compiled under base/safe.h:' $$unsafe >&2; exit 1; }

reproducible:
	scripts/reproducible
sbom:
	@scripts/sbom

# --- installation --------------------------------------------------------------------------------------------------

BINDIR = $(DESTDIR)$(PREFIX)/bin
SHARE = $(DESTDIR)$(PREFIX)/share
BASH_COMPLETIONS = $(SHARE)/bash-completion/completions
FISH_COMPLETIONS = $(SHARE)/fish/vendor_completions.d

# The program itself knows its names, manual pages and completions. bash and fish load a completion by the name of the
# command, hence its links. Whoever installs may have a umask of 077.
.PHONY: install uninstall
install:
	@[ -x build/hive ] && [ -f build/THIRD-PARTY-LICENSES ] || { \
	    echo 'make install: there is no build/hive; run make first' >&2; exit 1; }
	install -d '$(BINDIR)' '$(SHARE)/man/man1' '$(SHARE)/man/man5' '$(SHARE)/doc/hive' \
	    '$(BASH_COMPLETIONS)' '$(SHARE)/zsh/site-functions' '$(FISH_COMPLETIONS)'
	install -m 755 build/hive '$(BINDIR)/.hive.new'
	mv -f '$(BINDIR)/.hive.new' '$(BINDIR)/hive'
	umask 022; build/hive help --man-dir '$(SHARE)/man/man1'
	mv -f '$(SHARE)/man/man1/hive.conf.5' '$(SHARE)/man/man5/'
	umask 022; build/hive completion bash >'$(BASH_COMPLETIONS)/hive'
	umask 022; build/hive completion zsh >'$(SHARE)/zsh/site-functions/_hive'
	umask 022; build/hive completion fish >'$(FISH_COMPLETIONS)/hive.fish'
	set -e; names=$$(build/hive help --symlinks); for n in $$names; do \
	    ln -sf hive "$(BINDIR)/$$n"; \
	    case $$n in hive-*) ln -sf hive "$(BASH_COMPLETIONS)/$$n"; ln -sf hive.fish "$(FISH_COMPLETIONS)/$$n.fish" ;; esac; \
	done
	install -m 644 LICENSE build/THIRD-PARTY-LICENSES '$(SHARE)/doc/hive'

# Folders are left where they are, but for the one that is ours.
uninstall:
	@[ -x build/hive ] || { echo 'make uninstall: there is no build/hive to say what belongs to it' >&2; exit 1; }
	set -e; names=$$(build/hive help --symlinks); for n in $$names; do \
	    [ "$$(readlink "$(BINDIR)/$$n")" != hive ] || rm -f "$(BINDIR)/$$n"; \
	    rm -f "$(SHARE)/man/man1/$$n.1" "$(BASH_COMPLETIONS)/$$n" "$(FISH_COMPLETIONS)/$$n.fish"; done
	rm -f '$(BINDIR)/hive' '$(SHARE)/man/man1/hive.1' '$(SHARE)/man/man5/hive.conf.5' \
	    '$(BASH_COMPLETIONS)/hive' '$(SHARE)/zsh/site-functions/_hive' '$(FISH_COMPLETIONS)/hive.fish'
	rm -rf '$(SHARE)/doc/hive'

# --- housekeeping --------------------------------------------------------------------------------------------------

.PHONY: FORCE clean distclean help
FORCE:

clean:
	rm -rf $(filter-out build/vendor,$(wildcard build/*))

distclean:
	rm -rf build vendor/cache

define HELP
make                 build/hive, the static binary (./build-static.sh; fetches sources, installs missing packages)
make static          the same without looking for packages
make dev             build/$(DEV)/hive with ASan and UBSan; CC=clang builds in a folder of its own
make plain           build/plain$(tag)/hive for profilers: glibc, -O2, no sanitizers
make run             builds, starts a daemon in a temporary folder, runs jobs through it
make test            everything that a change must pass
make unit            unit tests; make build/$(DEV)/tests/test_X builds one
make fuzz            each fuzz target for FUZZ_SECONDS=$(FUZZ_SECONDS); make fuzz-run-X runs one
make fuzz-replay     the fuzz corpus as an ordinary test
make smoke           SSH and TLS against OpenSSH and OpenSSL
make bench | faults  measurements | tests that break things
make lint            everything compiled by gcc and clang with -Werror
make fmt | check-format | check-layers | check-docs | check-shell
make reproducible    two builds in two folders, compared bit by bit
make sbom            bill of materials (CycloneDX JSON) on stdout
make install         DESTDIR= PREFIX=$(PREFIX)
make clean | distclean   distclean also removes built libraries and the source cache

V=1 shows the commands. CFLAGS and LDFLAGS are added to ours. HIVE_CACHE is the source cache.
endef
help:
	$(info $(HELP))@:
