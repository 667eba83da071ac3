/* The log beyond log_line. */
#pragma once

#include "core/base/types.h"

/* As log_line, but without waiting: the line is lost if the ring is full, and stands there until somebody logs or calls
 * log_pump, which moves what the UART takes at once and returns true if something is left. Any core. */
void log_later(const char *format, ...) printf_like(1, 2);
bool log_pump(void) must_check;

/* For panic: whoever held the locks is stopped. */
void log_break_lock(void);
