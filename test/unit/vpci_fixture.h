/* Functions as QEMU shows them, with a bus over them that notes what is asked of the machine. For the tests and the
 * fuzzer of core/vdev/vpci*.c. */
#pragma once

#include <stdlib.h>
#include <string.h>

#include "core/base/bits.h"
#include "core/vdev/vpci.h"

enum { E1000E, NVME, VIRTIO, XHCI, LEGACY, VF, FUNCTIONS };

#define MSIX_MAX 80

struct machine {
    struct vpci bus;
    struct pci_function real[FUNCTIONS];
    struct vpci_function fn[FUNCTIONS];
    struct vpci_vector table[FUNCTIONS][MSIX_MAX];
    u8 space[FUNCTIONS][PCI_EXTENDED_BYTES];
    u64 placed[FUNCTIONS][PCI_BARS + 1]; /* what the host was told last */
    u32 placements, vectors, resets, writes;
    u32 last_f, last_vector, last_reset;
    bool commanded[FUNCTIONS];      /* its command register was written */
    bool open[FUNCTIONS][MSIX_MAX]; /* what the host was told last */
    struct msi_message message[FUNCTIONS][MSIX_MAX];
    struct vpci_host host;
};

static inline void poke32(struct machine *m, u32 f, u32 at, u32 value) { memcpy(&m->space[f][at], &value, 4); }
static inline u32 peek32(const struct machine *m, u32 f, u32 at) {
    u32 value;

    memcpy(&value, &m->space[f][at], 4);
    return value;
}

static u32 on_read(void *ctx, u32 f, u32 offset, u32 size) {
    struct machine *m = ctx;
    u32 value = 0;

    if (f >= FUNCTIONS || offset + size > PCI_EXTENDED_BYTES || offset % size) abort();
    memcpy(&value, &m->space[f][offset], size);
    return value;
}

/* The only register that may be written is the command register. */
static void on_write(void *ctx, u32 f, u32 offset, u32 size, u32 value) {
    struct machine *m = ctx;
    u16 word = (u16)value;

    if (f >= FUNCTIONS || offset != PCI_REG_COMMAND || size != 2 || value >> 16) abort();
    if ((word ^ peek32(m, f, offset)) & 0xffff & ~(PCI_COMMAND_MASTER | PCI_COMMAND_INTX_OFF)) abort();
    memcpy(&m->space[f][offset], &word, 2);
    m->commanded[f] = true;
    m->writes++;
}

static void on_place(void *ctx, u32 f, u32 bar, u64 at) {
    struct machine *m = ctx;

    if (m->placed[f][bar] == at) abort();
    m->placed[f][bar] = at;
    m->placements++;
}

static void on_vector(void *ctx, u32 f, u32 i) {
    struct machine *m = ctx;
    const struct vpci_function *fn = &m->fn[f];

    if (i >= MSIX_MAX) abort();
    m->open[f][i] = vpci_vector_open(fn, i);
    m->message[f][i] = fn->msix_enabled ? fn->msix[i].message : fn->msi.message;
    m->last_f = f;
    m->last_vector = i;
    m->vectors++;
}

static void on_reset(void *ctx, u32 f) {
    struct machine *m = ctx;

    if (peek32(m, f, PCI_REG_COMMAND) & PCI_COMMAND_MASTER) abort();
    m->last_reset = f;
    m->resets++;
}

/* A capability: id, next, and the upper half of its first double word. */
static inline void put_cap(struct machine *m, u32 f, u32 at, u32 id, u32 next, u32 upper) {
    poke32(m, f, at, id | next << 8 | upper << 16);
}

static inline void put_header(struct machine *m, u32 f, u32 ids, u32 class_revision, u32 subsystem, u32 list) {
    struct pci_function *r = &m->real[f];

    poke32(m, f, 0x00, ids);
    poke32(m, f, 0x04, 0xf9b00003); /* decoding; every error bit, capabilities, 66 MHz, fast back-to-back */
    poke32(m, f, 0x08, class_revision);
    poke32(m, f, 0x0c, 0x00800010);
    poke32(m, f, 0x2c, subsystem);
    poke32(m, f, 0x34, list);
    poke32(m, f, 0x3c, 0x0000010a);
    *r = (struct pci_function){.id = PCI_ID(0, 2, f, 0),
                               .vendor = (u16)ids,
                               .device = (u16)(ids >> 16),
                               .class_code = class_revision >> 8,
                               .revision = (u8)class_revision,
                               .subsystem_vendor = (u16)subsystem,
                               .subsystem = (u16)(subsystem >> 16),
                               .pin = 1};
}

static inline void put_bar(struct machine *m, u32 f, u32 i, u64 base, u64 bytes, u32 flags) {
    m->real[f].bars[i] = (struct pci_bar){base, bytes, (flags & 1) != 0, (flags & 4) != 0, (flags & 8) != 0};
    poke32(m, f, 0x10 + 4 * i, (u32)base | flags);
    if (flags & 4) poke32(m, f, 0x14 + 4 * i, (u32)(base >> 32));
}

static inline void put_msix(struct machine *m, u32 f, u32 at, u32 next, u16 entries, u8 bar, u32 table, u32 pba) {
    struct pci_function *r = &m->real[f];

    put_cap(m, f, at, PCI_CAP_MSIX, next, entries - 1u);
    poke32(m, f, at + 4, table | bar);
    poke32(m, f, at + 8, pba | bar);
    r->msix = (u16)at;
    r->msix_entries = entries;
    r->msix_bar = r->msix_pba_bar = bar;
    r->msix_offset = table;
    r->msix_pba_offset = pba;
}

static inline void put_pcie(struct machine *m, u32 f, u32 at, u32 next, u32 type, bool flr) {
    put_cap(m, f, at, PCI_CAP_PCIE, next, 2 | type << 4);
    poke32(m, f, at + 4, 0x00008fe1 | (flr ? 1u << 28 : 0)); /* latencies, 256-byte payload, extended tags */
    poke32(m, f, at + 8, 0x003f2830);                        /* AUX power, pending, all errors */
    poke32(m, f, at + 0xc, 0x00412c11);
    poke32(m, f, at + 0x10, 0x00110040);
    poke32(m, f, at + 0x24, 0x000d3c1f);
    poke32(m, f, at + 0x28, 0x00000400);
    m->real[f].pcie = (u16)at;
    m->real[f].flr = flr;
}

static inline void put_pm(struct machine *m, u32 f, u32 at, u32 next) {
    put_cap(m, f, at, PCI_CAP_PM, next, 0xffff);
    poke32(m, f, at + 4, 0xffffe103);
    m->real[f].pm = (u16)at;
}

static inline void put_e1000e(struct machine *m) {
    put_header(m, E1000E, 0x10d38086, 0x02000000, 0x00008086, 0xc8);
    put_bar(m, E1000E, 0, 0xfeb40000, KIB(128), 0);
    put_bar(m, E1000E, 1, 0xfeb60000, KIB(128), 0);
    put_bar(m, E1000E, 2, 0xc060, 32, 1);
    put_bar(m, E1000E, 3, 0xfeb80000, KIB(16), 0);
    m->real[E1000E].rom = (struct pci_bar){.base = 0xfeb00000, .bytes = KIB(256)};
    put_pm(m, E1000E, 0xc8, 0xd0);
    put_cap(m, E1000E, 0xd0, PCI_CAP_MSI, 0xe0, 0x0080);
    m->real[E1000E].msi = 0xd0;
    m->real[E1000E].msi_64 = true;
    put_pcie(m, E1000E, 0xe0, 0xa0, 0, false);
    put_msix(m, E1000E, 0xa0, 0, 5, 3, 0, 0x2000);
    poke32(m, E1000E, 0x100, 0x14020001); /* AER, a serial number, ACS */
    poke32(m, E1000E, 0x104, 0xffffffff);
    poke32(m, E1000E, 0x140, 0x15010003);
    poke32(m, E1000E, 0x144, 0x12345678);
    poke32(m, E1000E, 0x148, 0x9abcdef0);
    poke32(m, E1000E, 0x150, 0x0001000d);
    poke32(m, E1000E, 0x154, 0xffffffff);
    poke32(m, E1000E, 0x60, 0x5a5a5a5a); /* known to its driver only */
}

static inline void put_nvme(struct machine *m) {
    put_header(m, NVME, 0x00101b36, 0x01080202, 0x11001af4, 0x40);
    put_bar(m, NVME, 0, 0x380000004000, KIB(16), 4);
    put_msix(m, NVME, 0x40, 0x80, 65, 0, 0x2000, 0x3000);
    put_pcie(m, NVME, 0x80, 0x60, 0, true);
    put_pm(m, NVME, 0x60, 0);
    poke32(m, NVME, 0x100, 0x00010010); /* SR-IOV */
    poke32(m, NVME, 0x104, 0xffffffff);
}

static inline void put_virtio(struct machine *m) {
    put_header(m, VIRTIO, 0x10411af4, 0x02000001, 0x11001af4, 0x98);
    put_bar(m, VIRTIO, 1, 0xfeb91000, KIB(4), 0);
    put_bar(m, VIRTIO, 4, 0xfe004000, KIB(16), 12);
    put_msix(m, VIRTIO, 0x98, 0x84, 3, 1, 0, 0x800);
    put_cap(m, VIRTIO, 0x84, PCI_CAP_VENDOR, 0x70, 0x0514);
    for (u32 i = 4; i < 20; i += 4) poke32(m, VIRTIO, 0x84 + i, 0xeeeeeeee);
    put_cap(m, VIRTIO, 0x70, PCI_CAP_VENDOR, 0x60, 0x0214);
    poke32(m, VIRTIO, 0x74, 4);
    poke32(m, VIRTIO, 0x78, 0x3000);
    put_cap(m, VIRTIO, 0x60, PCI_CAP_VENDOR, 0x50, 0x0410);
    put_cap(m, VIRTIO, 0x50, PCI_CAP_VENDOR, 0x40, 0x0310);
    put_cap(m, VIRTIO, 0x40, PCI_CAP_VENDOR, 0, 0x0110);
}

static inline void put_xhci(struct machine *m) {
    put_header(m, XHCI, 0x000d1b36, 0x0c033001, 0x11001af4, 0x90);
    put_bar(m, XHCI, 0, 0xfebf0000, KIB(16), 4);
    put_msix(m, XHCI, 0x90, 0xa0, 16, 0, 0x3000, 0x3800);
    put_pcie(m, XHCI, 0xa0, 0, 1, false);
    poke32(m, XHCI, 0x60, 0x00000030); /* serial bus release number */
}

/* Conventional PCI with what the others lack: a small memory BAR, MSI with masks in the short form, AF, capabilities
 * that nobody shall see, and a list that bites its tail. */
static inline void put_legacy(struct machine *m) {
    put_header(m, LEGACY, 0x43211234, 0xff000007, 0x56781234, 0x40);
    put_bar(m, LEGACY, 0, 0xd0000100, 256, 0);
    put_bar(m, LEGACY, 5, 0x1000, 8, 1);
    put_cap(m, LEGACY, 0x40, 0x03, 0x50, 0x8000); /* vital product data */
    poke32(m, LEGACY, 0x44, 0xdddddddd);
    put_cap(m, LEGACY, 0x50, PCI_CAP_MSI, 0x68, 0x010a);
    poke32(m, LEGACY, 0x54, 0xfee00000);
    poke32(m, LEGACY, 0x58, 0x4031);
    poke32(m, LEGACY, 0x60, 0xffffffff);
    m->real[LEGACY].msi = 0x50;
    m->real[LEGACY].msi_maskable = true;
    m->real[LEGACY].msi_vectors = 32;
    put_cap(m, LEGACY, 0x68, PCI_CAP_AF, 0x70, 0x0306);
    poke32(m, LEGACY, 0x6c, 0xffffff00);
    m->real[LEGACY].af = 0x68;
    m->real[LEGACY].flr = true;
    put_cap(m, LEGACY, 0x70, PCI_CAP_VENDOR, 0x80, 0x0510); /* type 5 of nobody's virtio */
    put_cap(m, LEGACY, 0x80, 0x14, 0x40, 0xabcd);           /* enhanced allocation: tells real addresses */
    poke32(m, LEGACY, 0x84, 0xd0000002);
    memset(&m->space[LEGACY][0x100], 0xff, PCI_EXTENDED_BYTES - 0x100);
}

static inline void put_vf(struct machine *m) {
    put_header(m, VF, 0x00101b36, 0x01080202, 0x11001af4, 0x40);
    m->real[VF].virtual = true;
    m->real[VF].pin = 0;
    put_bar(m, VF, 0, 0x380000010000, KIB(16), 4);
    put_msix(m, VF, 0x40, 0x80, 9, 0, 0x2000, 0x3000);
    put_pcie(m, VF, 0x80, 0, 0, true);
    poke32(m, VF, 0x00, 0xffffffff); /* SR-IOV: a virtual function's ids, BARs and interrupt registers */
    poke32(m, VF, 0x04, 0x00100000);
    poke32(m, VF, 0x10, 0);
    poke32(m, VF, 0x14, 0);
    poke32(m, VF, 0x3c, 0);
}

/* Function f is device f + 1 with pin 17 + f; BARs at home from 0xc1000000 and port 0xc000. */
static inline void start_machine(struct machine *m, u32 count) {
    memset(m, 0, sizeof(*m));
    m->host = (struct vpci_host){m, on_read, on_write, on_place, on_vector, on_reset};
    put_e1000e(m);
    put_nvme(m);
    put_virtio(m);
    put_xhci(m);
    put_legacy(m);
    put_vf(m);
    for (u32 f = 0; f < FUNCTIONS; f++) {
        m->fn[f] = (struct vpci_function){.real = &m->real[f],
                                          .device = f + 1,
                                          .intx_pin = vpci_intx_pin(f + 1),
                                          .has_line = m->real[f].pin != 0,
                                          .msix = m->table[f]};
        for (u32 i = 0; i <= PCI_BARS; i++) {
            m->placed[f][i] = NEVER;
            m->fn[f].home[i] =
                i < PCI_BARS && m->real[f].bars[i].io ? 0xc000u + 0x100 * f : 0xc1000000ull + MIB(16) * f + MIB(2) * i;
        }
    }
    vpci_init(&m->bus, m->fn, count, &m->host);
}

/* Accesses as a guest makes them. */
static inline u32 cfg(u32 f, u32 reg) { return (f + 1) << 15 | reg; }
static inline u32 rd(struct machine *m, u32 f, u32 reg) { return vpci_ecam_read(&m->bus, cfg(f, reg), 4); }
static inline void wr(struct machine *m, u32 f, u32 reg, u32 value) { vpci_ecam_write(&m->bus, cfg(f, reg), 4, value); }
static inline void wr16(struct machine *m, u32 f, u32 reg, u16 value) {
    vpci_ecam_write(&m->bus, cfg(f, reg), 2, value);
}
