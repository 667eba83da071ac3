/* core/base/log.h: the log is a console source of its own; its ring is the memory copy. */
#include "core/base/log.h"

#include <stdarg.h>

#include "core/base/fmt.h"
#include "core/base/spinlock.h"
#include "core/console.h"
#include "core/log.h"

#define LOG_BYTES 16384

static u8 log_data[LOG_BYTES];
static struct ring log_ring = {.data = log_data, .size = LOG_BYTES};
static struct console_source log_source = {.name = "mullion", .ring = &log_ring};
static struct spinlock log_lock;
static enum log_level shown __attribute__((section(".late"))) = LOG_LEVEL_INFO;

void log_set_level(enum log_level level) { shown = level; }

/* A line comes into the ring as a whole: whoever empties it meanwhile shows no half of one. */
static void log_text(const char *line, u32 length) {
    bool written;

    do {
        spin_lock(&log_lock);
        written = ring_write(&log_ring, line, length);
        spin_unlock(&log_lock);
        console_flush(&log_source);
    } while (!written);
}

void log_line(const char *format, ...) {
    enum log_level level = LOG_LEVEL_INFO;
    char text[LOG_LINE];
    u32 length;
    va_list args;

    if (*format && (u8)*format <= LOG_LEVEL_DEBUG) level = (enum log_level) * format;
    if (level > shown) return;
    va_start(args, format);
    length = (u32)fmt_v(text, sizeof(text), level == LOG_LEVEL_INFO ? format : format + 1, args);
    va_end(args);
    if (length > LOG_LINE - 1) length = LOG_LINE - 1;
    text[length++] = '\n'; /* no NUL is needed any more */
    log_text(text, length);
}

void log_break_lock(void) {
    spin_init(&log_lock);
    console_break_lock();
}
