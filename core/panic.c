/* core/base/panic.h. */
#include "core/base/panic.h"

#include <stdarg.h>

#include "core/base/cpu.h"
#include "core/base/fmt.h"
#include "core/base/log.h"
#include "core/log.h"
#include "drivers/lapic.h"
#include "drivers/uart.h"

static bool panicked;
static bool stop_others __attribute__((
    section(".late"))); /* before that they are parked without an interrupt table: an NMI would reset the machine */

void panic_stops_others(void) { stop_others = true; }

bool panic_in_progress(void) { return __atomic_load_n(&panicked, __ATOMIC_ACQUIRE); }

void panic(const char *format, ...) {
    char text[200];
    va_list args;

    cpu_cli();
    __atomic_store_n(&panicked, true, __ATOMIC_RELEASE);
    va_start(args, format);
    fmt_v(text, sizeof(text), format, args);
    va_end(args);
    if (stop_others) lapic_nmi_others();
    log_break_lock();
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
