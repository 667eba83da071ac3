#include "boot/boot.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/layout.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/string.h"
#include "drivers/clock.h"
#include "drivers/lapic.h"

#define START_TIMEOUT_US 1000000 /* ample: an emulated core may have to wait for its turn */

/* The last words of the start page, read by boot.S. */
struct start_parameters {
    u64 cr3, stack, entry, argument;
};
#define PARAMETERS_AT 0xfe0
_Static_assert(PARAMETERS_AT + sizeof(struct start_parameters) == 4096, "the parameters end the page");

static struct boot_info *info __attribute__((section(".late")));
static u32 arrived; /* atomic: index of the core that came up last */
/* One core at a time runs on this stack; it leaves it before the next is started, for one of its own. */
static u8 start_stack[4096] __attribute__((aligned(16)));

static noreturn_fn void core_arrives(u64 core) {
    lapic_enable();
    info->cores[core].apic_id = lapic_id();
    boot_park(&info->cores[core], (u32)core, &arrived);
}

static bool wait_for(u32 core) {
    for (u32 us = 0; us < START_TIMEOUT_US; us += 20) {
        if (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) == core) return true;
        clock_wait_us(20);
    }
    return false;
}

/* SDM Vol 3A, MP Initialization Protocol Algorithm: INIT, 10 ms, SIPI, 200 us, SIPI if the first had no effect. */
static bool start_core(u32 core, u32 apic_id, u8 page) {
    lapic_send_init(apic_id);
    clock_wait_us(10000);
    lapic_send_startup(apic_id, page);
    clock_wait_us(200);
    if (__atomic_load_n(&arrived, __ATOMIC_ACQUIRE) != core) lapic_send_startup(apic_id, page);
    return wait_for(core);
}

void smp_start(struct boot_info *boot, hpa_t page) {
    u8 *copy = (u8 *)(page.v + DIRECT_BASE);
    struct start_parameters *parameters = (void *)(copy + PARAMETERS_AT);
    u32 self = lapic_id(), next = 1;

    info = boot;
    boot->cores[0].apic_id = self;
    /* cppcheck-suppress comparePointers ; both are ends of one page, from boot.S */
    memcpy(copy, start_page, (size_t)(start_page_end - start_page));
    for (u32 i = 0; i < boot->acpi->cpu_count && next != boot->options.cores; i++) {
        u32 apic_id = boot->acpi->cpus[i].apic_id;

        if (apic_id == self) continue;
        if (apic_id > 0xfe && !lapic_is_x2apic()) {
            log_line(LOG_WARN "boot: core with local APIC id %u left out: it can only be reached in x2apic mode",
                     apic_id);
            continue;
        }
        *parameters = (struct start_parameters){
            .cr3 = read_cr3(),
            .stack = (u64)(start_stack + sizeof(start_stack)),
            .entry = (u64)core_arrives,
            .argument = next,
        };
        boot->cores[next].apic_id = apic_id;
        if (start_core(next, apic_id, (u8)(page.v >> 12))) {
            next++;
            continue;
        }
        /* It must not come late, onto the stack and with the number of the next one. */
        lapic_send_init(apic_id);
        log_line(LOG_WARN "boot: core with local APIC id %u does not answer, left out", apic_id);
    }
    boot->core_count = next;
}
