#include "guests/lib/tally.h"

#include <stdarg.h>

#include "core/base/fmt.h"
#include "guests/lib/console.h"
#include "guests/lib/timer.h"

struct tally tally;
static u64 breaches_here;
static char first_breach[160];

void judge(bool ok, u64 *good, const char *format, ...) {
    va_list args;

    tally.attempts++;
    if (ok) {
        ++*good;
        return;
    }
    tally.breaches++;
    if (breaches_here++) return;
    va_start(args, format);
    fmt_v(first_breach, sizeof(first_breach), format, args);
    va_end(args);
}

void try_attempt(const char *program, const struct attempt *attempt, u32 pause_ms) {
    u64 before = tally.attempts;

    breaches_here = 0;
    delay_us((u64)pause_ms * 1000);
    attempt->run();
    delay_us((u64)pause_ms * 1000);
    if (breaches_here)
        print("%s: %s BREACH %lu of %lu, first: %s\n", program, attempt->name, breaches_here, tally.attempts - before,
              first_breach);
    else
        print("%s: %s ok %lu\n", program, attempt->name, tally.attempts - before);
}
