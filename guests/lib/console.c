#include "guests/lib/console.h"

#include "guests/lib/cpu.h"
#include "guests/lib/interrupts.h"

#define UART_DATA   (COM1 + 0)
#define UART_IER    (COM1 + 1)
#define UART_FCR    (COM1 + 2)
#define UART_LCR    (COM1 + 3)
#define UART_MCR    (COM1 + 4)
#define UART_LSR    (COM1 + 5)
#define LSR_THRE    0x20
#define LSR_TEMT    0x40
#define WAIT_ROUNDS 1000000u /* a port that does not exist reads ff and never waits */

static u32 owner; /* index of the CPU that prints, plus 1; 0: none */

void console_init(void) {
    out8(UART_IER, 0);
    out8(UART_LCR, 0x80); /* divisor latch */
    out8(UART_DATA, 1);
    out8(UART_IER, 0);
    out8(UART_LCR, 0x03);
    out8(UART_FCR, 0x07);
    out8(UART_MCR, 0x0b); /* DTR, RTS, and OUT2, which lets the interrupt line through */
}

static void wait_status(u8 bit) {
    for (u32 i = 0; i < WAIT_ROUNDS && !(in8(UART_LSR) & bit); i++) cpu_pause();
}

static void put(char c) {
    wait_status(LSR_THRE);
    out8(UART_DATA, (u8)c);
}

/* Interrupts stay as they are, so that a slow UART delays no handler. A handler that prints while
 * its own CPU is in here goes ahead: letters mix, nothing hangs. */
void print(const char *format, ...) {
    u32 me = this_cpu()->index + 1, free = 0;
    bool nested = __atomic_load_n(&owner, __ATOMIC_RELAXED) == me;
    char text[512];
    va_list args;

    va_start(args, format);
    fmt_v(text, sizeof(text), format, args);
    va_end(args);

    while (!nested && !__atomic_compare_exchange_n(&owner, &free, me, false, __ATOMIC_ACQUIRE, __ATOMIC_RELAXED)) {
        free = 0;
        cpu_pause();
    }
    for (const char *c = text; *c; c++) {
        if (*c == '\n') put('\r');
        put(*c);
    }
    if (!nested) __atomic_store_n(&owner, 0, __ATOMIC_RELEASE);
}

void console_break_lock(void) { __atomic_store_n(&owner, 0, __ATOMIC_RELEASE); }

void console_drain(void) { wait_status(LSR_TEMT); }
