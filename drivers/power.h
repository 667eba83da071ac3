/* Switching the machine off. Any core, once. */
#pragma once

#include "drivers/acpi.h"
#include "core/base/types.h"

/* ACPI S5, then what emulators offer; halts if nothing works. */
void power_off(const struct host_acpi *acpi) noreturn_fn;
