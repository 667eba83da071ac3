#include "guests/lib/smp.h"

#include "core/base/string.h"
#include "guests/lib/acpi.h"
#include "guests/lib/cpu.h"
#include "guests/lib/interrupts.h"
#include "guests/lib/lapic.h"
#include "guests/lib/options.h"
#include "guests/lib/timer.h"

#define STACK_BYTES 16384
#define TRAMPOLINE  0x8000

extern const char ap_trampoline[], ap_trampoline_end[];
void smp_cpu_entry(void);

extern u64 ap_stack_top;
u64 ap_stack_top; /* read by trampoline.S: one CPU starts at a time */

static u8 stacks[MAX_CPUS][STACK_BYTES] __attribute__((aligned(16)));
static u32 ids[MAX_CPUS];
static u32 starting, online;
static void (*work_fn)(u32 index);

u32 smp_apic_id(u32 index) { return ids[index]; }

/* First C code of a started CPU. */
void smp_cpu_entry(void) {
    u32 index = starting;

    interrupts_cpu_init(index);
    lapic_cpu_init();
    __atomic_store_n(&online, index, __ATOMIC_RELEASE);
    work_fn(index);
    cpu_stop();
}

static bool came_up(u32 index, u64 us) {
    u64 end = rdtsc() + ns_to_ticks(us * 1000);

    while (__atomic_load_n(&online, __ATOMIC_ACQUIRE) != index) {
        if (rdtsc() > end) return false;
        cpu_pause();
    }
    return true;
}

/* SDM Vol 3A, MP Initialization Example: INIT, 10 ms, SIPI, 200 us, and a second SIPI if the first
 * was not seen. */
static bool start_one(u32 index, u32 apic_id, u64 page) {
    starting = index;
    ids[index] = apic_id;
    ap_stack_top = (u64)stacks[index] + STACK_BYTES;
    lapic_init_cpu(apic_id);
    delay_us(10000);
    lapic_start_cpu(apic_id, (u8)(page >> 12));
    if (came_up(index, 200)) return true;
    lapic_start_cpu(apic_id, (u8)(page >> 12));
    return came_up(index, 5000000);
}

u32 smp_start(void (*work)(u32 index)) {
    u64 page = option_number("ap_page", TRAMPOLINE);
    u32 count = 1;

    work_fn = work;
    ids[0] = lapic_id();
    memcpy((void *)page, ap_trampoline, (size_t)(ap_trampoline_end - ap_trampoline));
    for (u32 i = 0; i < acpi.cpu_count; i++)
        if (acpi.apic_ids[i] != ids[0] && count < MAX_CPUS && start_one(count, acpi.apic_ids[i], page)) count++;
    return count;
}
