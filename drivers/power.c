#include "drivers/power.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"

#define SLP_EN              BIT(13)
#define SLP_TYP_SHIFT       10
#define BOCHS_SHUTDOWN_PORT 0x8900

/* ACPI 6.4, Transitioning from the Working to the Soft Off State. */
static void enter_s5(const struct host_acpi *acpi) {
    if (!acpi->has_s5 || !acpi->pm1a_control) return;
    outw(acpi->pm1a_control, (u16)(acpi->s5_type_a << SLP_TYP_SHIFT | SLP_EN));
    if (acpi->pm1b_control) outw(acpi->pm1b_control, (u16)(acpi->s5_type_b << SLP_TYP_SHIFT | SLP_EN));
}

void power_off(const struct host_acpi *acpi) {
    /* Bochs ends on this word, written bytewise to its own port; recognised by its debug port. */
    if (inb(0xe9) == 0xe9)
        for (const char *c = "Shutdown"; *c; c++) outb(BOCHS_SHUTDOWN_PORT, (u8)*c);
    enter_s5(acpi);
    cpu_halt_forever();
}
