/* The cores from the end of start-up on: each one's way from its own tables to its vCPU, and the end. */
#include "core/cores.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/x86.h"
#include "core/local.h"
#include "core/machine.h"
#include "core/traps.h"
#include "drivers/power.h"
#include "drivers/uart.h"

struct machine machine __attribute__((section(".late")));

static u32 alive;   /* atomic: partitions that run or are about to */
static u32 enabled; /* atomic: cores that are still to come */

void machine_core_idle(void) {
    machine.vendor->cpu_disable();
    cpu_halt_forever();
}

void machine_partition_started(void) { __atomic_fetch_add(&alive, 1, __ATOMIC_ACQ_REL); }

void machine_partition_ended(void) {
    if (__atomic_sub_fetch(&alive, 1, __ATOMIC_ACQ_REL)) return;
    log_line("mullion: every partition has ended, powering off");
    uart_flush();
    power_off(machine.boot->acpi);
}

void cores_protect(void) {
    u32 features = cpuid_has_leaf(7) ? cpuid(7, 0).ebx : 0;
    u64 cr4 = read_cr4();

    if (features & BIT(7)) cr4 |= CR4_SMEP;
    if (features & BIT(20)) cr4 |= CR4_SMAP;
    if (cpuid_has_leaf(7) && (cpuid(7, 0).ecx & BIT(2))) cr4 |= CR4_UMIP;
    /* Guests use XCR0 themselves; XGETBV and XSETBV on their behalf need this. PKE stays clear: host pages are all
     * supervisor pages, and QEMU's nested walk would apply it. */
    if (cpuid(1, 0).ecx & BIT(26)) cr4 |= CR4_OSXSAVE;
    write_cr4(cr4 | CR4_OSFXSR | CR4_MCE); /* a machine check is told, instead of a reset */
    write_cr0((read_cr0() | CR0_WP | CR0_NE | CR0_MP) & ~(CR0_EM | CR0_TS));
}

/* Each core, on its own tables and stack from the first instruction. */
static noreturn_fn void core_entry(u32 core) {
    char why[200];
    struct vcpu *v = this_core->vcpu;

    (void)core;
    descriptors_load(&this_core->descriptors, LOCAL_FAULT_TOP);
    cores_protect();
    if (v && machine.vendor->cpu_enable((void *)(LOCAL_BASE + LOCAL_VENDOR_PAGE * PAGE_4K), this_core->vendor_page_pa,
                                        why, sizeof(why)))
        refuse("core %u: %s", this_core->core, why);
    if (v) machine.vendor->vcpu_init(&v->hw);
    /* No guest runs before every core is here, those without a partition too: boot's code and tables are left. */
    if (__atomic_sub_fetch(&enabled, 1, __ATOMIC_ACQ_REL) == 0)
        log_line("mullion: all cores are in host mode, starting the partitions");
    if (!v) cpu_halt_forever();
    while (__atomic_load_n(&enabled, __ATOMIC_ACQUIRE)) cpu_pause();
    if (v->partition->over) machine_core_idle();
    vcpu_start(v);
    vcpu_loop(v);
}

void cores_release(u32 partitions) {
    struct boot_core *cores = machine.boot->cores;

    alive = partitions;
    enabled = machine.boot->core_count;
    panic_stops_others();
    for (u32 i = 0; i < machine.boot->core_count; i++) {
        cores[i].stack = LOCAL_STACK_TOP;
        cores[i].entry = core_entry;
        if (i) __atomic_store_n(&cores[i].go, true, __ATOMIC_RELEASE);
    }
    cpu_go_on(cores[0].cr3, cores[0].stack, cores[0].entry);
}
