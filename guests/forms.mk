# Programs that check how they were started, one file for each boot form: build/guests/forms/*. Included by guests.mk.

FORMS   := mb1.elf mb1-64.elf mb1-address.bin mb2.elf mb2-64.elf mb2-address.bin pvh32.elf pvh64.elf \
           flat16.bin flat32.bin flat64.bin flat16-reset.bin firmware.bin
FORMDIR := $(O)/guests/forms
F32     := -m32 -march=i686 -mgeneral-regs-only --param=min-pagesize=0 -std=gnu11 -Os -ffreestanding -fno-pic -fno-pie -fno-stack-protector -fcf-protection=none \
           -fno-asynchronous-unwind-tables $(WARN) -I.
guests: $(FORMS:%=$(FORMDIR)/%)

$(FORMDIR)/forms.o: guests/forms/forms.c
	@mkdir -p $(@D)
	$(Q)$(CC) $(F32) -MMD -MP -c $< -o $@
form = $(Q)$(CC) -m32 -DFORM=$(1) -c guests/forms/start.S -o $@.o && \
       ld -m elf_i386 -T guests/forms/forms.ld -z noexecstack -z max-page-size=4096 --no-warn-rwx-segments -o $@ $@.o $(FORMDIR)/forms.o
FORMDEP := $(FORMDIR)/forms.o guests/forms/start.S guests/forms/forms.ld
$(FORMDIR)/mb1.elf: $(FORMDEP)
	$(call form,1)
$(FORMDIR)/mb1-address.elf: $(FORMDEP)
	$(call form,2)
$(FORMDIR)/mb2.elf: $(FORMDEP)
	$(call form,3)
$(FORMDIR)/mb2-address.elf: $(FORMDEP)
	$(call form,4)
$(FORMDIR)/pvh32.elf: $(FORMDEP)
	$(call form,5)
# The same in a 64-bit file.
$(FORMDIR)/%-64.elf: $(FORMDIR)/%.elf
	$(Q)objcopy -O elf64-x86-64 $< $@
$(FORMDIR)/pvh64.elf: $(FORMDIR)/pvh32.elf
	$(Q)objcopy -O elf64-x86-64 $< $@
# Not at the start of the file, so that the addresses have something to say.
$(FORMDIR)/%-address.bin: $(FORMDIR)/%-address.elf
	$(Q)objcopy -O binary $< $@.raw && { head -c 4000 /dev/zero; cat $@.raw; } >$@
# Where the three lie is what test_forms.py writes into its partition files.
$(FORMDIR)/flat16.bin $(FORMDIR)/flat16-reset.bin: BASE := 0x7c00
$(FORMDIR)/flat32.bin: BASE := 0x20000
$(FORMDIR)/flat64.bin: BASE := 0x200000
# This one ends by a jump to where a PC's firmware begins.
$(FORMDIR)/flat16-reset.bin: FLAT := -DMODE=16 -DRESET
$(FORMDIR)/flat%.bin: guests/forms/flat.S
	@mkdir -p $(@D)
	$(Q)$(CC) -m$(if $(filter 64,$*),64,32) $(or $(FLAT),-DMODE=$*) -c $< -o $@.o
	$(Q)ld -m $(if $(filter 64,$*),elf_x86_64,elf_i386) -Ttext=$(BASE) --oformat=binary -o $@ $@.o
$(FORMDIR)/firmware.bin: guests/forms/firmware.S
	@mkdir -p $(@D)
	$(Q)$(CC) -m32 -c $< -o $@.o
	$(Q)ld -m elf_i386 -Ttext=0 --oformat=binary -o $@ $@.o
