#include "drivers/clock.h"

#include "core/base/cpu.h"

u64 clock_tsc_hz __attribute__((section(".late")));

void clock_wait_us(u64 us) {
    u64 start = rdtsc(), ticks = clock_tsc_hz / 1000000 * us;

    while (rdtsc() - start < ticks) cpu_pause();
}
