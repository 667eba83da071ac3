/* PCI configuration mechanism 1 with an empty bus: the address register holds what was written, the
 * data window reads as ones. Pure, under the board lock. Source: PCI Local Bus Specification,
 * Configuration Space Access Mechanism (software generation of configuration transactions). */
#pragma once

#include "core/base/types.h"

#define VPCI_ADDRESS_PORT 0xcf8
#define VPCI_DATA_PORT    0xcfc /* to 0xcff */

struct vpci {
    u32 address;
};

void vpci_reset(struct vpci *p);
/* The address register: double words only; narrower accesses are ordinary I/O and go elsewhere. */
u32 vpci_address_read(const struct vpci *p);
void vpci_address_write(struct vpci *p, u32 value);
/* The data window; offset 0 to 3, size 1, 2 or 4. No function answers: a master abort reads as
 * ones, and writes are dropped. */
u32 vpci_data_read(const struct vpci *p, u32 offset, u32 size);
void vpci_data_write(struct vpci *p, u32 offset, u32 size, u32 value);
