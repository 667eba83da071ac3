/* PCI as everybody names it: identities, configuration registers, and what discovery learned about one function. Layer
 * 0: types only. Source: PCI Local Bus 3.0, Configuration Space; PCI Express Base 4.0, Capability Structures. */
#pragma once

#include "core/base/types.h"

/* A function's identity: segment << 16 | bus << 8 | device << 3 | function. The low half is its requester id. */
#define PCI_ID(segment, bus, device, function)                                                                         \
    ((u32)(segment) << 16 | (u32)(bus) << 8 | (u32)(device) << 3 | (u32)(function))
#define PCI_BUS(id)      ((id) >> 8 & 0xffu)
#define PCI_DEVICE(id)   ((id) >> 3 & 0x1fu)
#define PCI_FUNCTION(id) ((id)&7u)

#define PCI_CONFIG_BYTES   256u
#define PCI_EXTENDED_BYTES 4096u

/* Configuration registers, type 0 header unless said otherwise. */
#define PCI_REG_VENDOR         0x00
#define PCI_REG_COMMAND        0x04
#define PCI_REG_STATUS         0x06
#define PCI_REG_REVISION       0x08 /* and class code above it */
#define PCI_REG_HEADER         0x0e
#define PCI_REG_BAR0           0x10
#define PCI_REG_BUSES          0x18 /* type 1: primary, secondary, subordinate */
#define PCI_REG_SUBSYSTEM      0x2c
#define PCI_REG_ROM            0x30
#define PCI_REG_CAPABILITIES   0x34
#define PCI_REG_BRIDGE_CONTROL 0x3e /* type 1 */
#define PCI_REG_LINE           0x3c
#define PCI_REG_PIN            0x3d
#define PCI_REG_EXTENDED       0x100

#define PCI_COMMAND_IO        0x0001u
#define PCI_COMMAND_MEMORY    0x0002u
#define PCI_COMMAND_MASTER    0x0004u
#define PCI_COMMAND_INTX_OFF  0x0400u
#define PCI_STATUS_INTX       0x0008u
#define PCI_STATUS_CAPABILITY 0x0010u

#define PCI_CAP_PM     0x01
#define PCI_CAP_MSI    0x05
#define PCI_CAP_VENDOR 0x09
#define PCI_CAP_PCIE   0x10
#define PCI_CAP_MSIX   0x11
#define PCI_CAP_AF     0x13

/* In the PCI Express capability. The second register is there from version 2 on, its capabilities before it. */
#define PCI_PCIE_CONTROL  0x08u
#define PCI_PCIE_CONTROL2 0x28u
#define PCI_PCIE_VERSION  0x0fu
/* Of the control register of access control: redirects of a function's requests and completions to the port above. */
#define PCI_ACS_CONTROL  0x06u
#define PCI_ACS_FUNCTION 0x0cu

#define PCI_EXT_AER    0x01
#define PCI_EXT_SERIAL 0x03
#define PCI_EXT_VENDOR 0x0b
#define PCI_EXT_ACS    0x0d
#define PCI_EXT_ARI    0x0e
#define PCI_EXT_SRIOV  0x10
#define PCI_EXT_RBAR   0x15

/* Control register of the n-th entry of the capability of resizable BARs. */
#define PCI_RBAR_CONTROL(n) (8u + 8u * (n))

#define PCI_BARS 6u

/* How configuration space is reached. size: 1, 2 or 4; offset below PCI_EXTENDED_BYTES, aligned. A function that does
 * not exist reads all ones; beyond PCI_CONFIG_BYTES as well, where the machine has no extended space. */
struct pci_access {
    void *ctx;
    u32 (*read)(void *ctx, u32 id, u32 offset, u32 size);
    void (*write)(void *ctx, u32 id, u32 offset, u32 size, u32 value);
};

struct pci_bar {
    u64 base, bytes; /* bytes 0: there is none, or it is the upper half of the one before */
    bool io, wide, prefetch;
};

#define PCI_SRIOVS 32u /* functions with virtual ones, at most */

/* What the virtual functions of one have in common; numbered from 0. PCI Express Base 4.0, SR-IOV Extended Capability.
 */
struct pci_vfs {
    u32 first, stride; /* identities: first + n * stride */
    u16 count;         /* 0: there are none, the rest means nothing */
    u16 device;
    u16 acs; /* offset of access control in each, or 0 */
    bool ari;
    u8 number;                     /* among the functions that have some: below PCI_SRIOVS */
    struct pci_bar bars[PCI_BARS]; /* of number 0; the others follow one by one */
};

static inline u32 pci_vf_id(const struct pci_vfs *vfs, u32 n) { return vfs->first + n * vfs->stride; }

struct pci_function {
    u32 id;
    u16 vendor, device, subsystem_vendor, subsystem;
    u32 class_code;      /* class << 16 | subclass << 8 | interface */
    u8 revision, header; /* header type without the multi-function bit */
    bool multifunction;
    u8 pin;                        /* INTx pin, 1 = A; 0: none */
    u8 secondary, subordinate;     /* a bridge's */
    struct pci_bar bars[PCI_BARS]; /* a bridge has two */
    struct pci_bar rom;
    u16 pm, msi, pcie, msix, af; /* offsets of capabilities; 0: none */
    u16 acs, sriov, rbar;        /* of extended capabilities */
    u8 rbars;                    /* entries of rbar */
    u32 sizes[PCI_BARS];         /* their control registers, as the firmware left them */
    bool msi_64, msi_maskable;
    u8 msi_vectors; /* largest number, a power of two */
    u16 msix_entries;
    u8 msix_bar, msix_pba_bar; /* BAR numbers */
    u32 msix_offset, msix_pba_offset;
    u16 control, control2;    /* Device Control and Device Control 2, as the firmware left them */
    u8 pcie_type;             /* device/port type; PCI Express Base 4.0, PCI Express Capabilities Register */
    bool flr, flr_by_af, ari; /* by_af: by Advanced Features, and not by PCI Express */
    bool virtual; /* its ids and BARs are those of `physical`, which enabled it: its own registers do not hold them */
    u32 physical; /* identity */
    struct pci_vfs vfs; /* of a virtual function: only the number, its physical one's */
    u32 requester;      /* identity under which an IOMMU sees its requests: a bridge's, behind conventional PCI */
    u32 group;          /* isolation group: the smallest id among those that cannot be told apart or kept apart */
};

/* A message that a device writes to interrupt: SDM Vol 3A, Message Signalled Interrupts. */
struct msi_message {
    u64 address;
    u32 data;
};
