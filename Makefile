# Mullion. `make run` boots the demonstration, `make test` proves it; `make help` lists the rest.
# Everything that is built lies under build/.

O       := build
V       := 0
Q       := $(if $(filter 0,$(V)),@) # V=1 shows every command
CC      := gcc
AR      := ar
WARN    := -Wall -Wextra -Werror -Wconversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wpointer-arith \
           -Wundef -Wvla -Wframe-larger-than=2048
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

# Pure code: compiled into the hypervisor, the host tools, the unit tests and the fuzzers.
PURE    := $(sort $(wildcard core/base/*.c core/vdev/*.c core/config/*.c core/insn/*.c core/image/*.c core/acpi/*.c \
                             core/policy/*.c mm/*.c) boot/multiboot2.c) \
           $(addprefix drivers/,acpi.c aml_s5.c pci_scan.c pci_sriov.c pci_vf.c dmar.c ivrs.c srat.c)
# Hypervisor code: needs the machine.
HYPER   := $(filter-out $(PURE),$(sort $(wildcard boot/*.c core/*.c vmx/*.c svm/*.c drivers/*.c \
                                                  boot/*.S core/*.S vmx/*.S svm/*.S drivers/*.S)))
# Pure code of the host tools: unit tests and fuzzers have it too.
TOOLED  := tools/report.c tools/inventory.c tools/inventory_check.c
# Generated pure code.
PURE    += $(O)/gen/dsdt.c $(O)/gen/pci.c $(O)/gen/font.c

## make               the hypervisor and the tools, under build/
.PHONY: all help clean unit unit-build
all: $(O)/mullion.elf tools guests

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

# --- the hypervisor -------------------------------------------------------------------------------------------------
# General registers only: guest FPU and vector state is never touched. No red zone: interrupts use the same stack.
HVFLAGS := -std=gnu11 -O2 -g -ffreestanding -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -mgeneral-regs-only \
           -fomit-frame-pointer -fstack-protector-strong -mstack-protector-guard=global -fcf-protection=none \
           -fno-asynchronous-unwind-tables -fno-strict-aliasing -ffunction-sections -fdata-sections \
           $(WARN) -I. $(HVMORE)
# HVMORE, HVLINK, HVEXTRA: further flags, linker flags and objects, for test/coverage.mk.
HVOBJS  := $(patsubst %,$(O)/hv/%.o,$(basename $(PURE) $(HYPER))) $(HVEXTRA)

# The version is compiled into one file, which is made anew when the version changes.
$(shell mkdir -p $(O); echo '$(VERSION)' | cmp -s - $(O)/version || echo '$(VERSION)' >$(O)/version)
$(O)/hv/boot/main.o: $(O)/version
$(O)/hv/boot/main.o: HVFLAGS += -DMULLION_VERSION='"$(VERSION)"'
$(O)/hv/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(HVFLAGS) -MMD -MP -c $< -o $@
$(O)/hv/%.o: %.S
	@mkdir -p $(@D)
	$(Q)$(CC) $(HVFLAGS) -MMD -MP -c $< -o $@
# With symbols, for debuggers; and without, for GRUB.
$(O)/mullion.debug.elf: $(HVOBJS) linker.ld
	$(Q)$(CC) -nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack,-z,max-page-size=4096,--gc-sections,-Map=$(O)/mullion.map \
	  -T linker.ld -o $@ $(HVOBJS) $(HVLINK)
$(O)/mullion.elf: $(O)/mullion.debug.elf
	$(Q)objcopy --strip-all $< $@

# The guests' DSDT and SSDT: AML from iasl, as a C array. -we: its warnings are errors too.
$(O)/gen/%.c: core/acpi/%.asl
	@mkdir -p $(@D)
	$(Q)iasl -we -p $(O)/gen/$* $< >$(O)/gen/$*.log 2>&1 || { cat $(O)/gen/$*.log; exit 1; }
	$(Q){ echo '#include "core/acpi/dsdt_aml.h"'; echo 'const u8 $*_aml[] = {'; \
	  od -An -v -tx1 $(O)/gen/$*.aml | sed 's/ \([0-9a-f][0-9a-f]\)/0x\1, /g'; \
	  echo '};'; echo 'const u32 $*_aml_bytes = sizeof($*_aml);'; } >$@

# The font of the screen: 8 by 16, from Debian, in the public domain.
export PACKAGES ?= $(O)/packages
FONT    := $(PACKAGES)/font/usr/share/consolefonts/Lat15-Fixed16.psf.gz
$(FONT):
	@ONLY=./usr/share/consolefonts tools/fetch-deb $(PACKAGES)/font console-setup-linux
$(O)/gen/font.c: tools/make-font | $(FONT)
	@mkdir -p $(@D)
	$(Q)tools/make-font $(FONT) >$@.new && mv $@.new $@

# --- unit tests: the pure code under ASan and UBSan ------------------------------------------------------------------
UTFLAGS := -std=gnu11 -O1 -g -DHOST_BUILD -fsanitize=address,undefined -fno-sanitize-recover=all \
           -fno-omit-frame-pointer $(filter-out -Wframe-larger-than=%,$(WARN)) -Itest/fake -I.
UTOBJS  := $(patsubst %.c,$(O)/unit/%.o,$(PURE) $(TOOLED))
# Core itself, on a machine and a vendor that are played: test/fake.
FAKED   := $(filter-out core/canary.c,$(wildcard core/*.c)) drivers/pci.c drivers/screen.c $(wildcard test/fake/*.c)
UTCORE  := $(patsubst %.c,$(O)/unit/%.o,$(FAKED))
UTESTS  := $(patsubst test/unit/%.c,$(O)/unit/%,$(sort $(wildcard test/unit/test_*.c)))
.SECONDARY: $(UTOBJS) $(UTCORE) $(UTESTS:$(O)/unit/%=$(O)/unit/test/unit/%.o) $(O)/gen/dsdt.c $(O)/gen/pci.c

$(O)/unit/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(UTFLAGS) -MMD -MP -c $< -o $@
$(O)/unit/test_%: $(O)/unit/test/unit/test_%.o $(UTOBJS)
	$(Q)$(CC) $(UTFLAGS) $^ -o $@ -lcmocka $(UTLIBS)
$(O)/unit/test_core_%: $(O)/unit/test/unit/test_core_%.o $(UTOBJS) $(UTCORE)
	$(Q)$(CC) $(UTFLAGS) $^ -o $@ -lcmocka
# A driver, against a made-up machine.
$(O)/unit/test_vtd $(O)/unit/test_vtd_ids: $(O)/unit/drivers/vtd.o
$(O)/unit/test_uart: $(O)/unit/drivers/uart.o
$(O)/unit/test_vendor_probe: $(O)/unit/svm/probe.o $(O)/unit/vmx/probe.o
$(O)/unit/test_vmx_state: $(O)/unit/vmx/state.o
$(O)/unit/test_screen: $(O)/unit/drivers/screen.o
# An independent disassembler, for one test only.
$(O)/unit/test_insn_capstone: UTLIBS := -lcapstone
unit-build: $(UTESTS)
## make unit          unit tests of the pure code (cmocka, ASan, UBSan)
unit: unit-build
	@for t in $(UTESTS); do $$t || exit 1; done

# --- tools for the host ----------------------------------------------------------------------------------------------
.PHONY: tools
tools: $(O)/tools/mullion-check

TLFLAGS := -std=gnu11 -O2 -g -DHOST_BUILD $(WARN) -I.
TLOBJS  := $(patsubst %.c,$(O)/host/%.o,$(wildcard tools/*.c) $(filter core/base/% core/config/% core/image/% mm/frames.c mm/numa.c mm/region%,$(PURE)))
$(O)/host/tools/mullion-check.o: $(O)/version
$(O)/host/tools/mullion-check.o: TLFLAGS += -DMULLION_VERSION='"$(VERSION)"'
$(O)/host/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(TLFLAGS) -MMD -MP -c $< -o $@
$(O)/tools/mullion-check: $(TLOBJS)
	@mkdir -p $(@D)
	$(Q)$(CC) $(TLFLAGS) $^ -o $@

include tools/targets.mk

include test/fuzz.mk test/coverage.mk

include guests/guests.mk

clean:
	rm -rf $(O)

-include $(shell find $(O) \( -path $(O)/packages -o -path $(O)/fresh \) -prune -o -name '*.d' -print 2>/dev/null)
