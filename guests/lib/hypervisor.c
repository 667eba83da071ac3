#include "guests/lib/hypervisor.h"

#include "core/base/string.h"
#include "guests/lib/cpu.h"

#define CPUID1_HYPERVISOR BIT(31)

const char *hypervisor_signature(void) {
    static char text[13];
    struct cpuid_result r;

    if (!(cpuid(1, 0).ecx & CPUID1_HYPERVISOR)) return "none";
    r = cpuid(0x40000000, 0);
    memcpy(text, &r.ebx, 4);
    memcpy(text + 4, &r.ecx, 4);
    memcpy(text + 8, &r.edx, 4);
    return text;
}

bool hypervisor_is_mullion(void) { return str_equal(hypervisor_signature(), "MullionMulli"); }
