/* The 8259A pair of a PC, slave cascaded at input 2, with the ELCR of PCI chipsets. Pure, under the
 * board lock. Source: Intel 8259A datasheet; ICH9 datasheet, 8259 Interrupt Controllers (PIC). */
#pragma once

#include "core/base/types.h"
#include "core/vdev/vdev.h"

#define VPIC_MASTER_PORT 0x20  /* and 0x21 */
#define VPIC_SLAVE_PORT  0xa0  /* and 0xa1 */
#define VPIC_ELCR_PORT   0x4d0 /* and 0x4d1 */
#define VPIC_CASCADE     2

struct vpic_chip {
    u8 lines; /* level of each input now */
    u8 latch; /* edge inputs: rose and not acknowledged yet */
    u8 imr, isr;
    u8 elcr;        /* 1 = level triggered */
    u8 vector_base; /* ICW2, bits 7:3 */
    u8 lowest;      /* input with the lowest priority, 7 after initialisation */
    u8 icw_next;    /* 0, or the initialisation word expected next at the odd port: 2, 3, 4 */
    bool single;    /* ICW1.SNGL: no ICW3 follows */
    bool wants_icw4;
    bool auto_eoi, rotate_on_auto_eoi;
    bool special_mask, special_nested;
    bool read_isr, poll;
};

struct vpic {
    struct vpic_chip chip[2]; /* master, slave */
    bool intr;                /* level last told to the host */
};

/* As firmware leaves it: everything masked, edge triggered except the inputs set in elcr (bit per
 * line; fixed bits are dropped), vectors 0x08 and 0x70. Does not call the host: INTR is low. */
void vpic_reset(struct vpic *p, u16 elcr);
/* One of the six ports. The host is told when INTR changes (a read in poll mode acknowledges). */
u8 vpic_read(struct vpic *p, u16 port, const struct vdev_host *host);
void vpic_write(struct vpic *p, u16 port, u8 value, const struct vdev_host *host);
/* Input 0 to 15; 2 is the cascade and is ignored. */
void vpic_set_line(struct vpic *p, u32 line, bool level, const struct vdev_host *host);
/* Is this input masked? */
static inline bool vpic_masked(const struct vpic *p, u32 line) { return p->chip[line / 8].imr >> line % 8 & 1; }
/* INTA cycle: the vector, a spurious 7 of the chip asked if nothing is pending. */
u8 vpic_ack(struct vpic *p, const struct vdev_host *host);
