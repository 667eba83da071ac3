/* What single operations cost, in TSC ticks: what exits on a hypervisor, and what should not. Each
 * is timed 101 times between two fenced RDTSC; the minimum and the median are printed, with the
 * cost of the empty measurement still in them (`bench: empty`). Option only= picks one by name. */
#include "core/base/bits.h"
#include "core/base/string.h"
#include "guests/lib/guest.h"

#define SAMPLES      101
#define IPI_VECTOR   0x50
#define TIMER_VECTOR 0x40
#define WAKE_US      100
#define REACH_US     2000000 /* an interrupt that has not come by then is lost */

static u64 samples[SAMPLES];
static volatile u32 received; /* interrupts taken by any CPU */
static volatile bool peer_halts;
static bool has_peer;

static void empty(void) {}

static void do_cpuid(void) { (void)cpuid(0, 0); }
/* Two legacy prefixes and a REX: five bytes of the same instruction. */
static void do_cpuid_prefixed(void) {
    __asm__ volatile(".byte 0x66, 0x67, 0x48, 0x0f, 0xa2" ::"a"(0), "c"(0) : "rbx", "rdx", "memory");
}

static void vmcall(void *argument) {
    (void)argument;
    __asm__ volatile("vmcall" ::"a"(0) : "memory");
}
static void vmmcall(void *argument) {
    (void)argument;
    __asm__ volatile("vmmcall" ::"a"(0) : "memory");
}
static void do_vmcall(void) { (void)fault_try(vmcall, NULL); }
static void do_vmmcall(void) { (void)fault_try(vmmcall, NULL); }
static void undefined(void *argument) {
    (void)argument;
    __asm__ volatile("ud2");
}
static void do_ud2(void) { (void)fault_try(undefined, NULL); }

static void read_apic_base(void) { (void)rdmsr(MSR_APIC_BASE); }
static void write_apic_base(void) { wrmsr(MSR_APIC_BASE, rdmsr(MSR_APIC_BASE)); }
static void read_tsc_msr(void) { (void)rdmsr(MSR_TSC); }
static void read_pic(void) { (void)in8(0x21); }
static void read_pit(void) { (void)in8(0x40); }
static void read_pci(void) { (void)in32(0xcfc); }
static void read_ioapic(void) { (void)mmio_read32(acpi.ioapic); }
static void write_ioapic(void) { mmio_write32(acpi.ioapic, 0); }
static void read_apic_id(void) { (void)lapic_read(LAPIC_ID); }
static void write_tpr(void) { lapic_write(LAPIC_TPR, 0); }
static void write_cr8(void) { __asm__ volatile("movq %0, %%cr8" ::"r"((u64)0) : "memory"); }
static void wbinvd(void) { __asm__ volatile("wbinvd" ::: "memory"); }
static void toggle_pge(void) {
    u64 cr4 = read_cr4();

    write_cr4(cr4 ^ CR4_PGE);
    write_cr4(cr4);
}

/* Waits until `received` differs from before; gives up after REACH_US. */
static void await(u32 before) {
    u64 end = rdtsc() + ns_to_ticks((u64)REACH_US * 1000);

    while (received == before && rdtsc() < end) cpu_pause();
}

static void ipi_self(void) {
    u32 before = received;

    interrupts_on();
    lapic_ipi_self(IPI_VECTOR);
    await(before);
    interrupts_off();
}
static void ipi_peer(void) {
    u32 before = received;

    lapic_ipi(smp_apic_id(1), IPI_VECTOR);
    await(before);
}
static void arm_timer(void) { timer_at(rdtsc() + ns_to_ticks(1000000000)); }
static void timer_wake(void) {
    u32 before = received;

    timer_at(rdtsc() + ns_to_ticks((u64)WAKE_US * 1000));
    while (received == before) wait_for_interrupt();
}

static void on_interrupt(struct trap_frame *frame) {
    (void)frame;
    lapic_eoi();
    received++;
}

static void peer(u32 index) {
    (void)index;
    for (;;) {
        if (peer_halts) {
            wait_for_interrupt();
        } else {
            interrupts_on();
            cpu_pause();
        }
    }
}

/* The peer looks at peer_halts after its next interrupt; wait until it has settled. */
static void settle_peer(bool halts) {
    peer_halts = halts;
    ipi_peer();
    delay_us(1000);
}

static void sort(u64 *v, u32 n) {
    for (u32 i = 1; i < n; i++) {
        u64 x = v[i];
        u32 k = i;
        for (; k > 0 && v[k - 1] > x; k--) v[k] = v[k - 1];
        v[k] = x;
    }
}

/* subtract: ticks that belong to the arrangement and not to the cost. */
static void measure(const char *name, void (*operation)(void), u64 subtract) {
    if (option_given("only") && !option_is("only", name)) return;
    operation(); /* once for the caches */
    for (u32 i = 0; i < SAMPLES; i++) {
        u64 start = rdtsc(), took;
        operation();
        took = rdtsc() - start;
        samples[i] = took > subtract ? took - subtract : 0;
    }
    sort(samples, SAMPLES);
    print("bench: %s min %lu median %lu\n", name, samples[0], samples[SAMPLES / 2]);
}

static const struct operation {
    const char *name;
    void (*run)(void);
} operations[] = {
    {"empty", empty},
    {"cpuid", do_cpuid},
    {"cpuid-prefixed", do_cpuid_prefixed},
    {"fault-ud2", do_ud2},
    {"vmcall", do_vmcall},
    {"vmmcall", do_vmmcall},
    {"rdmsr-apic-base", read_apic_base},
    {"rdwrmsr-apic-base", write_apic_base},
    {"rdmsr-tsc", read_tsc_msr},
    {"in-pic", read_pic},
    {"in-pit", read_pit},
    {"in-pci", read_pci},
    {"lapic-read-id", read_apic_id},
    {"lapic-write-tpr", write_tpr},
    {"lapic-eoi", lapic_eoi},
    {"cr8-write", write_cr8},
    {"wbinvd", wbinvd},
    {"cr4-pge-twice", toggle_pge},
    {"timer-arm", arm_timer},
    {"ipi-self", ipi_self},
};

static void tell_hypercall(const char *name, void (*run)(void *)) {
    struct fault f = fault_try(run, NULL);

    print("bench: %s %s%s\n", name, f.raised ? "raises " : "returns", f.raised ? exception_name(f.vector) : "");
}

static void measure_peer(void) {
    settle_peer(false);
    measure("ipi-peer-spinning", ipi_peer, 0);
    settle_peer(true);
    measure("ipi-peer-halted", ipi_peer, 0);
}

void guest_main(void) {
    u64 wake = ns_to_ticks((u64)WAKE_US * 1000);

    interrupt_handler(IPI_VECTOR, on_interrupt);
    interrupt_handler(TIMER_VECTOR, on_interrupt);
    timer_setup(TIMER_VECTOR);
    has_peer = smp_start(peer) >= 2;
    print("bench: hypervisor %s, tsc %lu kHz by %s, %s\n", hypervisor_signature(), tsc_hz() / 1000, tsc_source(),
          lapic_is_x2() ? "x2apic" : "xapic");
    tell_hypercall("vmcall", vmcall);
    tell_hypercall("vmmcall", vmmcall);
    for (u32 i = 0; i < ARRAY_SIZE(operations); i++) measure(operations[i].name, operations[i].run, 0);
    timer_stop();
    if (acpi.ioapic) {
        measure("ioapic-read", read_ioapic, 0);
        measure("ioapic-write", write_ioapic, 0);
    }
    measure("timer-wake", timer_wake, wake);
    if (has_peer)
        measure_peer();
    else
        print("bench: one cpu: no interrupts between cpus\n");
    print("bench: done\n");
}
