/* The hypervisor's log: one line per call, `module: message`, lower case, hex with 0x, sizes with
 * units. Any core. Never called between an exit and the next entry except when a partition ends or
 * restarts. */
#pragma once

#include "core/base/types.h"

/* Which lines are shown; each level shows those before it too. A line is of level info unless its format begins with
 * one of the marks. */
enum log_level { LOG_LEVEL_QUIET = 1, LOG_LEVEL_ERROR, LOG_LEVEL_WARN, LOG_LEVEL_INFO, LOG_LEVEL_DEBUG };
#define LOG_ALWAYS "\1" /* the machine stops */
#define LOG_ERROR  "\2" /* a partition or device does not go on */
#define LOG_WARN   "\3" /* it goes on, but not as one would think */
#define LOG_DEBUG  "\5"

#define LOG_LINE 256 /* bytes of a line, with its end; what is longer is cut */

/* Boot core, before start. */
void log_set_level(enum log_level level);
void log_line(const char *format, ...) printf_like(1, 2);
/* As log_line, but without waiting, and under any lock: the line is lost if the ring is full, and stands there until
 * somebody logs or calls log_pump (core/log.h). Any core. */
void log_later(const char *format, ...) printf_like(1, 2);
