/* 16550A UART with 16-byte FIFOs between two byte rings. Pure, under the board lock. The line has
 * no speed: what is sent is in the ring at once, and what waits in the ring enters the receive FIFO
 * as soon as there is room, so nothing is overrun. Source: National Semiconductor PC16550D
 * datasheet.
 */
#pragma once

#include "core/base/ring.h"
#include "core/base/types.h"

#define VUART_FIFO 16

struct vuart {
    struct ring *tx, *rx; /* guest to machine, machine to guest; either may be NULL */
    u8 ier, lcr, mcr, msr, scr;
    u8 divisor[2];
    u8 lsr;     /* DR, OE, BI, THRE, TEMT */
    u8 fcr;     /* FIFO enable, trigger */
    bool empty; /* the THR-empty interrupt is pending */
    u8 fifo[VUART_FIFO];
    u32 first, used; /* of the receive FIFO */
};

void vuart_reset(struct vuart *u, struct ring *tx, struct ring *rx);
/* Registers 0 to 7. */
u8 vuart_read(struct vuart *u, u32 offset);
void vuart_write(struct vuart *u, u32 offset, u8 value);
/* Takes what the rings have to offer: received bytes, and room for transmission. */
void vuart_tick(struct vuart *u);
/* Level of INTR. */
bool vuart_intr(const struct vuart *u);
