/* 16550A. See vuart.h. Owns struct vuart, the writing side of tx and the reading side of rx; called
 * by the board only. */
#include "core/vdev/vuart.h"

/* PC16550D, Summary of Registers. */
enum uart_register { REG_DATA, REG_IER, REG_IIR_FCR, REG_LCR, REG_MCR, REG_LSR, REG_MSR, REG_SCR };

#define IER_RECEIVED 0x01u
#define IER_EMPTY    0x02u
#define IER_LINE     0x04u
#define IER_MODEM    0x08u
#define IER_WRITE    0x0fu

#define IIR_NONE     0x01u
#define IIR_MODEM    0x00u
#define IIR_EMPTY    0x02u
#define IIR_RECEIVED 0x04u
#define IIR_LINE     0x06u
#define IIR_TIMEOUT  0x0cu
#define IIR_FIFOS    0xc0u

#define FCR_ENABLE      0x01u
#define FCR_CLEAR_RX    0x02u
#define FCR_TRIGGER_LOW 6

#define LCR_BREAK 0x40u
#define LCR_DLAB  0x80u

#define MCR_DTR   0x01u
#define MCR_RTS   0x02u
#define MCR_OUT1  0x04u
#define MCR_OUT2  0x08u
#define MCR_LOOP  0x10u
#define MCR_WRITE 0x1fu

#define LSR_DR     0x01u
#define LSR_OE     0x02u
#define LSR_PE     0x04u
#define LSR_FE     0x08u
#define LSR_BI     0x10u
#define LSR_THRE   0x20u
#define LSR_TEMT   0x40u
#define LSR_ERRORS (LSR_OE | LSR_PE | LSR_FE | LSR_BI)

#define MSR_DELTA 0x0fu
#define MSR_TERI  0x04u
#define MSR_CTS   0x10u
#define MSR_DSR   0x20u
#define MSR_RI    0x40u
#define MSR_DCD   0x80u

static u32 fifo_size(const struct vuart *u) { return u->fcr & FCR_ENABLE ? VUART_FIFO : 1; }

static u32 trigger_level(const struct vuart *u) {
    static const u8 levels[4] = {1, 4, 8, 14};
    return u->fcr & FCR_ENABLE ? levels[u->fcr >> FCR_TRIGGER_LOW] : 1;
}

/* A byte arrives. With the FIFO full it is lost: PC16550D, Line Status Register, bit 1. */
static void receive(struct vuart *u, u8 byte) {
    if (u->used == fifo_size(u)) {
        u->lsr |= LSR_OE;
        return;
    }
    u->fifo[(u->first + u->used++) % VUART_FIFO] = byte;
    u->lsr |= LSR_DR;
}

static void clear_receiver(struct vuart *u) {
    u->first = u->used = 0;
    u->lsr &= (u8)~LSR_DR;
}

/* THRE is shown only while a whole FIFO of bytes fits in the ring, so that a guest that fills the
 * FIFO after one look at LSR loses nothing. */
static void update_transmitter(struct vuart *u) {
    bool room = !u->tx || ring_free(u->tx) >= VUART_FIFO || (u->mcr & MCR_LOOP);
    bool was = (u->lsr & LSR_THRE) != 0;

    if (room == was) return;
    u->lsr ^= LSR_THRE | LSR_TEMT;
    u->empty = room;
}

void vuart_tick(struct vuart *u) {
    u8 byte;

    /* In loopback the input pin is disconnected; the bytes wait in the ring. */
    while (u->rx && !(u->mcr & MCR_LOOP) && u->used < fifo_size(u) && ring_get(u->rx, &byte)) receive(u, byte);
    update_transmitter(u);
}

/* The highest pending and enabled source. PC16550D, Interrupt Identification Register. The
 * character time-out needs no clock here: what is below the trigger level after the ring was
 * emptied has nothing behind it. */
static u8 interrupt_id(const struct vuart *u) {
    if ((u->ier & IER_LINE) && (u->lsr & LSR_ERRORS)) return IIR_LINE;
    if ((u->ier & IER_RECEIVED) && u->used > 0) return u->used >= trigger_level(u) ? IIR_RECEIVED : IIR_TIMEOUT;
    if ((u->ier & IER_EMPTY) && u->empty) return IIR_EMPTY;
    if ((u->ier & IER_MODEM) && (u->msr & MSR_DELTA)) return IIR_MODEM;
    return IIR_NONE;
}

/* The level follows the sources alone. On a PC, OUT2 also gates it; other virtual machines leave
 * that out, and so programs that never set OUT2 exist. */
bool vuart_intr(const struct vuart *u) { return interrupt_id(u) != IIR_NONE; }

/* Modem inputs: from the outputs in loopback, else a peer that is always ready. PC16550D, Modem
 * Control Register bit 4, Modem Status Register. */
static void update_modem(struct vuart *u) {
    u32 lines = MSR_CTS | MSR_DSR | MSR_DCD;
    if (u->mcr & MCR_LOOP)
        lines = (u->mcr & MCR_RTS ? MSR_CTS : 0) | (u->mcr & MCR_DTR ? MSR_DSR : 0) | (u->mcr & MCR_OUT1 ? MSR_RI : 0) |
                (u->mcr & MCR_OUT2 ? MSR_DCD : 0);
    u32 changed = (u->msr ^ lines) & (MSR_CTS | MSR_DSR | MSR_DCD);
    u32 delta = (u->msr & MSR_DELTA) | changed >> 4;
    if ((u->msr & MSR_RI) && !(lines & MSR_RI)) /* the trailing edge only */
        delta |= MSR_TERI;
    u->msr = (u8)(lines | delta);
}

static u8 read_data(struct vuart *u) {
    if (u->used == 0) return 0;
    u8 byte = u->fifo[u->first];
    u->first = (u->first + 1) % VUART_FIFO;
    if (--u->used == 0) u->lsr &= (u8)~LSR_DR;
    vuart_tick(u);
    return byte;
}

static u8 read_iir(struct vuart *u) {
    u8 id = interrupt_id(u);
    if (id == IIR_EMPTY) u->empty = false;
    return (u8)(id | (u->fcr & FCR_ENABLE ? IIR_FIFOS : 0));
}

static bool is_divisor(const struct vuart *u, u32 offset) { return (u->lcr & LCR_DLAB) && offset <= REG_IER; }

u8 vuart_read(struct vuart *u, u32 offset) {
    u8 value;

    vuart_tick(u);
    if (is_divisor(u, offset)) return u->divisor[offset];
    switch (offset) {
    case REG_DATA: return read_data(u);
    case REG_IER: return u->ier;
    case REG_IIR_FCR: return read_iir(u);
    case REG_LCR: return u->lcr;
    case REG_MCR: return u->mcr;
    case REG_LSR:
        value = u->lsr;
        u->lsr &= (u8)~LSR_ERRORS;
        return value;
    case REG_MSR:
        value = u->msr;
        u->msr &= (u8)~MSR_DELTA;
        return value;
    default: return u->scr;
    }
}

/* The byte leaves at once, so the THR is empty again: the interrupt that this write clears comes
 * back, unless the ring is nearly full. A byte written against THRE into a full ring is lost. */
static void write_data(struct vuart *u, u8 value) {
    if (u->mcr & MCR_LOOP)
        receive(u, value);
    else if (u->tx)
        (void)ring_put(u->tx, value);
    update_transmitter(u);
    u->empty = (u->lsr & LSR_THRE) != 0;
}

/* Enabling the THR-empty interrupt while the THR is empty raises it: PC16550D, Interrupt Enable
 * Register; Linux tests for it. */
static void write_ier(struct vuart *u, u8 value) {
    bool enables = (value & IER_EMPTY) && !(u->ier & IER_EMPTY);
    u->ier = value & IER_WRITE;
    if (enables && (u->lsr & LSR_THRE)) u->empty = true;
}

/* PC16550D, FIFO Control Register: a change of bit 0 clears both FIFOs, and the other bits count
 * only together with it. */
static void write_fcr(struct vuart *u, u8 value) {
    if (((value ^ u->fcr) & FCR_ENABLE) || (value & FCR_CLEAR_RX)) clear_receiver(u);
    u->fcr = value & FCR_ENABLE ? (u8)(value & (FCR_ENABLE | 3u << FCR_TRIGGER_LOW)) : 0;
}

void vuart_write(struct vuart *u, u32 offset, u8 value) {
    if (is_divisor(u, offset)) {
        u->divisor[offset] = value;
        return;
    }
    switch (offset) {
    case REG_DATA: write_data(u, value); break;
    case REG_IER: write_ier(u, value); break;
    case REG_IIR_FCR: write_fcr(u, value); break;
    case REG_LCR:
        /* In loopback a break comes back as a zero character. */
        if ((value & ~u->lcr & LCR_BREAK) && (u->mcr & MCR_LOOP)) {
            receive(u, 0);
            u->lsr |= LSR_BI;
        }
        u->lcr = value;
        break;
    case REG_MCR:
        u->mcr = value & MCR_WRITE;
        update_modem(u);
        break;
    case REG_SCR: u->scr = value; break;
    default: /* LSR and MSR: the factory test only */ break;
    }
    vuart_tick(u);
}

void vuart_reset(struct vuart *u, struct ring *tx, struct ring *rx) {
    *u = (struct vuart){
        .tx = tx,
        .rx = rx,
        .lsr = LSR_THRE | LSR_TEMT,
        .msr = MSR_CTS | MSR_DSR | MSR_DCD,
        .divisor = {1},
    };
}
