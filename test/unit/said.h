/* The log of a driver's test: the last line. */
#pragma once

#include <stdarg.h>
#include <stdio.h>

#include "core/base/log.h"

static char said[200];

static void say(const char *format, va_list args) { vsnprintf(said, sizeof(said), format, args); }

void log_line(const char *format, ...) {
    va_list args;

    va_start(args, format);
    say(format, args);
    va_end(args);
}
void log_later(const char *format, ...) {
    va_list args;

    va_start(args, format);
    say(format, args);
    va_end(args);
}
