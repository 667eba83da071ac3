/* Names of PCI classes, as lspci prints them. */
#pragma once

#include "core/base/types.h"

/* class_code: class << 16 | subclass << 8 | interface. Source: PCI Code and ID Assignment Specification, Class Codes;
 * the wording is that of the PCI ID Repository. */
const char *pci_class_name(u32 class_code);
