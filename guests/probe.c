/* Checks that the PC behaves like one, feature by feature; the checks lie in guests/probe, a file for each area. It
 * runs on a bare machine or emulator as well, and what it prints is the same there and here:
 *
 *     probe: NAME ok|FAIL VALUES # NOTE
 *
 * test/boot/test_conform.py compares the verdicts and values. A note is for the reader: times, counts that may vary.
 * Option only= picks one check by name. */
#include "core/base/bits.h"
#include "guests/probe/probe.h"

static char text[160], values[300];
static size_t values_used;

void value(const char *format, ...) {
    va_list args;

    va_start(args, format);
    if (values_used + 1 < sizeof(values)) {
        values[values_used++] = ' ';
        values_used += fmt_v(values + values_used, sizeof(values) - values_used, format, args);
        values_used = min_u64(values_used, sizeof(values) - 1);
    }
    va_end(args);
}

void detail(const char *format, ...) {
    va_list args;

    va_start(args, format);
    fmt_v(text, sizeof(text), format, args);
    va_end(args);
}

struct fault value_of_try(void (*run)(void *), void *argument) {
    struct fault f = fault_try(run, argument);

    if (f.raised)
        value("%s(%lx)", exception_name(f.vector), f.error);
    else
        value("ok");
    return f;
}

static void read_unknown(void *argument) {
    (void)argument;
    (void)rdmsr(0x12345678);
}

bool lenient_msrs(void) { return !fault_try(read_unknown, NULL).raised; }

bool bare_qemu(void) {
    static const char tcg[] = "TCGTCGTCGTCG";
    const char *signature = hypervisor_signature();

    for (u32 i = 0; i < sizeof(tcg); i++)
        if (signature[i] != tcg[i]) return false;
    return true;
}

bool wait_count(const u32 *counter, u32 want, u32 ms) {
    u64 end = rdtsc() + ns_to_ticks((u64)ms * 1000000);
    bool reached;

    interrupts_on();
    while (!(reached = __atomic_load_n(counter, __ATOMIC_RELAXED) >= want) && rdtsc() < end) cpu_pause();
    interrupts_off();
    return reached;
}

static u32 run_list(const struct check *list, u32 *failed) {
    u32 count = 0;

    for (; list->name; list++) {
        bool ok;
        if (option_given("only") && !option_is("only", list->name)) continue;
        text[0] = values[0] = 0;
        values_used = 0;
        ok = list->run();
        print("probe: %s %s%s%s%s\n", list->name, ok ? "ok" : "FAIL", values, text[0] ? " # " : "", text);
        *failed += !ok;
        count++;
    }
    return count;
}

static const struct check *const areas[] = {cpu_checks,       msr_checks,  mode_checks,   level_checks, user_checks,
                                            interrupt_checks, apic_checks, shadow_checks, mmio_checks,  device_checks,
                                            timer_checks,     pic_checks,  smp_checks,    last_checks};

void guest_main(void) {
    u32 failed = 0, count = 0;

    /* Whoever started us may have left more than long mode on. */
    wrmsr(MSR_EFER, rdmsr(MSR_EFER) & ~(u64)(EFER_SCE | EFER_NXE));

    print("probe: hypervisor %s, tsc %lu kHz by %s, %s\n", hypervisor_signature(), tsc_hz() / 1000, tsc_source(),
          lapic_is_x2() ? "x2apic" : "xapic");
    for (u32 i = 0; i < ARRAY_SIZE(areas); i++) count += run_list(areas[i], &failed);
    print("probe: done %u failed %u\n", count, failed);
}
