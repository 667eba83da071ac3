/* What vpci.c, vpci_cap.c and vpci_ext.c share. */
#pragma once

#include "core/vdev/vpci.h"

static inline u32 vpci_real(const struct vpci *p, u32 f, u32 reg) { return p->host->read(p->host->ctx, f, reg, 4); }

/* Finds out what the double words behind the header are, and which capabilities the guest sees. */
void vpci_cap_scan(struct vpci *p, u32 f);
/* Power-up state of the capabilities. */
void vpci_cap_reset(struct vpci_function *fn);
/* Double words of 0x40 to 0xff; reg a multiple of 4. The write returns true if it asks for a function-level reset. */
u32 vpci_cap_read(const struct vpci *p, u32 f, u32 reg);
bool vpci_cap_write(struct vpci *p, u32 f, u32 reg, u32 value);
/* The same for 0x100 to 0xfff. Reset is power-up: masks outlive a function-level reset. */
void vpci_ext_scan(struct vpci *p, u32 f);
void vpci_ext_reset(struct vpci_function *fn);
u32 vpci_ext_read(const struct vpci *p, u32 f, u32 reg);
void vpci_ext_write(struct vpci *p, u32 f, u32 reg, u32 value);
/* Tells the host of all vectors of a function. */
void vpci_tell_vectors(const struct vpci *p, u32 f);
