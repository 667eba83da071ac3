/* The smallest partition: says hello, names its CPU, powers off. */
#include "core/base/string.h"
#include "guests/lib/guest.h"

void guest_main(void) {
    struct cpuid_result r = cpuid(0, 0);
    char vendor[13] = {0};

    memcpy(vendor, &r.ebx, 4);
    memcpy(vendor + 4, &r.edx, 4);
    memcpy(vendor + 8, &r.ecx, 4);
    print("hello from %s\n", options_line());
    print("hello: cpu %s, hypervisor %s, %u cpus, tsc %lu kHz by %s\n", vendor, hypervisor_signature(), acpi.cpu_count,
          tsc_hz() / 1000, tsc_source());
}
