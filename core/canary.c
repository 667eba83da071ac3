/* What the compiler's stack protector reads and calls. */
#include "core/canary.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/panic.h"

/* Read-only once the cores run on their own page tables. */
extern u64 __stack_chk_guard;
u64 __stack_chk_guard __attribute__((section(".late"))) = 0x5bd1e995a7c3f100;
noreturn_fn void __stack_chk_fail(void);

void canary_choose(void) {
    u64 value = rdtsc() * 0x9e3779b97f4a7c15, noise;
    bool ok = false;

    if (cpuid(1, 0).ecx & BIT(30)) /* RDRAND */
        __asm__ volatile("rdrand %0" : "=r"(noise), "=@ccc"(ok));
    if (ok) value ^= noise;
    /* The lowest byte stays 0: text that runs over cannot write it and go on. */
    __stack_chk_guard = (__stack_chk_guard ^ value) & ~(u64)0xff;
}

void __stack_chk_fail(void) {
    panic("stack protector: a function wrote past its frame, called from 0x%llx",
          (unsigned long long)__builtin_return_address(0));
}
