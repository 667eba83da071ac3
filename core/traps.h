/* Exceptions and interrupts that arrive in host mode. Each core. */
#pragma once

#include "drivers/descriptors.h"

/* From the interrupt table. */
void trap(struct trap_frame *frame);
/* One host interrupt, from the interrupt table or acknowledged by an exit. */
void host_interrupt(u8 vector);
