/* All of the library, for a bare-metal partition: a program defines guest_main. */
#pragma once

#include "guests/lib/acpi.h"
#include "guests/lib/console.h"
#include "guests/lib/cpu.h"
#include "guests/lib/hypervisor.h"
#include "guests/lib/interrupts.h"
#include "guests/lib/lapic.h"
#include "guests/lib/options.h"
#include "guests/lib/pc.h"
#include "guests/lib/power.h"
#include "guests/lib/smp.h"
#include "guests/lib/timer.h"

/* Runs on the boot CPU with everything above initialised and interrupts off. Its return powers the
 * partition off. */
void guest_main(void);
