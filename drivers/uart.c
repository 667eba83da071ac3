#include "drivers/uart.h"

#include "core/base/cpu.h"

/* 16550 registers. PC16550D datasheet, Registers. */
#define DATA      0
#define IER       1
#define FCR       2
#define LCR       3
#define MCR       4
#define LSR       5
#define SCRATCH   7
#define LSR_DATA  0x01
#define LSR_THRE  0x20
#define LSR_EMPTY 0x40

#define DEBUG_PORT 0xe9
#define FIFO_BYTES 16
#define SPIN_LIMIT 1000000 /* far beyond one FIFO at 115200 baud */

static u16 base __attribute__((section(".late")));
static bool debug_port __attribute__((section(".late")));

bool uart_init(u16 port) {
    /* The debug port of Bochs and of QEMU's isa-debugcon answers a read with its own number. */
    debug_port = inb(DEBUG_PORT) == DEBUG_PORT;
    base = 0;
    if (!port) return false;
    outb(port + SCRATCH, 0x5a);
    if (inb(port + SCRATCH) != 0x5a) return false;
    base = port;
    outb(base + IER, 0);
    outb(base + LCR, 0x80);
    outb(base + DATA, 1); /* 115200 */
    outb(base + IER, 0);
    outb(base + LCR, 0x03);
    outb(base + FCR, 0x07);
    outb(base + MCR, 0x0b); /* DTR, RTS, OUT2 opens the interrupt */
    return true;
}

u16 uart_port(void) { return base; }

u32 uart_room(void) {
    if (!base) return FIFO_BYTES;
    return inb(base + LSR) & LSR_THRE ? FIFO_BYTES : 0;
}

void uart_put(u8 byte) {
    if (debug_port) outb(DEBUG_PORT, byte);
    if (base) outb(base + DATA, byte);
}

bool uart_get(u8 *byte) {
    if (!base || !(inb(base + LSR) & LSR_DATA)) return false;
    *byte = inb(base + DATA);
    return true;
}

void uart_receive_interrupt(bool on) {
    if (!base) return;
    outb(base + IER, 0);
    if (on) outb(base + IER, 1);
}

void uart_flush(void) {
    for (u32 i = 0; base && i < SPIN_LIMIT && !(inb(base + LSR) & LSR_EMPTY); i++) cpu_pause();
}
