/* Several CPUs: who gets an interrupt, INIT and SIPI, one clock. SDM Vol 3A, Issuing Interprocessor Interrupts; MP
 * Initialization. The boot CPU asks, the second one (index 1) works in a loop with interrupts on. */
#include "core/base/bits.h"
#include "core/base/string.h"
#include "guests/probe/probe.h"

#define VECTOR      0x55
#define LAPIC_LDR   0xd0
#define LAPIC_DFR   0xe0
#define ICR_LOWEST  0x100u
#define ICR_NMI     0x400u
#define ICR_LOGICAL 0x800u
#define ICR_SELF    0x40000u
#define ICR_ALL     0x80000u
#define ICR_OTHERS  0xc0000u
#define WITNESS     0xa000u

extern const char init_witness[], init_witness_end[];

static u32 cpus;
static u32 counts[MAX_CPUS], nmis[MAX_CPUS];
static void (*volatile job)(void);
static volatile u32 starts;

static void on_ipi(struct trap_frame *frame) {
    (void)frame;
    counts[this_cpu()->index]++;
    lapic_eoi();
}
static void on_nmi(struct trap_frame *frame) {
    (void)frame;
    nmis[this_cpu()->index]++;
}

static void work(u32 index) {
    starts++;
    for (;;) {
        interrupts_on();
        (void)starts; /* behind the shadow of STI, and not in PAUSE, over which QEMU keeps it up */
        cpu_pause();
        interrupts_off();
        if (index == 1 && job) {
            job();
            job = NULL;
        }
    }
}

static bool alone(void) {
    if (!cpus) cpus = acpi.cpu_count > 1 ? smp_start(work) : 1;
    return cpus == 1;
}

/* The second CPU does it. */
static void let(void (*what)(void)) {
    u64 end = rdtsc() + ns_to_ticks(2000000000);

    job = what;
    while (job && rdtsc() < end) cpu_pause();
}

static void nothing(void) {}

/* Both have taken what was sent: the second one lets interrupts in before each job, and a job may have been on. */
static void settle(void) {
    interrupts_on();
    delay_us(100);
    let(nothing);
    let(nothing);
    interrupts_off();
}

static bool start(void) {
    if (alone()) return true;
    value("%u %u", cpus, starts);
    return cpus == acpi.cpu_count;
}

/* Who got it: boot CPU/second. */
static void forget(void) {
    memset(counts, 0, sizeof(counts));
    memset(nmis, 0, sizeof(nmis));
}
static void tell(void) {
    settle();
    if (nmis[0] | nmis[1])
        value("nmi %u/%u", nmis[0], nmis[1]);
    else
        value("%u/%u", counts[0], counts[1]);
}

/* One command. */
static void send(u32 dest, u32 low) {
    forget();
    lapic_command(dest, 0x4000 | low | VECTOR);
    tell();
}

static bool destinations(void) {
    if (alone()) return true;
    interrupt_handler(VECTOR, on_ipi);
    interrupt_handler(VEC_NMI, on_nmi);
    send(smp_apic_id(1), 0);
    send(lapic_id(), 0);
    send(0x7e, 0); /* nobody */
    send(lapic_is_x2() ? ~0u : 0xff, 0);
    send(0, ICR_SELF);
    send(0, ICR_ALL);
    send(0, ICR_OTHERS);
    send(smp_apic_id(1), ICR_NMI);
    send(0, ICR_OTHERS | ICR_NMI);
    return true;
}

static void flat_ids(void) {
    lapic_write(LAPIC_DFR, ~0u);
    lapic_write(LAPIC_LDR, 1u << (24 + this_cpu()->index));
}
static void cluster_ids(void) {
    lapic_write(LAPIC_DFR, 0x0fffffff);
    lapic_write(LAPIC_LDR, (0x10u * (this_cpu()->index + 1) | 1) << 24);
}

static bool logical(void) {
    if (alone() || lapic_is_x2()) return true;
    flat_ids();
    let(flat_ids);
    send(1, ICR_LOGICAL);
    send(2, ICR_LOGICAL);
    send(3, ICR_LOGICAL);
    send(4, ICR_LOGICAL);
    cluster_ids();
    let(cluster_ids);
    send(0x11, ICR_LOGICAL);
    send(0x21, ICR_LOGICAL);
    send(0x22, ICR_LOGICAL);
    send(0x31, ICR_LOGICAL);
    send(0xff, ICR_LOGICAL);
    flat_ids();
    let(flat_ids);
    return true;
}

static void high_priority(void) { lapic_write(LAPIC_TPR, 0x40); }
static void low_priority(void) { lapic_write(LAPIC_TPR, 0); }

/* The one with the lowest task priority. */
static bool lowest(void) {
    if (alone() || lapic_is_x2()) return true;
    let(high_priority);
    send(3, ICR_LOGICAL | ICR_LOWEST);
    let(low_priority);
    high_priority();
    send(3, ICR_LOGICAL | ICR_LOWEST);
    low_priority();
    return true;
}

/* From the IOAPIC: to one, to both, to the one whose task priority is lower, NMI. 82093AA, I/O Redirection Table. */
static void send_line(u32 dest, u32 low) {
    u32 entry = IOAPIC_TABLE(acpi.isa_gsi[0]);

    forget();
    pit_line(false);
    ioapic_write(entry + 1, dest << 24);
    ioapic_write(entry, low | VECTOR);
    pit_line(true);
    tell();
    ioapic_write(entry, IOAPIC_MASKED);
}

static bool lines(void) {
    if (alone() || lapic_is_x2()) return true;
    send_line(smp_apic_id(1), 0);
    send_line(lapic_id(), 0);
    send_line(1, ICR_LOGICAL);
    send_line(2, ICR_LOGICAL);
    send_line(3, ICR_LOGICAL);
    send_line(4, ICR_LOGICAL);
    let(high_priority);
    send_line(3, ICR_LOGICAL | ICR_LOWEST);
    let(low_priority);
    high_priority();
    send_line(3, ICR_LOGICAL | ICR_LOWEST);
    low_priority();
    send_line(smp_apic_id(1), ICR_NMI);
    return true;
}

/* Memory types that do no harm: write-through where nothing else is said, and a range that is not valid. */
static const struct {
    u32 msr;
    u64 value;
} types[] = {{MSR_MTRR_DEF_TYPE, 0xc04},
             {MSR_MTRR_FIX_4K + 7, 0x0404040404040404},
             {MSR_MTRR_BASE0 + 14, 0x80000004},
             {MSR_MTRR_BASE0 + 15, 0xf0000000}};
static u64 old_types[ARRAY_SIZE(types)];

static void restore_types(void) {
    for (u32 i = 0; i < ARRAY_SIZE(types); i++) wrmsr(types[i].msr, old_types[i]);
}

static void mark_registers(void) {
    u64 dr7 = 0x401, cr2 = 0x1234;

    for (u32 i = 0; i < ARRAY_SIZE(types); i++) {
        old_types[i] = rdmsr(types[i].msr);
        wrmsr(types[i].msr, types[i].value);
    }
    wrmsr(MSR_STAR, 0x0011223344556677);
    wrmsr(MSR_SYSENTER_EIP, 0x13579bdf);
    wrmsr(MSR_PAT, (rdmsr(MSR_PAT) & 0x00ffffffffffffff) | 1ull << 56);
    __asm__ volatile("movq %0, %%dr7\n\tmovq %1, %%cr2" ::"r"(dr7), "r"(cr2));
}

/* INIT leaves MSRs, PAT, MTRRs and the cache bits of CR0 alone; all else starts anew. SDM Vol 3A, Processor State After
 * Reset. */
static bool init_state(void) {
    volatile u32 *seen = (volatile u32 *)(u64)(WITNESS + 0x100);
    u32 before = starts, id;
    u64 end;

    if (alone() || cpus > 2) return true;
    id = smp_apic_id(1);
    let(mark_registers);
    memcpy((void *)(u64)WITNESS, init_witness, (size_t)(init_witness_end - init_witness));
    lapic_init_cpu(id);
    delay_us(10000);
    value("%u", starts - before); /* waits for a SIPI */
    lapic_start_cpu(id, WITNESS >> 12);
    end = rdtsc() + ns_to_ticks(2000000000);
    while (starts == before && rdtsc() < end) cpu_pause();
    lapic_start_cpu(id, 0x50); /* a second one is ignored */
    delay_us(10000);
    value("%u %d", starts - before, seen[0] == cpuid(1, 0).eax);
    for (u32 i = 1; i < 22; i++) value("%x", seen[i]);
    interrupt_handler(VECTOR, on_ipi);
    send(id, 0);
    let(restore_types);
    return true;
}

/* INIT and SIPI to all others at once; a third SIPI finds it running. */
static bool broadcast(void) {
    u32 before = starts;
    u64 end;

    if (alone() || cpus > 2) return true;
    lapic_command(0, ICR_OTHERS | 0x4500);
    delay_us(10000);
    value("%u", starts - before);
    for (u32 i = 0; i < 3; i++) {
        lapic_command(0, ICR_OTHERS | 0x4600 | WITNESS >> 12);
        end = rdtsc() + ns_to_ticks(i ? 10000000 : 2000000000);
        while (starts == before && rdtsc() < end) cpu_pause();
    }
    delay_us(10000);
    value("%u", starts - before);
    send(smp_apic_id(1), 0);
    return starts == before + 1;
}

static volatile u64 other_tsc;
static void read_clock(void) { other_tsc = rdtsc(); }

static bool one_clock(void) {
    u32 back = 0;

    if (alone()) return true;
    for (u32 i = 0; i < 50; i++) {
        u64 before = rdtsc(), after;

        let(read_clock);
        after = rdtsc();
        back += other_tsc < before || other_tsc > after;
    }
    value("%u", back);
    return back == 0;
}

/* The leaves that say how many there are and who one is. */
static u32 ids_seen[2];
static void read_ids(void) {
    ids_seen[0] = cpuid(1, 0).ebx >> 24;
    ids_seen[1] = cpuid(0, 0).eax >= 0xb ? cpuid(0xb, 0).edx : ids_seen[0];
}
static bool topology(void) {
    u32 logical_count = cpuid(1, 0).ebx >> 16 & 0xff;

    if (alone()) return true;
    let(read_ids);
    value("%d %d", ids_seen[0] == smp_apic_id(1), ids_seen[1] == smp_apic_id(1));
    value("%d", (cpuid(1, 0).edx >> 28 & 1) && logical_count >= cpus);
    return true;
}

const struct check smp_checks[] = {
    {"smp-start", start},
    {"smp-topology", topology},
    {"smp-destinations", destinations},
    {"smp-logical", logical},
    {"smp-lowest", lowest},
    {"smp-ioapic", lines},
    {"smp-clock", one_clock},
    {"smp-init", init_state},
    {"smp-broadcast", broadcast},
    {0},
};
