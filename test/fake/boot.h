/* The whole of core on the fake machine: core_start with a real partition file, up to the guests' first instruction;
 * then exits, one script after the other. */
#pragma once

#include "core/machine.h"
#include "core/vcpu.h"
#include "test/fake/hardware.h"
#include "test/fake/vendor.h"

/* What boot hands over of the command line and the console; to be changed before fake_boot. */
extern struct boot_options fake_options;
extern struct boot_window fake_console[CONSOLE_WINDOWS];

#define FAKE_KERNEL_AT 0x100000ull

/* What the ACPI tables say. */
extern struct host_acpi fake_acpi;
/* hardware_make first. Boots with this partition file; the module `guest` is a flat image of HLTs, `rom` one
 * for a firmware, `bad` is none.
 * ram: bytes of memory that are free. STOP_SCRIPT: every vCPU stands before its first guest instruction or sleeps. */
enum stop fake_boot(const char *config, u32 core_count, u64 ram);
/* The text of the module pci.ids, NULL: there is none; and where it lies. */
extern const char *fake_pci_ids;
#define FAKE_PCI_IDS_AT (FAKE_RAM - KIB(256))
/* The nodes of the machine that fake_boot starts. */
extern struct numa fake_numa;
/* Between the APIC ids of the boot core and of the others. */
extern u32 fake_apic_gap;
/* Runs v on its core: these exits, then on until it stops. Other vCPUs run when v waits for them. */
enum stop fake_play(struct vcpu *v, const struct vm_exit *exits, u32 count);
/* From now on this thread is that core. */
void fake_on_core(u32 core);
/* What that core's page tables say. */
struct pt_lookup fake_lookup(u32 core, u64 va);

static inline struct partition *fake_partition(u32 i) { return machine.partitions[i]; }
static inline struct vcpu *fake_vcpu(u32 i) { return machine.partitions[0]->vcpus[i]; }
