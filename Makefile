# Mullion. `make run` boots the demonstration, `make test` proves it; `make help` lists the rest.
# Everything that is built lies under build/.

O       := build
CC      := gcc
AR      := ar
WARN    := -Wall -Wextra -Werror -Wconversion -Wno-sign-conversion -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
           -Wpointer-arith -Wundef -Wvla -Wframe-larger-than=2048
VERSION := $(shell git describe --always --dirty 2>/dev/null || echo unknown)

# Pure code: compiled into the hypervisor, the host tools, the unit tests and the fuzzers.
PURE    := $(sort $(wildcard core/base/*.c core/vdev/*.c core/config/*.c core/insn/*.c core/image/*.c core/acpi/*.c \
                             core/policy/*.c mm/*.c))
# Hypervisor code: needs the machine.
HYPER   := $(sort $(wildcard boot/*.c core/*.c vmx/*.c svm/*.c drivers/*.c boot/*.S core/*.S vmx/*.S svm/*.S drivers/*.S))

.PHONY: all help clean unit
all: $(O)/mullion.elf tools

help:
	@sed -n 's/^## //p' $(MAKEFILE_LIST)

# --- the hypervisor -------------------------------------------------------------------------------------------------
# General registers only: guest FPU and vector state is never touched. No red zone: interrupts use the same stack.
HVFLAGS := -std=gnu11 -O2 -g -ffreestanding -fno-pic -fno-pie -mcmodel=kernel -mno-red-zone -mgeneral-regs-only \
           -fno-omit-frame-pointer -fstack-protector-strong -mstack-protector-guard=global -fcf-protection=none \
           -fno-asynchronous-unwind-tables -fno-strict-aliasing -ffunction-sections -fdata-sections \
           -DMULLION_VERSION='"$(VERSION)"' $(WARN) -I.
HVOBJS  := $(patsubst %,$(O)/hv/%.o,$(basename $(PURE) $(HYPER)))

$(O)/hv/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(HVFLAGS) -MMD -MP -c $< -o $@
$(O)/hv/%.o: %.S
	@mkdir -p $(@D)
	$(CC) $(HVFLAGS) -MMD -MP -c $< -o $@
$(O)/mullion.elf: $(HVOBJS) linker.ld
	$(CC) -nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack,-z,max-page-size=4096,--gc-sections,-Map=$(O)/mullion.map \
	  -T linker.ld -o $@ $(HVOBJS)

# --- unit tests: the pure code under ASan and UBSan ------------------------------------------------------------------
UTFLAGS := -std=gnu11 -O1 -g -DHOST_BUILD -fsanitize=address,undefined -fno-sanitize-recover=all \
           -fno-omit-frame-pointer $(filter-out -Wframe-larger-than=%,$(WARN)) -I.
UTOBJS  := $(patsubst %.c,$(O)/unit/%.o,$(PURE))
UTESTS  := $(patsubst test/unit/%.c,$(O)/unit/%,$(sort $(wildcard test/unit/test_*.c)))
.SECONDARY: $(UTOBJS)

$(O)/unit/%.o: %.c
	@mkdir -p $(@D)
	$(CC) $(UTFLAGS) -MMD -MP -c $< -o $@
$(O)/unit/test_%: $(O)/unit/test/unit/test_%.o $(UTOBJS)
	$(CC) $(UTFLAGS) $^ -o $@ -lcmocka
## make unit          unit tests of the pure code (cmocka, ASan, UBSan)
unit: $(UTESTS)
	@for t in $(UTESTS); do $$t || exit 1; done

# --- tools for the host ----------------------------------------------------------------------------------------------
.PHONY: tools
tools:

clean:
	rm -rf $(O)

-include $(shell find $(O) -name '*.d' 2>/dev/null)
