/* The machine's console port: a 16550 and, in emulators, the debug port 0xe9. Any core; the caller serialises. */
#pragma once

#include "core/base/types.h"

#define UART_IRQ_COM13 4
#define UART_IRQ_COM24 3

/* Sets 115200 8N1 with FIFOs. Boot core. port: the first of its eight, or memory: its eight registers, byte by byte;
 * with neither there is none. Returns false if no UART answers there (scratch register test). */
bool uart_init(u16 port, void *memory);
bool uart_present(void);
/* The first of the UART's ports; 0 if it has none. */
u16 uart_port(void);
/* How many bytes uart_put may be given now without waiting: 0 while the FIFO is not empty, else its depth. */
u32 uart_room(void);
/* Writes one byte to every output there is. Never waits. */
void uart_put(u8 byte);
/* False if no byte has arrived. */
bool uart_get(u8 *byte);
/* Receive interrupts on or off; switching on raises one at once if bytes wait. */
void uart_receive_interrupt(bool on);
/* Waits (bounded) until the last byte has left the shift register. */
void uart_flush(void);
