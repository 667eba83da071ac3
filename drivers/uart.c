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

static u16 base __attribute__((section(".late")));               /* 0: not by ports */
static volatile u8 *registers __attribute__((section(".late"))); /* NULL: not in memory */
static bool present __attribute__((section(".late"))), debug_port __attribute__((section(".late")));

static u8 get(u16 reg) { return registers ? registers[reg] : inb(base + reg); }

static void put(u16 reg, u8 value) {
    if (registers)
        registers[reg] = value;
    else
        outb(base + reg, value);
}

bool uart_init(u16 port, void *memory) {
    /* The debug port of Bochs and of QEMU's isa-debugcon answers a read with its own number. */
    debug_port = inb(DEBUG_PORT) == DEBUG_PORT;
    base = port;
    registers = memory;
    present = false;
    if (!port && !memory) return false;
    put(SCRATCH, 0x5a);
    if (get(SCRATCH) != 0x5a) return false;
    present = true;
    put(IER, 0);
    put(LCR, 0x80);
    put(DATA, 1); /* 115200 */
    put(IER, 0);
    put(LCR, 0x03);
    put(FCR, 0x07);
    put(MCR, 0x0b); /* DTR, RTS, OUT2 opens the interrupt */
    return true;
}

bool uart_present(void) { return present; }
u16 uart_port(void) { return present ? base : 0; }

u32 uart_room(void) {
    if (!present) return FIFO_BYTES;
    return get(LSR) & LSR_THRE ? FIFO_BYTES : 0;
}

void uart_put(u8 byte) {
    if (debug_port) outb(DEBUG_PORT, byte);
    if (present) put(DATA, byte);
}

bool uart_get(u8 *byte) {
    if (!present || !(get(LSR) & LSR_DATA)) return false;
    *byte = get(DATA);
    return true;
}

void uart_receive_interrupt(bool on) {
    if (!present) return;
    put(IER, 0);
    if (on) put(IER, 1);
}

void uart_flush(void) {
    for (u32 i = 0; present && i < SPIN_LIMIT && !(get(LSR) & LSR_EMPTY); i++) cpu_pause();
}
