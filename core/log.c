/* core/base/log.h: the log is a console source of its own; its ring is the memory copy. */
#include "core/base/log.h"

#include <stdarg.h>

#include "core/base/fmt.h"
#include "core/base/panic.h"
#include "core/base/spinlock.h"
#include "core/console.h"
#include "core/log.h"

#define LOG_BYTES 16384

static u8 log_data[LOG_BYTES];
static struct ring log_ring = {.data = log_data, .size = LOG_BYTES};
static struct console_source log_source = {.name = "mullion", .ring = &log_ring};
static struct spinlock locks[2]; /* the other one is for a panic: whoever has the first may be stopped by then */
static enum log_level shown __attribute__((section(".late"))) = LOG_LEVEL_INFO;

void log_set_level(enum log_level level) { shown = level; }

/* The line's bytes, with its end; 0: it is not shown. */
static u32 compose(char text[LOG_LINE], const char *format, va_list args) {
    enum log_level level = LOG_LEVEL_INFO;
    u32 length;

    if (*format && (u8)*format <= LOG_LEVEL_DEBUG) level = (enum log_level) * format;
    if (level > shown) return 0;
    length = (u32)fmt_v(text, LOG_LINE, level == LOG_LEVEL_INFO ? format : format + 1, args);
    if (length > LOG_LINE - 1) length = LOG_LINE - 1;
    text[length++] = '\n'; /* no NUL is needed any more */
    return length;
}

/* A line comes into the ring as a whole: whoever empties it meanwhile shows no half of one. */
static bool put(const char *line, u32 length) {
    struct spinlock *lock = &locks[panic_is_here()];
    bool written;

    spin_lock(lock);
    written = ring_write(&log_ring, line, length);
    spin_unlock(lock);
    return written;
}

void log_line(const char *format, ...) {
    char text[LOG_LINE];
    bool written;
    u32 length;
    va_list args;

    va_start(args, format);
    length = compose(text, format, args);
    va_end(args);
    if (!length) return;
    do {
        written = put(text, length);
        console_flush(&log_source);
    } while (!written);
}

void log_later(const char *format, ...) {
    char text[LOG_LINE];
    u32 length;
    va_list args;

    va_start(args, format);
    length = compose(text, format, args);
    va_end(args);
    if (length) (void)!put(text, length);
}

bool log_pump(void) { return console_pump(&log_source); }
