#include "guests/lib/power.h"

#include "guests/lib/acpi.h"
#include "guests/lib/console.h"
#include "guests/lib/cpu.h"

#define SLP_EN       0x2000u
#define SCI_EN       0x0001u
#define PORT_RESET   0xcf9
#define BOCHS_UNPLUG 0x8900

void power_off(void) {
    console_drain();
    if (acpi.pm1a_control) out16(acpi.pm1a_control, (u16)(SLP_EN | SCI_EN | acpi.s5_type << 10));
    /* An emulator without S5 ends on this word; elsewhere nothing listens. */
    for (const char *c = "Shutdown"; *c; c++) out8(BOCHS_UNPLUG, (u8)*c);
    cpu_stop();
}

void power_reset(void) {
    console_drain();
    out8(PORT_RESET, 0x02); /* hard reset chosen, then asserted. ICH9 datasheet, Reset Control */
    out8(PORT_RESET, 0x06);
    cpu_stop();
}
