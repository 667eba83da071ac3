/* The 8259 pair, without the processor: requests from the 8254 (line 0), COM1 (line 4) and the clock (line 8), read
 * back and polled. 8259A datasheet; ELCR: 82371SB datasheet. */
#include "core/base/bits.h"
#include "guests/probe/probe.h"

#define MASTER    0x20
#define SLAVE     0xa0
#define OCW3_IRR  0x0a
#define OCW3_ISR  0x0b
#define OCW3_POLL 0x0c
#define EOI       0x20

static void init(u8 icw4_master) {
    out8(MASTER, 0x11);
    out8(MASTER + 1, PIC_VECTOR);
    out8(MASTER + 1, 0x04);
    out8(MASTER + 1, icw4_master);
    out8(SLAVE, 0x11);
    out8(SLAVE + 1, PIC_VECTOR + 8);
    out8(SLAVE + 1, 0x02);
    out8(SLAVE + 1, 0x01);
    out8(MASTER + 1, 0);
    out8(SLAVE + 1, 0xfe); /* of the slave's lines only the clock */
}

static u8 ask(u16 port, u8 ocw3) {
    out8(port, ocw3);
    return in8(port);
}
static u8 poll(u16 port) { return ask(port, OCW3_POLL); }

/* Line 0: mode 0 leaves the output low until the count is over. */
static void line0(bool high) {
    out8(0x43, 0x30);
    out8(0x40, high ? 1 : 0xff);
    out8(0x40, high ? 0 : 0xff);
    if (high) delay_us(100);
}
/* Line 4: the transmitter is empty, so enabling its interrupt raises it. */
static void line4(bool high) {
    out8(COM1 + 4, 0x0b);
    out8(COM1 + 1, high ? 0x02 : 0);
}
static u8 cmos(u8 index) {
    out8(0x70, index);
    return in8(0x71);
}
/* Line 8: the periodic interrupt; reading register C takes it back. */
static void line8(bool high) {
    u8 b = cmos(0x0b) & 0x07;

    out8(0x70, 0x0a);
    out8(0x71, 0x26);
    (void)cmos(0x0c);
    out8(0x70, 0x0b);
    out8(0x71, high ? b | 0x40 : b);
    if (high) delay_us(2500);
    if (!high) (void)cmos(0x0c);
}

static void all_low(void) {
    line0(false);
    line4(false);
    line8(false);
}

static void start(u8 icw4) {
    console_drain();
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED | LVT_EXTINT);
    all_low();
    init(icw4);
}
static bool finish(void) {
    all_low();
    pic_init();
    return true;
}

/* IRR follows a line until it is taken; priorities; ISR; a specific and a non-specific EOI. */
static bool requests(void) {
    start(1);
    line4(true);
    line0(true);
    value("%x %x", ask(MASTER, OCW3_IRR) & 0x11, ask(MASTER, OCW3_ISR));
    value("%x", poll(MASTER)); /* line 0 first */
    value("%x %x", ask(MASTER, OCW3_IRR) & 0x11, ask(MASTER, OCW3_ISR));
    value("%x", poll(MASTER)); /* line 4 waits behind line 0 */
    out8(MASTER, EOI);
    value("%x %x", ask(MASTER, OCW3_ISR), poll(MASTER));
    out8(MASTER, 0x60 | 4); /* specific */
    value("%x", ask(MASTER, OCW3_ISR));
    value("%x", poll(MASTER)); /* an edge counts once */
    line4(false);
    line4(true);
    line4(false); /* gone before it was taken */
    value("%x", ask(MASTER, OCW3_IRR) & 0x10);
    return finish();
}

static bool cascade(void) {
    start(1);
    line8(true);
    value("%x %x", ask(MASTER, OCW3_IRR) & 0x04, ask(SLAVE, OCW3_IRR) & 1);
    value("%x", poll(MASTER));
    value("%x", poll(SLAVE));
    value("%x %x", ask(MASTER, OCW3_ISR), ask(SLAVE, OCW3_ISR));
    out8(SLAVE, EOI);
    out8(MASTER, EOI);
    value("%x %x", ask(MASTER, OCW3_ISR), ask(SLAVE, OCW3_ISR));
    return finish();
}

/* Rotation: the line that was served becomes the last. */
static bool rotation(void) {
    start(1);
    line0(true);
    value("%x", poll(MASTER));
    out8(MASTER, 0xa0); /* EOI, and rotate */
    line0(false);
    line0(true);
    line4(true);
    value("%x", poll(MASTER));
    out8(MASTER, EOI);
    value("%x", poll(MASTER));
    out8(MASTER, EOI);
    all_low();
    out8(MASTER, 0xc0 | 3); /* line 3 is the last now, 4 the first */
    line0(true);
    line4(true);
    value("%x", poll(MASTER));
    out8(MASTER, EOI);
    value("%x", poll(MASTER));
    out8(MASTER, EOI);
    out8(MASTER, 0xc0 | 7);
    return finish();
}

/* Automatic EOI; special mask mode; masks. */
static bool modes(void) {
    start(3);
    line0(true);
    value("%x %x", poll(MASTER), ask(MASTER, OCW3_ISR));
    start(1);
    line0(true);
    value("%x", poll(MASTER));
    line4(true);
    value("%x", poll(MASTER));
    out8(MASTER + 1, 0x01); /* line 0 masked, and in service */
    out8(MASTER, 0x68);     /* special mask mode: it holds nobody off any more */
    value("%x", poll(MASTER));
    out8(MASTER, 0x48);
    value("%x %x", ask(MASTER, OCW3_ISR), in8(MASTER + 1));
    out8(MASTER, 0x60 | 0);
    out8(MASTER, 0x60 | 4);
    all_low();
    out8(MASTER + 1, 0x11);
    line0(true);
    line4(true);
    value("%x %x", ask(MASTER, OCW3_IRR) & 0x11, poll(MASTER)); /* masks hide nothing in IRR */
    return finish();
}

/* Rotation at automatic EOIs; special fully nested mode: the slave asks again while the master has it in service. */
static bool special(void) {
    start(3);
    out8(MASTER, 0x80);
    line0(true);
    value("%x", poll(MASTER));
    line0(false);
    line0(true);
    line4(true);
    value("%x %x", poll(MASTER), poll(MASTER));
    out8(MASTER, 0x00);
    out8(MASTER, 0xc0 | 7);
    for (u32 nested = 0; nested < 2; nested++) {
        all_low();
        start(nested ? 0x11 : 1);
        line8(true);
        value("%x", poll(MASTER));
        value("%x", poll(SLAVE));
        out8(SLAVE, EOI);
        line8(false);
        line8(true);
        value("%x", poll(MASTER));
        value("%x", poll(SLAVE));
        out8(SLAVE, EOI);
        out8(MASTER, EOI);
        value("%x %x", ask(MASTER, OCW3_ISR), ask(SLAVE, OCW3_ISR));
    }
    return finish();
}

/* ELCR: which bits stay; a level line asks again as long as it is up. */
static bool levels(void) {
    u8 old0 = in8(0x4d0), old1 = in8(0x4d1);

    out8(0x4d0, 0xff);
    out8(0x4d1, 0xff);
    value("%x %x", in8(0x4d0), in8(0x4d1));
    out8(0x4d0, 0x10);
    out8(0x4d1, 0);
    start(1);
    out8(0x4d0, 0x10);
    line4(true);
    value("%x", poll(MASTER));
    out8(MASTER, EOI);
    value("%x", poll(MASTER));
    out8(MASTER, EOI);
    line4(false);
    value("%x", poll(MASTER));
    out8(0x4d0, old0);
    out8(0x4d1, old1);
    return finish();
}

static u32 spurious, served;
static void on_spurious(struct trap_frame *frame) {
    (void)frame;
    spurious++;
}
static void on_line0(struct trap_frame *frame) {
    (void)frame;
    served++;
    value("isr %x", ask(MASTER, OCW3_ISR));
    out8(MASTER, EOI);
}

/* As the processor sees it: the vector of line 0, and line 7's for a request that is gone. */
static bool acknowledge(void) {
    start(1);
    spurious = served = 0;
    interrupt_handler(PIC_VECTOR, on_line0);
    interrupt_handler(PIC_VECTOR + 7, on_spurious);
    out8(MASTER + 1, 0xfe);
    lapic_write(LAPIC_LVT_LINT0, LVT_EXTINT);
    line0(true);
    interrupts_on();
    delay_us(500);
    interrupts_off();
    value("%u %u", served, spurious);
    lapic_write(LAPIC_LVT_LINT0, LVT_MASKED | LVT_EXTINT);
    interrupt_handler(PIC_VECTOR, NULL);
    interrupt_handler(PIC_VECTOR + 7, NULL);
    return finish();
}

const struct check pic_checks[] = {
    {"pic-requests", requests}, {"pic-cascade", cascade}, {"pic-rotation", rotation},       {"pic-modes", modes},
    {"pic-special", special},   {"pic-elcr", levels},     {"pic-acknowledge", acknowledge}, {0},
};
