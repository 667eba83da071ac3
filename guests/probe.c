/* Checks that the PC behaves like one, feature by feature; the checks lie in guests/probe. It runs
 * on a bare machine or emulator as well: what fails there as here is not the hypervisor's doing.
 * Option only= picks one check by name. */
#include "guests/probe/probe.h"

static char text[160];

void detail(const char *format, ...) {
    va_list args;

    va_start(args, format);
    fmt_v(text, sizeof(text), format, args);
    va_end(args);
}

bool lenient_msrs(void) {
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
        text[0] = 0;
        ok = list->run();
        print("probe: %s %s%s%s\n", list->name, ok ? "ok" : "FAIL", text[0] ? " " : "", text);
        *failed += !ok;
        count++;
    }
    return count;
}

void guest_main(void) {
    u32 failed = 0, count = 0;

    print("probe: hypervisor %s, tsc %lu kHz by %s, %s\n", hypervisor_signature(), tsc_hz() / 1000, tsc_source(),
          lapic_is_x2() ? "x2apic" : "xapic");
    count += run_list(cpu_checks, &failed);
    count += run_list(interrupt_checks, &failed);
    count += run_list(shadow_checks, &failed);
    count += run_list(device_checks, &failed);
    print("probe: done %u failed %u\n", count, failed);
}
