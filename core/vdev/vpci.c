/* PCI configuration access. See vpci.h. Owns struct vpci; called by the board only. */
#include "core/vdev/vpci.h"

/* PCI, CONFIG_ADDRESS: enable, bus, device, function, register; the rest is hardwired to 0. */
#define ADDRESS_BITS 0x80fffffcu

void vpci_reset(struct vpci *p) { p->address = 0; }

u32 vpci_address_read(const struct vpci *p) { return p->address; }

void vpci_address_write(struct vpci *p, u32 value) { p->address = value & ADDRESS_BITS; }

u32 vpci_data_read(struct vpci *p, u32 offset, u32 size) {
    (void)p;
    (void)offset;
    return 0xffffffffu >> (32 - 8 * size);
}

void vpci_data_write(struct vpci *p, u32 offset, u32 size, u32 value) {
    (void)p;
    (void)offset;
    (void)size;
    (void)value;
}
