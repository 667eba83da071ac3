/* core/base/log.h: the log is a console source of its own; its ring is the memory copy. */
#include "core/base/log.h"

#include <stdarg.h>

#include "core/base/fmt.h"
#include "core/base/spinlock.h"
#include "core/console.h"
#include "core/log.h"

#define LOG_BYTES 16384
#define LOG_LINE  256

static u8 log_data[LOG_BYTES];
static struct ring log_ring = {.data = log_data, .size = LOG_BYTES};
static struct console_source log_source = {.name = "mullion", .ring = &log_ring};
static struct spinlock log_lock;
static enum log_level shown __attribute__((section(".late"))) = LOG_LEVEL_INFO;

void log_set_level(enum log_level level) { shown = level; }

static void log_text(const char *text) {
    spin_lock(&log_lock);
    for (const char *c = text; *c; c++) ring_put(&log_ring, (u8)*c);
    ring_put(&log_ring, '\n');
    spin_unlock(&log_lock);
    console_flush(&log_source);
}

void log_line(const char *format, ...) {
    enum log_level level = LOG_LEVEL_INFO;
    char text[LOG_LINE];
    va_list args;

    if (*format && (u8)*format <= LOG_LEVEL_DEBUG) level = (enum log_level) * format;
    if (level > shown) return;
    va_start(args, format);
    fmt_v(text, sizeof(text), level == LOG_LEVEL_INFO ? format : format + 1, args);
    va_end(args);
    log_text(text);
}

void log_break_lock(void) {
    log_lock.taken = 0;
    console_break_lock();
}
