# Running and testing: the emulators, the guests' files, the checks. Included by the Makefile.

CONFIG  ?= configs/demo.toml
ISO     ?= $(O)/mullion.iso
DISK    ?= $(O)/mullion.img
NETBOOT ?= $(O)/netboot
# Options of the hypervisor in what these three make.
CMDLINE ?=
PYTHON  := /usr/bin/python3
PYTEST  := $(PYTHON) -B -m pytest -p no:cacheprovider
# One file, or -k EXPRESSION, or any other option of pytest.
T       ?=

.PHONY: inventory run run-bochs iso disk pxe test test-long attack break boot-test bench lint setup-run setup-run-bochs setup-test linux initrd stock images

setup-run setup-run-bochs setup-test: setup-%:
	@tools/setup $*
linux:
	@O=$(O) tools/fetch-linux
initrd:
	@O=$(O) tools/make-initrd
# Other people's guests for the boot tests, out of Debian's packages.
stock:
	@O=$(O) tools/fetch-linux cloud stock rt
	@O=$(O) tools/make-initrd plain stress pci
	@tools/fetch-deb $(O)/packages/memtest memtest86+
	@tools/fetch-deb $(O)/packages/loaders grub-coreboot-bin ipxe
	-@$(MAKE) --no-print-directory qemu-newer # where it cannot be had, its tests say so
## make qemu-newer    build/qemu-newer/qemu-system-x86_64, Debian's backport of a newer QEMU, for the tests that want it
.PHONY: qemu-newer
NEWER   := $(O)/packages/qemu-newer
qemu-newer:
	@SUITE=bookworm-backports tools/fetch-deb $(NEWER) qemu-system-x86 qemu-system-common qemu-system-data seabios
	@mkdir -p $(O)/qemu-newer
	@printf '%s\n' '#!/bin/sh' '# Its own programs and firmware, the machine'"'"'s libraries.' \
	  'at=$$(dirname "$$(readlink -f "$$0")")/../$(NEWER:$(O)/%=%)/usr' 'export QEMU_MODULE_DIR="$$at/lib/x86_64-linux-gnu/qemu"' \
	  'exec "$$at/bin/qemu-system-x86_64" -L "$$at/share/seabios" -L "$$at/share/qemu" -L /usr/lib/ipxe/qemu "$$@"' \
	  >$(O)/qemu-newer/qemu-system-x86_64
	@chmod +x $(O)/qemu-newer/qemu-system-x86_64
# What goes into an ISO. A second make, so that set-up comes before the first compilation.
images:
	@$(MAKE) --no-print-directory -j$(shell nproc) all linux initrd

## make run           the demonstration on AMD-V, in QEMU (CONFIG=file.toml for another partition file)
run: setup-run
	@$(MAKE) --no-print-directory images
	@tools/run $(if $(CONFIG),'$(CONFIG)')
## make run-bochs     the same on Intel VT-x, in Bochs
run-bochs: setup-run-bochs
	@$(MAKE) --no-print-directory images
	@tools/run --bochs $(if $(CONFIG),'$(CONFIG)')
## make iso           build/mullion.iso, for a machine or another emulator (CONFIG=, ISO=, CMDLINE=)
## make disk          build/mullion.img, the same for a disk or a USB stick (CONFIG=, DISK=, CMDLINE=)
## make pxe           build/netboot, the same for a TFTP server, with dnsmasq.conf (CONFIG=, NETBOOT=, CMDLINE=, MAC=, SUBNET=)
iso: MADE = --iso '$(ISO)'
disk: MADE = --disk '$(DISK)'
pxe: MADE = --netboot '$(NETBOOT)' $(if $(MAC),--mac '$(MAC)') --dnsmasq $(SUBNET)
iso disk pxe: setup-run
	@$(MAKE) --no-print-directory images
	@tools/mullion-image '$(CONFIG)' $(MADE) --cmdline='$(CMDLINE)'
## make inventory     what an emulated machine has, as a partition file to start from (DEVICES="-device ..." adds to it)
inventory: setup-run
	@$(MAKE) --no-print-directory -s all
	@tools/inventory $(DEVICES)
## make man           build/man/*.1, manual pages out of the tools' --help (needs help2man)
.PHONY: man
SCRIPTS := extract-vmlinux fetch-deb fetch-linux inventory make-font make-grub make-initrd make-iso mullion-image run setup
MANUALS := mullion-check $(SCRIPTS)
man: $(MANUALS:%=$(O)/man/%.1)
$(O)/man/mullion-check.1: ABOUT := check a partition file and show who owns what
$(O)/man/inventory.1:     ABOUT := print what a machine has
$(O)/man/mullion-image.1: ABOUT := make what a machine boots from, out of a partition file
$(O)/man/run.1:           ABOUT := run a partition file in an emulated machine
$(O)/man/extract-vmlinux.1: ABOUT := unpack the ELF file inside a Linux bzImage
$(O)/man/fetch-deb.1:     ABOUT := unpack Debian packages into a folder
$(O)/man/fetch-linux.1:   ABOUT := fetch stock Debian kernels
$(O)/man/make-font.1:     ABOUT := write a console font as a C array
$(O)/man/make-grub.1:     ABOUT := make a GRUB that starts as a multiboot image
$(O)/man/make-initrd.1:   ABOUT := make the initrds of the demonstration and the tests
$(O)/man/make-iso.1:      ABOUT := make an ISO for a test
$(O)/man/setup.1:         ABOUT := install the Debian packages that are needed
$(O)/man/mullion-check.1: $(O)/tools/mullion-check
# A script. Without this make would compile tools/inventory.c over it, by its own rule.
tools/inventory: ;
$(SCRIPTS:%=$(O)/man/%.1): $(O)/man/%.1: tools/%
$(MANUALS:%=$(O)/man/%.1): $(O)/man/%.1: tools/targets.mk $(O)/version
	@mkdir -p $(@D)
	@mkdir -p $(@D)/help
	@printf '#!/bin/sh\nCOLUMNS=999 $(filter %/$*,$^) "$$@" | sed "s/^usage:/Usage:/; s/^options:/Options:/"\n' >$(@D)/help/$*; chmod +x $(@D)/help/$*
	$(Q)help2man -N -n '$(ABOUT)' --version-string='$(VERSION)' -o $@ $(@D)/help/$*
## make lint          layers, headers, sizes, format, cppcheck, sparse and gcc's analyser
lint: $(HVOBJS) analyse-fast
	@$(PYTHON) -B test/check_layers.py --build $(O) --headers --sizes --format
## make analyse       static analysis: cppcheck, sparse, clang-tidy, and gcc's analyser on pure code; no warning is let through
ANALYSED := $(filter %.c,$(filter-out $(O)/%,$(PURE) $(HYPER)) $(wildcard tools/*.c))
# What clang-tidy is asked: mistakes, not taste. Left out: what every hypervisor does (numbers become pointers), what -Wconversion
# answers already, sizes of pointers where they are meant, memcmp as a truth value, and its own path analysis, which takes minutes and does what gcc's does here in seconds.
TIDY     := -*,bugprone-*,misc-redundant-expression,misc-misplaced-const,misc-unused-alias-decls,readability-misleading-indentation,performance-*,$\
            -bugprone-branch-clone,-bugprone-easily-swappable-parameters,-bugprone-narrowing-conversions,-bugprone-reserved-identifier,$\
            -bugprone-implicit-widening-of-multiplication-result,-bugprone-sizeof-expression,-bugprone-suspicious-string-compare,-performance-no-int-to-ptr
.PHONY: analyse analyse-fast
analyse: analyse-fast $(ANALYSED:%.c=$(O)/analyse/%.tidy)
analyse-fast: $(O)/analyse/cppcheck $(O)/analyse/sparse $(patsubst %.c,$(O)/analyse/%.gcc,$(filter $(ANALYSED),$(PURE)))
$(O)/analyse/cppcheck: $(ANALYSED)
	@mkdir -p $(@D)
	$(Q)cppcheck -q -j$(shell nproc) --std=c11 --platform=unix64 --enable=warning,performance,portability --inline-suppr \
	  --error-exitcode=1 -DMULLION_VERSION='""' -I. $^ && touch $@
# Locks: each that is taken is given back, on every path (core/base/spinlock.h).
$(O)/analyse/sparse: $(ANALYSED) core/base/spinlock.h
	@mkdir -p $(@D)
	$(Q)for f in $(ANALYSED); do sparse -std=gnu11 -ffreestanding -DMULLION_VERSION='""' -I. $$f; done >$@.log 2>&1
	@! grep . $@.log && touch $@
$(O)/analyse/%.gcc: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(HVFLAGS) -fanalyzer -MMD -MP -MT $@ -c $< -o $@
$(O)/analyse/%.tidy: %.c
	@mkdir -p $(@D)
	$(Q)clang-tidy -quiet -checks='$(TIDY)' -warnings-as-errors='*' $< -- -std=gnu11 -I. -DMULLION_VERSION='""' \
	  $(if $(filter tools/%,$<),-DHOST_BUILD,-ffreestanding -mgeneral-regs-only) 2>$@.log || { cat $@.log; exit 1; }
	@touch $@
## make boot-test     boot tests on both vendors (T="-k refuse" for some of them)
BOOTTEST := $(PYTEST) -ra -m "not long" test/boot
# All of them: what runs in Bochs, which takes one processor, and then other people's programs in QEMU, beside all else that runs in QEMU.
boot-test: stock
	@$(if $(strip $(T)),$(BOOTTEST) $(T),{ $(BOOTTEST) --only vmx; vmx=$$?; $(BOOTTEST) --only stock || vmx=1; exit $$vmx; } >$(O)/boot-beside.log 2>&1 & beside=$$!; \
	  $(BOOTTEST) --only svm; svm=$$?; wait $$beside; beside=$$?; cat $(O)/boot-beside.log; exit $$((svm | beside)))
## make bench         what an exit costs, memory, size: beside other hypervisors' figures
bench: setup-run
	@$(MAKE) --no-print-directory all
	@$(PYTHON) -B test/bench.py
## make test          everything: lint, static analysis, unit tests, coverage, fuzzers, boot tests on both vendors
test: setup-test
	@$(MAKE) --no-print-directory images
	@$(MAKE) --no-print-directory -j$(shell nproc) lint
	@$(MAKE) --no-print-directory -j$(shell nproc) analyse
	@$(MAKE) --no-print-directory -j$(shell nproc) unit
	@$(PYTEST) -q test/unit
	@$(MAKE) --no-print-directory coverage
	@$(MAKE) --no-print-directory -j$(shell nproc) fuzz-short
	@$(MAKE) --no-print-directory boot-test
## make test-long     boot tests that take too long for every day (some hours; T="-k stress" for some of them)
test-long: setup-test
	@$(MAKE) --no-print-directory images
	@$(MAKE) --no-print-directory stock
	@$(PYTEST) -ra -m long test/boot $(T)
	@$(if $(T),,$(MAKE) --no-print-directory break)
## make fresh         the commands of the guides, typed in a minimal Debian 12 in a folder (root, debootstrap, network)
.PHONY: fresh
fresh:
	@test/fresh
## make attack        the attack suite on both vendors, DMA behind both IOMMUs, with a report: attempts, blocked, expected, breaches
attack: setup-test
	@$(MAKE) --no-print-directory images
	@$(PYTHON) -B test/attack.py $(T)
## make break         breaks each promise of docs/security.md once: every sabotage must be noticed (K=TEXT for some)
break: setup-test
	@$(MAKE) --no-print-directory images
	@$(PYTHON) -B test/break.py -k '$(K)'
