/* The DSDT and the SSDT of the PCI bus as iasl compiles them from dsdt.asl and pci.asl; the bytes are made at build
 * time. */
#pragma once

#include "core/base/types.h"

extern const u8 dsdt_aml[], pci_aml[];
extern const u32 dsdt_aml_bytes, pci_aml_bytes;
