/* A PCI bus with an IOMMU and I/O APIC lines for the fake machine: drivers/pci.c runs as it is, by ports 0xcf8 and
 * 0xcfc. Functions are added before fake_boot; their memory lies in the fake RAM, above what partitions get. What was
 * done to the hardware is kept as text, one word after the other, in fake_done. */
#pragma once

#include "drivers/iommu.h"

#define FAKE_FUNCTIONS 48
#define FAKE_LINES     24

struct fake_function {
    u32 id;
    u8 config[PCI_CONFIG_BYTES];
    u32 holds[PCI_BARS + 1]; /* bits of a BAR that can be written; the ROM last */
    u32 pm, pcie, af, msi, msix;
    bool dead, dies; /* answers with ones; from its next reset on */
    u32 resets;
};

/* One interrupt remapping entry. */
struct fake_route {
    u32 id, index, apic, times;
    u8 vector;
    bool level;
};

struct fake_iommu {
    bool present, refuse, no_remapping; /* refuse: setup fails */
    u32 refuse_prepare, refuse_attach;  /* of this function */
    int refusal;                        /* of prepare */
    int no_route;                       /* error of each route */
    u32 max_apic;                       /* 0: all */
    u32 stuck;                          /* detach of this function times out */
    u32 max_leaf;                       /* 0: 3 */
    struct {
        u32 id, domain;
        hpa_t root;
    } attached[FAKE_FUNCTIONS];
    u32 attached_count, published, detaches;
    struct fake_route routes[256];
    u32 route_count;
    struct iommu_fault faults[16];
    u32 fault_count, faults_told;
    void (*on_detach)(u32 id), (*on_attach)(u32 id);
    u64 *shared; /* memory that it took */
};
extern struct fake_iommu fake_iommu;

struct fake_line {
    u8 vector;
    u32 apic;
    bool routed, masked;
    u32 changes;
    u32 masked_at; /* how many interrupts were ended by then */
};
extern struct fake_line fake_lines[FAKE_LINES];

extern char fake_done[4096];
void fake_forget(void);

struct fake_function *fake_pci_add(u32 id, u16 vendor, u16 device, u32 class_code);
struct fake_function *fake_pci_at(u32 id);
/* number: 0 to 5, or PCI_BARS for the ROM; low: the type bits. */
void fake_pci_bar(struct fake_function *f, u32 number, u64 bytes, u32 low, u64 base);
/* Capabilities are put one behind the other. */
void fake_pci_pm(struct fake_function *f);
void fake_pci_flr(struct fake_function *f);
/* PCI Express without that reset. */
void fake_pci_express(struct fake_function *f, u16 control, u16 control2);
void fake_pci_msi(struct fake_function *f, bool wide, bool maskable);
void fake_pci_msix(struct fake_function *f, u32 entries, u32 bar, u32 offset);
void fake_pci_bridge(struct fake_function *f, u8 secondary, u8 subordinate);

u32 fake_pci_get(const struct fake_function *f, u32 offset, u32 size);
struct fake_route *fake_route_of(u32 id, u32 index);
/* The function sends this message: through the IOMMU if that remaps. Returns the vector, or 0: refused. */
u8 fake_pci_deliver(u64 address, u32 data, u32 *apic);

/* Ports that hold what is written. */
#define FAKE_PORTS 0xc000u
extern u8 fake_ports[32];

/* For test/fake/core/base/cpu.h. */
u32 fake_port_in(u16 port, u32 size);
void fake_port_out(u16 port, u32 size, u32 value);
