/* The end: for faults of ours only. Guest input never reaches panic. */
#pragma once

#include "core/base/types.h"

/* Prints the message and the registers, stops every core. Any core, any state. */
void panic(const char *format, ...) noreturn_fn printf_like(1, 2);

/* For what the machine or the file lacks: prints the one message and halts the machine. Boot core,
 * before start. */
void refuse(const char *format, ...) noreturn_fn printf_like(1, 2);

/* Boot core, when all others are about to have interrupt tables: from now on a panic stops them by NMI. */
void panic_stops_others(void);

/* What panic begins with, for a handler that has more to print: stops the others. Does not come back on a second core
 * that panics. */
void panic_begin(void);
/* True once any core has panicked. */
bool panic_in_progress(void);
/* Is it this one? Does not come back on another. */
bool panic_is_here(void);

#define ASSERT(condition)                                                                                              \
    do {                                                                                                               \
        if (__builtin_expect(!(condition), 0)) panic("%s:%d: assertion failed: %s", __FILE__, __LINE__, #condition);   \
    } while (0)
