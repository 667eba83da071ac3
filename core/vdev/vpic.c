/* 8259A pair. See vpic.h. Owns struct vpic; called by the board only; never calls anything but
 * host->intr, and that only when the INTR pin changes. */
#include "core/vdev/vpic.h"

#include "core/base/bits.h"

#define MASTER 0u
#define SLAVE  1u

/* 8259A, Initialization Command Words. LTIM (ICW1 bit 3) is replaced by the ELCR: ICH9, ICW1. */
#define ICW1_IC4   0x01u
#define ICW1_SNGL  0x02u
#define ICW1_INIT  0x10u
#define ICW4_AEOI  0x02u
#define ICW4_SFNM  0x10u
#define OCW3_MARK  0x08u
#define OCW3_RIS   0x01u
#define OCW3_RR    0x02u
#define OCW3_POLL  0x04u
#define OCW3_SMM   0x20u
#define OCW3_ESMM  0x40u
#define POLL_VALID 0x80u

/* ICH9, ELCR1 and ELCR2: lines 0, 1, 2, 8 and 13 are always edge triggered. */
static const u8 elcr_writable[2] = {0xf8, 0xde};

static u8 chip_irr(const struct vpic_chip *c) { return (u8)((c->lines & c->elcr) | (c->latch & ~c->elcr)); }

/* The input at `rank` in priority order, 0 the highest. 8259A, Automatic Rotation. */
static u32 chip_input(const struct vpic_chip *c, u32 rank) { return (c->lowest + 1u + rank) & 7u; }

/* The input that asks for the processor now, or -1. 8259A, Fully Nested Mode; Special Mask Mode: an
 * in-service level that is masked holds nothing back; Special Fully Nested Mode: the cascade input
 * in service does not hold back another request of the same slave, but still the lower levels. */
static int chip_pending(const struct vpic_chip *c, bool master) {
    u32 request = chip_irr(c) & ~(u32)c->imr;
    u32 service = c->special_mask ? c->isr & ~(u32)c->imr : c->isr;

    if (request == 0 || c->icw_next != 0) return -1;
    for (u32 rank = 0; rank < 8; rank++) {
        u32 n = chip_input(c, rank);
        bool asks = (request >> n & 1) != 0;
        if (service >> n & 1) {
            bool again = asks && master && c->special_nested && n == VPIC_CASCADE;
            return again ? (int)n : -1;
        }
        if (asks) return (int)n;
    }
    return -1;
}

static void chip_set_line(struct vpic_chip *c, u32 input, bool level) {
    u8 bit = (u8)(1u << input);

    /* A request that goes away before the acknowledge is lost and ends as a spurious 7: 8259A,
     * Edge and Level Triggered Modes. */
    if (!level) {
        c->lines &= (u8)~bit;
        c->latch &= (u8)~bit;
        return;
    }
    if (!(c->lines & bit)) c->latch |= bit;
    c->lines |= bit;
}

/* Carries the slave's INT to the cascade input and the master's to the host. */
static void update(struct vpic *p, const struct vdev_host *host) {
    chip_set_line(&p->chip[MASTER], VPIC_CASCADE, chip_pending(&p->chip[SLAVE], false) >= 0);
    bool intr = chip_pending(&p->chip[MASTER], true) >= 0;
    if (intr != p->intr) {
        p->intr = intr;
        host->intr(host->ctx, intr);
    }
}

/* The acknowledge of one chip: the input, or 7 without an in-service bit if nothing asks. *valid
 * tells which. */
static u32 chip_ack(struct vpic_chip *c, bool master, bool *valid) {
    int n = chip_pending(c, master);

    *valid = n >= 0;
    if (n < 0) return 7;
    u8 bit = (u8)(1u << n);
    c->latch &= (u8)~bit;
    if (!c->auto_eoi)
        c->isr |= bit;
    else if (c->rotate_on_auto_eoi)
        c->lowest = (u8)n;
    return (u32)n;
}

/* An acknowledge of the slave drops its INT for a moment, so that a request that is still waiting
 * makes a new edge at the master. */
static u32 slave_ack(struct vpic *p, bool *valid) {
    u32 n = chip_ack(&p->chip[SLAVE], false, valid);
    chip_set_line(&p->chip[MASTER], VPIC_CASCADE, false);
    return n;
}

u8 vpic_ack(struct vpic *p, const struct vdev_host *host) {
    bool valid;
    u32 n = chip_ack(&p->chip[MASTER], true, &valid);
    u32 vector = p->chip[MASTER].vector_base + n;

    if (valid && n == VPIC_CASCADE) vector = p->chip[SLAVE].vector_base + slave_ack(p, &valid);
    update(p, host);
    return (u8)vector;
}

/* 8259A, Poll Command: the read is the acknowledge. */
static u8 poll_read(struct vpic *p, u32 which, const struct vdev_host *host) {
    bool valid;
    u32 n = which == MASTER ? chip_ack(&p->chip[MASTER], true, &valid) : slave_ack(p, &valid);

    p->chip[which].poll = false;
    update(p, host);
    return valid ? (u8)(POLL_VALID | n) : 0;
}

u8 vpic_read(struct vpic *p, u16 port, const struct vdev_host *host) {
    if ((port & ~1u) == VPIC_ELCR_PORT) return p->chip[port & 1u].elcr;
    u32 which = (port & ~1u) == VPIC_MASTER_PORT ? MASTER : SLAVE;
    const struct vpic_chip *c = &p->chip[which];
    if (c->poll) return poll_read(p, which, host);
    if (port & 1u) return c->imr;
    return c->read_isr ? c->isr : chip_irr(c);
}

/* 8259A, Initialization Command Words 1 and 2 (ICW1, ICW2), points a to f. */
static void write_icw1(struct vpic_chip *c, u8 value) {
    *c = (struct vpic_chip){
        .lines = c->lines, /* a line that is high must fall and rise again */
        .elcr = c->elcr,
        .vector_base = c->vector_base,
        .lowest = 7,
        .icw_next = 2,
        .single = (value & ICW1_SNGL) != 0,
        .wants_icw4 = (value & ICW1_IC4) != 0,
    };
}

static void write_icw(struct vpic_chip *c, u8 value) {
    u8 after_icw3 = c->wants_icw4 ? 4 : 0;

    switch (c->icw_next) {
    case 2:
        c->vector_base = value & 0xf8;
        c->icw_next = c->single ? after_icw3 : 3;
        break;
    case 3: /* the wiring of a PC is fixed: the cascade stays at input 2 */ c->icw_next = after_icw3; break;
    default:
        c->auto_eoi = (value & ICW4_AEOI) != 0;
        c->special_nested = (value & ICW4_SFNM) != 0;
        c->icw_next = 0;
        break;
    }
}

/* 8259A, Operation Control Word 2 and End of Interrupt (EOI). Returns through the chip only. */
static void write_ocw2(struct vpic_chip *c, u8 value) {
    bool rotate = (value & 0x80) != 0, specific = (value & 0x40) != 0, eoi = (value & 0x20) != 0;
    u32 level = value & 7u;

    if (!eoi) {
        if (specific && rotate) /* set priority; specific without rotate is "no operation" */
            c->lowest = (u8)level;
        else if (!specific)
            c->rotate_on_auto_eoi = rotate;
        return;
    }
    if (!specific) {
        /* The highest level in service; one that is masked in special mask mode does not count. */
        u32 service = c->special_mask ? c->isr & ~(u32)c->imr : c->isr;
        u32 rank = 0;
        while (rank < 8 && !(service >> chip_input(c, rank) & 1)) rank++;
        if (rank == 8) return;
        level = chip_input(c, rank);
    }
    c->isr &= (u8) ~(1u << level);
    if (rotate) c->lowest = (u8)level;
}

static void write_ocw3(struct vpic_chip *c, u8 value) {
    if (value & OCW3_ESMM) c->special_mask = (value & OCW3_SMM) != 0;
    if (value & OCW3_POLL) /* overrides the read command: 8259A, Poll Command */
        c->poll = true;
    else if (value & OCW3_RR)
        c->read_isr = (value & OCW3_RIS) != 0;
}

void vpic_write(struct vpic *p, u16 port, u8 value, const struct vdev_host *host) {
    if ((port & ~1u) == VPIC_ELCR_PORT) {
        p->chip[port & 1u].elcr = value & elcr_writable[port & 1u];
        update(p, host);
        return;
    }
    struct vpic_chip *c = &p->chip[(port & ~1u) == VPIC_MASTER_PORT ? MASTER : SLAVE];
    if (port & 1u) {
        if (c->icw_next != 0)
            write_icw(c, value);
        else
            c->imr = value;
    } else if (value & ICW1_INIT) {
        write_icw1(c, value);
    } else if (value & OCW3_MARK) {
        write_ocw3(c, value);
    } else {
        write_ocw2(c, value);
    }
    update(p, host);
}

void vpic_set_line(struct vpic *p, u32 line, bool level, const struct vdev_host *host) {
    if (line == VPIC_CASCADE || line > 15) return;
    chip_set_line(&p->chip[line >> 3], line & 7u, level);
    update(p, host);
}

void vpic_reset(struct vpic *p, u16 elcr) {
    *p = (struct vpic){0};
    for (u32 i = 0; i < 2; i++) {
        p->chip[i].imr = 0xff;
        p->chip[i].lowest = 7;
        p->chip[i].elcr = (u8)(elcr >> (8 * i)) & elcr_writable[i];
    }
    p->chip[MASTER].vector_base = 0x08;
    p->chip[SLAVE].vector_base = 0x70;
}
