/* core/base/panic.h. */
#include "core/base/panic.h"

#include <stdarg.h>

#include "core/base/cpu.h"
#include "core/base/fmt.h"
#include "core/base/log.h"
#include "core/local.h"
#include "drivers/lapic.h"
#include "drivers/uart.h"

#define NOBODY ~0u

static u32 panicker = NOBODY; /* the core that panics */
static bool stop_others __attribute__((
    section(".late"))); /* before that they are parked without an interrupt table: an NMI would reset the machine */

void panic_stops_others(void) { stop_others = true; }

/* Before the others run there is this one only, and it has no number yet. */
static u32 here(void) { return stop_others ? this_core->core : 0; }

bool panic_in_progress(void) { return __atomic_load_n(&panicker, __ATOMIC_ACQUIRE) != NOBODY; }

bool panic_is_here(void) {
    if (!panic_in_progress()) return false;
    if (__atomic_load_n(&panicker, __ATOMIC_ACQUIRE) != here()) cpu_halt_forever();
    return true;
}

void panic_begin(void) {
    u32 before = NOBODY;

    cpu_cli();
    if (__atomic_compare_exchange_n(&panicker, &before, here(), false, __ATOMIC_ACQ_REL, __ATOMIC_ACQUIRE)) {
        if (stop_others) lapic_nmi_others();
    } else if (before != here()) {
        cpu_halt_forever();
    }
}

void panic(const char *format, ...) {
    char text[200];
    va_list args;

    panic_begin();
    va_start(args, format);
    fmt_v(text, sizeof(text), format, args);
    va_end(args);
    log_line(LOG_ALWAYS "panic: %s", text);
    log_line(LOG_ALWAYS "panic: the machine is stopped; please report these lines");
    uart_flush();
    cpu_halt_forever();
}

void refuse(const char *format, ...) {
    char text[400], *remedy;
    va_list args;

    va_start(args, format);
    fmt_v(text, sizeof(text), format, args);
    va_end(args);
    for (remedy = text; *remedy && *remedy != '|'; remedy++)
        ;
    if (*remedy) *remedy++ = 0;
    log_line(LOG_ALWAYS "mullion: cannot start: %s", text);
    if (*remedy) log_line(LOG_ALWAYS "mullion: remedy: %s", remedy);
    log_line(LOG_ALWAYS "mullion: halted");
    uart_flush();
    cpu_halt_forever();
}
