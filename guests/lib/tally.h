/* Attempts at what must not succeed. Each has a name and many tries, and each try counts once: blocked, expected (what
 * must happen did), or breach. */
#pragma once

#include "core/base/types.h"

struct attempt {
    const char *name;
    void (*run)(void);
};

struct tally {
    u64 attempts, blocked, expected, breaches;
};
extern struct tally tally;

/* One try: counted in *good if ok, else a breach with this text. */
void judge(bool ok, u64 *good, const char *format, ...) printf_like(3, 4);
#define check(ok, ...)  judge(ok, &tally.blocked, __VA_ARGS__)
#define expect(ok, ...) judge(ok, &tally.expected, __VA_ARGS__)

/* Runs it, with quiet before and after, and prints `PROGRAM: NAME ok N`, or how many breaches there were and the first.
 */
void try_attempt(const char *program, const struct attempt *attempt, u32 pause_ms);
