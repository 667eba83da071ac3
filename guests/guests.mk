# Bare-metal programs for partitions: build/guests/NAME.elf from guests/NAME.c and the library in guests/lib.
# They also start on a bare emulator (qemu -kernel, by the PVH note) and from GRUB (multiboot2).

GUESTS   := $(patsubst guests/%.c,%,$(sort $(wildcard guests/*.c)))
GUESTLIB := $(sort $(wildcard guests/lib/*.c guests/lib/*.S)) core/base/fmt.c core/base/string.c
GOBJS    := $(patsubst %,$(O)/guests/obj/%.o,$(basename $(GUESTLIB)))
# General registers only, so that a handler need not save vector state; no red zone, as handlers use the same stack.
GFLAGS   := -std=gnu11 -O2 -g -ffreestanding -fno-pic -fno-pie -mno-red-zone -mgeneral-regs-only -fno-stack-protector \
            -fcf-protection=none -fno-asynchronous-unwind-tables -fno-strict-aliasing -ffunction-sections -fdata-sections \
            $(WARN) -I.

.PHONY: guests
## make guests        bare-metal programs for partitions: build/guests/*.elf
guests: $(GUESTS:%=$(O)/guests/%.elf)
.SECONDARY: $(GOBJS) $(patsubst %.c,$(O)/guests/obj/%.o,$(wildcard guests/probe/*.c guests/attack/*.c guests/dma/*.c)) $(patsubst %.S,$(O)/guests/obj/%.o,$(wildcard guests/probe/*.S)) $(GUESTS:%=$(O)/guests/obj/guests/%.o)

$(O)/guests/obj/%.o: %.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(GFLAGS) -MMD -MP -c $< -o $@
$(O)/guests/obj/%.o: %.S
	@mkdir -p $(@D)
	$(Q)$(CC) $(GFLAGS) -MMD -MP -c $< -o $@
# A program of several files keeps the others in a folder of its name.
$(O)/guests/probe.elf: $(patsubst %,$(O)/guests/obj/%.o,$(basename $(sort $(wildcard guests/probe/*.[cS]))))
$(O)/guests/attack.elf: $(patsubst %.c,$(O)/guests/obj/%.o,$(sort $(wildcard guests/attack/*.c)))
$(O)/guests/dma.elf: $(patsubst %.c,$(O)/guests/obj/%.o,$(sort $(wildcard guests/dma/*.c)))
$(O)/guests/crowd.elf: $(O)/guests/obj/guests/crowd/legacy.o
$(O)/guests/%.elf: $(O)/guests/obj/guests/%.o $(GOBJS) guests/lib/guest.ld
	$(Q)$(CC) -nostdlib -static -no-pie -Wl,--build-id=none,-z,noexecstack,-z,max-page-size=4096,--gc-sections \
	  -T guests/lib/guest.ld -o $@ $(filter %.o,$^)

include guests/forms.mk
