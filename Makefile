# SPDX-License-Identifier: Apache-2.0
#
#   make                 build/holdfast, build/holdfast-stat and build/echo-backend
#   make run             install what is missing, build, start the demo on ports 8080 and 8443 (TLS)
#   make test            install what is missing, build, run all tests
#   make bench           beside nginx, HAProxy and a bare relay: ROUNDS=5 SECONDS=2 ONLY=word CASES=a,b
#   make chaos           kill workers under checked traffic, twice: SECONDS=60 TUNNELS=2000 SEED=1
#   make install         to DESTDIR and PREFIX (/usr/local)
#   make uninstall, format, clean
#
# V=1 shows the commands. CC=clang builds in build/clang; SAN=address,undefined, also with test,
# in build/san-address,undefined.

ifeq ($(origin CC),default)
CC = gcc
endif
CFLAGS ?= -O2 -g
PREFIX ?= /usr/local
sysconfdir ?= /etc
SAN ?=
say = $(if $(V),,@printf '  %-4s %s\n' $(1) $@ && )

empty :=
space := $(empty) $(empty)
variant := $(subst $(space),-,$(strip $(if $(SAN),san-$(SAN)) $(notdir $(filter-out gcc cc,$(CC)))))
BUILD := build$(if $(variant),/$(variant))

warnings := -Wall -Wextra -Wshadow -Wmissing-prototypes -Wstrict-prototypes -Wconversion -Werror
hardening := -fstack-protector-strong -D_FORTIFY_SOURCE=2 -fPIE
# _FORTIFY_SOURCE hides overflows from the sanitizer.
sanitizing := -O1 -fno-omit-frame-pointer -fno-sanitize-recover=all -fsanitize=$(SAN)
# As a library gcc's UBSan loses log_path beside ASan, and with it what a replaced worker said.
static_ubsan := $(if $(findstring clang,$(CC)),,-static-libubsan)
all_cflags := -std=gnu11 $(CFLAGS) $(warnings) -I. -D_GNU_SOURCE $(if $(SAN),$(sanitizing),$(hardening))
all_ldflags := $(LDFLAGS) -pie -Wl,-z,relro,-z,now $(if $(SAN),-fsanitize=$(SAN) $(static_ubsan))
# For amd64 only, and not in every distribution: without it AES-GCM is OpenSSL's.
ipsec_mb := $(shell echo '\#include <intel-ipsec-mb.h>' | $(CC) -E -x c - >/dev/null 2>&1 && echo -Wl,--as-needed -lIPSec_MB)
libs := -lconfig -lssl -lcrypto -lcares -lpcre2-8 -lz $(ipsec_mb)
check_libs := -lcheck -lsubunit -lm -lrt -lpthread

obj = $(patsubst %.c,$(BUILD)/obj/%.o,$(1))
stat_src := $(wildcard shm/stat*.c)
master_obj := $(call obj,$(wildcard master/*.c))
worker_obj := $(call obj,$(wildcard worker/*.c))
stat_obj := $(call obj,$(stat_src))
echo_obj := $(call obj,$(wildcard test/tools/echo_*.c))
load_obj := $(call obj,$(wildcard test/tools/ws_load*.c))
bench_load_src := test/tools/ws_load_stat.c $(filter-out test/bench/bench_relay.c test/bench/bench_ring.c,\
	$(wildcard test/bench/*.c))
bench_tools := $(addprefix $(BUILD)/,bench-load bench-relay bench-ring)
libcommon := $(BUILD)/libcommon.a
libshm := $(BUILD)/libshm.a
# What a unit test may draw from; its own main() wins over the programs'.
test_libs := $(BUILD)/libtest.a $(BUILD)/libmaster.a $(BUILD)/libworker.a $(BUILD)/libstat.a $(libshm) $(libcommon)
unit_tests := $(patsubst %.c,$(BUILD)/%,$(wildcard test/unit/test_*.c))
fuzz_tests := $(patsubst %.c,$(BUILD)/%,$(wildcard test/fuzz/fuzz_*.c))
version := $(or $(if $(wildcard .git),$(shell git describe --always --dirty 2>/dev/null)),0.1.0)

.PHONY: all tests crash-build next-build run test bench chaos install uninstall format clean
all: $(BUILD)/holdfast $(BUILD)/holdfast-stat $(BUILD)/echo-backend
tests: all $(BUILD)/ws-load $(BUILD)/ring-pick $(bench_tools) $(unit_tests) $(fuzz_tests) crash-build next-build
tests: $(call obj,common/gcm_none.c) # it compiles, where it is not used
# Workers that kill themselves at the place that is named to them: worker/crash_point.h.
crash-build:
	$(MAKE) BUILD=$(BUILD)/crash CFLAGS='$(CFLAGS) -DHOLDFAST_CRASH_POINTS' $(BUILD)/crash/holdfast
# A program that comes after this one, to upgrade to and to come back from.
next-build:
	test/tools/make-next $(BUILD)/next-src
	$(MAKE) -C $(BUILD)/next-src BUILD=$(abspath $(BUILD))/next $(addprefix $(abspath $(BUILD))/next/,holdfast holdfast-stat)

$(BUILD)/holdfast: $(master_obj) $(worker_obj) $(libshm) $(libcommon)
	$(call say,LINK)$(CC) $(all_ldflags) -o $@ $^ $(libs)
$(BUILD)/holdfast-stat: $(stat_obj) $(libshm) $(libcommon)
	$(call say,LINK)$(CC) $(all_ldflags) -o $@ $^ $(libs)
$(BUILD)/echo-backend: $(echo_obj) $(libcommon)
	$(call say,LINK)$(CC) $(all_ldflags) -o $@ $^ $(libs)
$(BUILD)/ws-load: $(load_obj) $(libcommon)
	$(call say,LINK)$(CC) $(all_ldflags) -o $@ $^ $(libs)
$(BUILD)/ring-pick: $(call obj,test/tools/ring_pick.c) $(libcommon)
	$(call say,LINK)$(CC) $(all_ldflags) -o $@ $^ $(libs)
$(BUILD)/bench-load: $(call obj,$(bench_load_src)) $(libcommon)
	$(call say,LINK)$(CC) $(all_ldflags) -o $@ $^ -lssl $(libs)
$(BUILD)/bench-relay: $(call obj,test/bench/bench_relay.c test/bench/bench_net.c) $(libcommon)
	$(call say,LINK)$(CC) $(all_ldflags) -o $@ $^ $(libs)
$(BUILD)/bench-ring: $(call obj,test/bench/bench_ring.c) $(libcommon)
	$(call say,LINK)$(CC) $(all_ldflags) -o $@ $^ $(libs)

$(libcommon): $(call obj,$(filter-out common/gcm$(if $(ipsec_mb),_none).c,$(wildcard common/*.c)))
$(libshm): $(call obj,$(filter-out $(stat_src),$(wildcard shm/*.c)))
$(BUILD)/libstat.a: $(stat_obj)
$(BUILD)/libmaster.a: $(master_obj)
$(BUILD)/libworker.a: $(worker_obj)
# What several tests share.
$(BUILD)/libtest.a: $(call obj,$(filter-out test/unit/test_%,$(wildcard test/unit/*.c)))
# From scratch: a member whose source is gone must go, too.
$(BUILD)/%.a:
	@rm -f $@
	$(call say,AR)$(AR) rcs $@ $^

$(BUILD)/test/unit/%: $(BUILD)/obj/test/unit/%.o $(test_libs)
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(all_ldflags) -o $@ $< -Wl,--start-group $(test_libs) -Wl,--end-group $(check_libs) $(libs)
$(BUILD)/test/fuzz/%: $(BUILD)/obj/test/fuzz/%.o $(BUILD)/obj/test/fuzz/replay.o $(test_libs)
	@mkdir -p $(@D)
	$(call say,LINK)$(CC) $(all_ldflags) -o $@ $(wordlist 1,2,$^) -Wl,--start-group $(test_libs) -Wl,--end-group $(libs)

$(BUILD)/obj/%.o: %.c Makefile
	@mkdir -p $(@D)
	$(call say,CC)$(CC) $(all_cflags) -MMD -MP -c -o $@ $<
$(BUILD)/obj/common/version.o: all_cflags += -DHOLDFAST_VERSION='"$(version)"'
$(BUILD)/obj/common/version.o: $(BUILD)/version
$(BUILD)/obj/test/tools/echo_page.o: test/tools/echo_page.html
# Touched only when the version has changed.
$(BUILD)/version: FORCE
	@mkdir -p $(@D)
	@echo '$(version)' | cmp -s - $@ || echo '$(version)' >$@
.PHONY: FORCE
.SECONDARY:

# The build comes after the packages that it needs, so it is a second make.
run:
	scripts/install-deps run
	$(MAKE) all
	HOLDFAST_BUILD=$(BUILD) scripts/demo
test:
	scripts/install-deps test
	$(MAKE) tests
	HOLDFAST_BUILD=$(BUILD) scripts/run-tests

# What a benchmark of a build with a sanitizer would measure is the sanitizer.
ROUNDS ?= 5
bench_options = --rounds $(ROUNDS) --seconds $(or $(SECONDS),2) $(if $(ONLY),--only $(ONLY)) \
	$(if $(CASES),--cases $(CASES)) $(BENCH)
bench:
	scripts/install-deps bench
	$(MAKE) all $(bench_tools)
	HOLDFAST_BUILD=$(BUILD) scripts/bench $(bench_options)

TUNNELS ?= 2000
SEED ?= 1
chaos_options = --seconds $(or $(SECONDS),60) --tunnels $(TUNNELS) --seed $(SEED) --upgrade-every 7 --recycle-every 5
# Twice: tunnels that are only relayed, then those in which the proxy has its say.
chaos: all $(BUILD)/ws-load crash-build
	HOLDFAST_BUILD=$(BUILD) scripts/chaos $(chaos_options) $(CHAOS)
	HOLDFAST_BUILD=$(BUILD) scripts/chaos $(chaos_options) --guard --goodbye $(CHAOS)

unitdir := $(PREFIX)/lib/systemd/system
docdir := $(PREFIX)/share/doc/holdfast
installed := $(PREFIX)/sbin/holdfast $(PREFIX)/bin/holdfast-stat $(unitdir)/holdfast.service \
	$(PREFIX)/lib/sysusers.d/holdfast.conf $(sysconfdir)/logrotate.d/holdfast \
	$(docdir)/README.md
config := $(sysconfdir)/holdfast/holdfast.conf
install: all
	install -D -m 755 $(BUILD)/holdfast $(DESTDIR)$(PREFIX)/sbin/holdfast
	install -D -m 755 $(BUILD)/holdfast-stat $(DESTDIR)$(PREFIX)/bin/holdfast-stat
	test -e $(DESTDIR)$(config) || install -D -m 644 etc/holdfast.conf $(DESTDIR)$(config)
	install -d $(DESTDIR)$(unitdir)
	sed 's|@sbindir@|$(PREFIX)/sbin|; s|@config@|$(config)|; s|@docdir@|$(docdir)|' etc/holdfast.service \
		>$(DESTDIR)$(unitdir)/holdfast.service
	chmod 644 $(DESTDIR)$(unitdir)/holdfast.service
	install -D -m 644 etc/holdfast.sysusers $(DESTDIR)$(PREFIX)/lib/sysusers.d/holdfast.conf
	install -D -m 644 etc/holdfast.logrotate $(DESTDIR)$(sysconfdir)/logrotate.d/holdfast
	install -D -m 644 README.md $(DESTDIR)$(docdir)/README.md
	@echo 'Installed. Next, as root: systemd-sysusers; systemctl daemon-reload; systemctl enable --now holdfast'
# The configuration stays: it is the administrator's.
uninstall:
	rm -f $(addprefix $(DESTDIR),$(installed))
	-rmdir $(DESTDIR)$(docdir)

format:
	clang-format -i $(wildcard $(addsuffix /*.[ch],common shm worker master test/*))
clean:
	rm -rf build

-include $(patsubst %.o,%.d,$(call obj,$(wildcard $(addsuffix /*.c,common shm worker master test/*))))
