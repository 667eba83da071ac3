/* The UART under an arbitrary guest between two rings. Input: records of two bytes: operation, value. Holds: bytes
 * come out in the order in which they went in, on both sides and in loopback, none twice, and none is lost that the
 * guest wrote after THRE was shown, or that it did not clear or overrun itself; the interrupt identification names the
 * first source that is enabled and pending; an empty transmitter is told once. */
#include "core/vdev/vuart.h"
#include "test/fuzz/fuzz.h"

#define SPACE 64u

static struct vuart uart;
static struct ring tx, rx;
static u8 tx_data[SPACE], rx_data[SPACE];
static u8 fifo[VUART_FIFO], sent[SPACE], arrived[SPACE]; /* the model's: receive FIFO, and what is in the rings */
static u32 in_fifo, in_sent, in_arrived, promised;
static u8 ier, lcr, mcr, fcr, next;
static bool overrun, is_break, told_empty; /* told_empty: since THRE rose */

static void shift(u8 *queue, u32 *count) {
    (*count)--;
    for (u32 i = 0; i < *count; i++) queue[i] = queue[i + 1];
}

/* A register as a read would find it. */
static u8 peek(u32 offset) {
    struct vuart copy = uart;
    struct ring t = tx, r = rx;

    copy.tx = &t;
    copy.rx = &r;
    copy.lcr &= 0x7f;
    return vuart_read(&copy, offset);
}

static void into_fifo(u8 byte) {
    if (in_fifo == (fcr & 1 ? VUART_FIFO : 1))
        overrun = true;
    else
        fifo[in_fifo++] = byte;
}

/* What waits enters the FIFO while there is room. */
static void settle(void) {
    while (!(mcr & 0x10) && in_arrived && in_fifo < (fcr & 1 ? VUART_FIFO : 1)) {
        into_fifo(arrived[0]);
        shift(arrived, &in_arrived);
    }
}

static u8 expected_id(u8 lsr) {
    static const u8 levels[4] = {1, 4, 8, 14};
    bool full = in_fifo >= (fcr & 1 ? levels[fcr >> 6] : 1);

    if ((ier & 4) && (overrun || is_break)) return 6;
    if ((ier & 1) && in_fifo) return full ? 4 : 0xc;
    if ((ier & 2) && (lsr & 0x20) && !told_empty) return 2;
    return (ier & 8) && (peek(6) & 0xf) ? 0 : 1;
}

static void check(void) {
    bool thre = uart.lsr & 0x20;
    u8 lsr, iir;

    vuart_tick(&uart);
    settle();
    if (!thre && (uart.lsr & 0x20)) told_empty = false;
    lsr = peek(5);
    iir = peek(2);
    REQUIRE(((lsr & 1) != 0) == (in_fifo != 0) && ((lsr & 2) != 0) == overrun && ((lsr & 0x10) != 0) == is_break);
    REQUIRE(!(lsr & 0x8c) && (lsr >> 5 & 1) == (lsr >> 6 & 1));
    REQUIRE(((lsr & 0x20) != 0) == ((mcr & 0x10) || SPACE - in_sent >= VUART_FIFO));
    REQUIRE(iir == (expected_id(lsr) | (fcr & 1 ? 0xc0 : 0)));
    REQUIRE(vuart_intr(&uart) == ((iir & 1) == 0));
    REQUIRE(peek(1) == ier && ((peek(3) ^ lcr) & 0x7f) == 0 && peek(4) == mcr);
    REQUIRE(ring_used(&tx) == in_sent && ring_used(&rx) == in_arrived);
}

static void write_data(u8 value) {
    if (mcr & 0x10) {
        into_fifo(value);
    } else if (in_sent < SPACE) {
        sent[in_sent++] = value;
    } else {
        REQUIRE(!promised);
    }
    if (promised) promised--;
    told_empty = false; /* it has left, and the register is empty again */
}

static void write(u32 offset, u8 value) {
    bool divisor = (lcr & 0x80) && offset < 2;

    vuart_write(&uart, offset, value);
    if (divisor) {
        REQUIRE(vuart_read(&uart, offset) == value);
    } else if (offset == 0) {
        write_data(value);
    } else if (offset == 1) {
        if (value & ~ier & 2) told_empty = false;
        ier = value & 0xf;
    } else if (offset == 2) {
        if (((value ^ fcr) & 1) || (value & 2)) in_fifo = 0;
        fcr = value & 1 ? value & 0xc1 : 0;
    } else if (offset == 3) {
        if ((value & ~lcr & 0x40) && (mcr & 0x10)) {
            into_fifo(0);
            is_break = true;
        }
        lcr = value;
    } else if (offset == 4) {
        mcr = value & 0x1f;
        promised = 0;
    }
    if (offset == 7) REQUIRE(vuart_read(&uart, 7) == value);
}

static void read(u32 offset) {
    u8 value = vuart_read(&uart, offset);

    if ((lcr & 0x80) && offset < 2) return;
    if (offset == 0) {
        REQUIRE(value == (in_fifo ? fifo[0] : 0));
        if (in_fifo) shift(fifo, &in_fifo);
    } else if (offset == 2) {
        told_empty = told_empty || (value & 0xf) == 2;
    } else if (offset == 5) {
        overrun = is_break = false;
        if (value & 0x20) promised = VUART_FIFO;
    } else if (offset == 6) {
        REQUIRE((peek(6) & 0xf) == 0);
        if (!(mcr & 0x10)) REQUIRE((value & 0xf0) == 0xb0);
    }
}

/* The machine's side: as many bytes as `value` says come, and as many go. */
static void exchange(u32 come, u32 go) {
    u8 byte;

    while (come-- && ring_put(&rx, next)) arrived[in_arrived++] = next++;
    while (go-- && ring_get(&tx, &byte)) {
        REQUIRE(in_sent && byte == sent[0]);
        shift(sent, &in_sent);
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};

    ring_init(&tx, tx_data, SPACE);
    ring_init(&rx, rx_data, SPACE);
    vuart_reset(&uart, &tx, &rx);
    in_fifo = in_sent = in_arrived = promised = ier = lcr = mcr = fcr = next = 0;
    overrun = is_break = false;
    told_empty = true;
    check();
    while (in.left >= 2) {
        u32 what = (u32)take(&in, 1);
        u8 value = (u8)take(&in, 1);

        if (what & 0x10)
            exchange(value & 15, value >> 4);
        else if (what & 8)
            read(what & 7);
        else
            write(what & 7, value);
        check();
    }
    return 0;
}
