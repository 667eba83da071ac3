/* The smallest partition: says hello, names its CPU, powers off. port=P text=T: at the end, writes T to port P byte by
 * byte. key=1: waits for a key before that, and says which. */
#include "core/base/string.h"
#include "guests/lib/guest.h"

void guest_main(void) {
    struct cpuid_result r = cpuid(0, 0);
    char vendor[13] = {0};

    memcpy(vendor, &r.ebx, 4);
    memcpy(vendor + 4, &r.edx, 4);
    memcpy(vendor + 8, &r.ecx, 4);
    char text[32] = "";

    print("hello from %s\n", options_line());
    print("hello: cpu %s, hypervisor %s, %u cpus, tsc %lu kHz by %s\n", vendor, hypervisor_signature(), acpi.cpu_count,
          tsc_hz() / 1000, tsc_source());
    if (option_number("key", 0)) {
        print("hello: waits for a key\n");
        while (!(in8(0x3fd) & 1)) cpu_pause();
        print("hello: got %c\n", in8(0x3f8));
    }
    if (option_text("text", text, sizeof(text)))
        for (const char *c = text; *c; c++) out8((u16)option_number("port", 0), (u8)*c);
}
