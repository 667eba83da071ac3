/* Text on COM1 (16550 at 0x3f8), polled, so that it works before and without interrupts. Any CPU:
 * one call prints without others in between. */
#pragma once

#include "core/base/fmt.h"

#define COM1 0x3f8

/* Once, on the boot CPU: 115200 8N1, FIFOs on, interrupts off. */
void console_init(void);
/* At most 511 characters a call. '\n' is sent as CR LF. */
void print(const char *format, ...) printf_like(1, 2);
/* For the last words of a CPU that may have stopped another inside print: ignores the lock. */
void console_break_lock(void);
/* Waits until the last bit has left the transmitter (bounded, for a UART that is not there). */
void console_drain(void);
