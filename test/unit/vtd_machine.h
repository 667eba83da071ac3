/* Two made-up VT-d units behind drivers/iommu_hw.h: registers, invalidation queue, caches that forget only what they
 * are told to forget, and, where a unit is not coherent, a view of memory that holds only what was flushed. Each can be
 * told to ignore commands or never to complete an invalidation. VT-d 4.1, Register Descriptions. */
#pragma once

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "test/unit/said.h"
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/log.h"
#include "core/base/pci.h"
#include "drivers/iommu_hw.h"
#include "drivers/vtd.h"

#define UNITS         2u
#define REGISTERS     0xfed90000ull
#define RECORDS       4u
#define RECORD_OFFSET 0x1200u
#define MEMORY_BYTES  (MIB(2))
#define FULL_CAP                                                                                                       \
    (6ull | CAP_PROTECTED | CAP_LEVELS_4 | CAP_LEVELS_3 | (u64)(RECORD_OFFSET / 16) << 24 | CAP_PAGES_2M |             \
     CAP_PAGES_1G | (u64)(RECORDS - 1) << 40)
#define FULL_ECAP (ECAP_COHERENT | ECAP_QUEUE | ECAP_INTERRUPTS | ECAP_EIM)

struct cached {
    bool valid;
    u64 low, high;
};

struct machine {
    u64 cap, ecap;
    u32 gsts, pmen, fsts, head;
    u64 root, interrupts, queue, new_root, new_interrupts;
    u64 records[RECORDS][2];
    u32 ignores; /* commands */
    bool hangs, errs, keeps_pmen, caching;
    u32 commands, flushes, opened; /* opened: times that translation went off */
    u64 log[64];                   /* invalidations, the newest ones */
    u32 logged;
    struct cached contexts[0x10000], entries[IRT_ENTRIES];
};

static struct machine machines[UNITS];
static u64 now;
static void (*on_clock)(void); /* what another core does while one waits */
static bool has_clflush = true;
static u8 *memory, *seen; /* what the driver was given, and what a unit that is not coherent sees of it */
static u64 memory_used, registers_mapped;

static void *machine_take(u64 bytes) {
    void *at = memory + memory_used;

    memory_used += align_up(bytes, PAGE_4K);
    if (memory_used > MEMORY_BYTES) abort();
    memset(seen + ((u8 *)at - memory), 0xff, bytes); /* that it was cleared is still in the cache */
    return at;
}
static void machine_registers(u64 at, u64 bytes) {
    (void)at;
    registers_mapped += bytes;
}

u64 iommu_clock(void) {
    if (on_clock) on_clock();
    return now += BIT(21);
}
bool iommu_can_flush(void) { return has_clflush; }
void iommu_flush(const void *at) {
    u64 line = align_down((u64)((const u8 *)at - memory), 64);

    memcpy(seen + line, memory + line, 64);
}
void iommu_flush_all(void) { memcpy(seen, memory, MEMORY_BYTES); }

static u64 unit_reads(const struct machine *m, u64 at) {
    u64 value;

    if ((u8 *)at < memory || (u8 *)at >= memory + MEMORY_BYTES) abort();
    memcpy(&value, (m->ecap & ECAP_COHERENT ? memory : seen) + (at - (u64)memory), sizeof(value));
    return value;
}

static struct machine *machine_of(u64 at) {
    if (at < REGISTERS || at >= REGISTERS + UNITS * KIB(8)) abort();
    return &machines[(at - REGISTERS) / KIB(8)];
}

u64 iommu_read64(u64 at) {
    const struct machine *m = machine_of(at);
    u64 reg = at % KIB(8);

    if (reg >= RECORD_OFFSET) return m->records[(reg - RECORD_OFFSET) / 16][reg / 8 % 2];
    return reg == VTD_CAP ? m->cap : reg == VTD_ECAP ? m->ecap : (abort(), 0ull);
}

u32 iommu_read32(u64 at) {
    struct machine *m = machine_of(at);
    bool pending = false;

    for (u32 i = 0; i < RECORDS; i++) pending |= m->records[i][1] >> 63;
    switch (at % KIB(8)) {
    case VTD_VER: return m->cap ? 0x10 : 0;
    case VTD_GSTS: return m->gsts;
    case VTD_PMEN: return m->pmen;
    case VTD_FSTS: return m->fsts | (pending ? FSTS_PENDING : 0) | (m->errs ? 0x10 : 0);
    default: abort();
    }
}

static void write_command(struct machine *m, u32 value) {
    const u32 kept = GCMD_TE | GCMD_QIE | GCMD_IRE | GCMD_CFI;
    u32 before = m->gsts;

    m->commands++;
    m->gsts = (before & ~kept) | (value & kept & ~m->ignores) | (before & kept & m->ignores);
    m->opened += (before & ~m->gsts & GCMD_TE) != 0;
    if (before & ~m->gsts & GCMD_QIE) m->head = 0;
    if (value & GCMD_SRTP) {
        m->gsts = m->ignores & GCMD_SRTP ? m->gsts & ~GCMD_SRTP : m->gsts | GCMD_SRTP;
        m->root = m->new_root;
    }
    if (value & GCMD_SIRTP) {
        m->gsts = m->ignores & GCMD_SIRTP ? m->gsts & ~GCMD_SIRTP : m->gsts | GCMD_SIRTP;
        m->interrupts = m->new_interrupts;
    }
    if (value & GCMD_WBF) {
        m->flushes++;
        m->gsts |= m->ignores & GCMD_WBF;
    }
}

static void forget(struct machine *m, u64 what) {
    m->log[m->logged++ % ARRAY_SIZE(m->log)] = what;
    switch (what & 15) {
    case 1: memset(m->contexts, 0, sizeof(m->contexts)); break;
    case 4:
        if (what >> 4 & 1)
            m->entries[what >> 32 & 0xffff].valid = false;
        else
            memset(m->entries, 0, sizeof(m->entries));
        break;
    case 2: break;
    default: abort();
    }
}

static void write_tail(struct machine *m, u32 tail) {
    if (!(m->gsts & GCMD_QIE)) {
        if (tail) abort();
        m->head = 0;
        return;
    }
    while (!m->hangs && !m->errs && m->head != tail) {
        const u64 *descriptor = (const u64 *)(m->queue + m->head);

        if ((descriptor[0] & 15) == 5)
            *(u32 *)descriptor[1] = (u32)(descriptor[0] >> 32);
        else
            forget(m, descriptor[0]);
        m->head = (m->head + 16) % (QUEUE_ENTRIES * 16);
    }
}

void iommu_write32(u64 at, u32 value) {
    struct machine *m = machine_of(at);
    u32 reg = at % KIB(8);

    if (reg >= RECORD_OFFSET && reg % 16 == 12)
        m->records[(reg - RECORD_OFFSET) / 16][1] &= ~((u64)value << 32 & BIT(63));
    else if (reg == VTD_GCMD)
        write_command(m, value);
    else if (reg == VTD_PMEN)
        m->pmen = m->keeps_pmen ? m->pmen : value;
    else if (reg == VTD_FSTS)
        m->fsts &= ~value;
    else
        abort();
}

void iommu_write64(u64 at, u64 value) {
    struct machine *m = machine_of(at);

    switch (at % KIB(8)) {
    case VTD_RTADDR: m->new_root = value; break;
    case VTD_IRTA: m->new_interrupts = value; break;
    case VTD_IQA: m->queue = value; break;
    case VTD_IQT: write_tail(m, (u32)value); break;
    default: abort();
    }
}

/* --- what devices see --- */

static struct cached lookup(struct machine *m, struct cached *slot, u64 at) {
    struct cached found = *slot;

    if (!found.valid) {
        found = (struct cached){true, at ? unit_reads(m, at) : 0, at ? unit_reads(m, at + 8) : 0};
        if (found.low & 1 || m->caching) *slot = found;
    }
    return found;
}

/* The context entry by which a function's DMA goes, or 0 in .low if it is refused. */
static struct cached dma(struct machine *m, u32 id) {
    u64 bus;

    if (!(m->gsts & GCMD_TE)) return (struct cached){true, ~(u64)0, 0};
    if (m->root & 0xc00) abort(); /* legacy mode */
    bus = unit_reads(m, m->root + PCI_BUS(id) * 16);
    return lookup(m, &m->contexts[id & 0xffff], bus & 1 ? (bus & ~(u64)0xfff) + (id & 0xff) * 16 : 0);
}

/* The vector that a message brings, its core and trigger mode; 0 if it is refused. */
struct arrived {
    u32 vector, core;
    bool level;
};
static struct arrived interrupt(struct machine *m, u32 id, struct msi_message msi) {
    u32 handle = (u32)(bits_get(msi.address, 5, 15) | bits_get(msi.address, 2, 1) << 15);
    struct cached e;

    if (!(m->gsts & GCMD_IRE)) return (struct arrived){msi.data & 0xff, 0, false};
    if (!(msi.address & 0x10)) return (struct arrived){m->gsts & GCMD_CFI ? msi.data & 0xff : 0, 0, false};
    if (msi.address >> 20 != 0xfee) abort();
    if (msi.address & MSI_SUBHANDLE) handle += msi.data & 0xffff;
    if (handle >= 2u << (m->interrupts & 15)) return (struct arrived){0};
    e = lookup(m, &m->entries[handle], (m->interrupts & ~(u64)0xfff) + handle * 16);
    if (!(e.low & 1) || e.high >> 18 != 1 || (e.high >> 16 & 3) || (e.high & 0xffff) != (id & 0xffff))
        return (struct arrived){0};
    if (e.low & ~(0xffffffff00ff0011ull)) abort(); /* physical, fixed, no posting */
    return (struct arrived){(u32)bits_get(e.low, 16, 8),
                            (u32)(m->interrupts & IRTA_EIM ? e.low >> 32 : bits_get(e.low, 40, 8)), e.low >> 4 & 1};
}

static void machine_start(void) {
    free(memory);
    free(seen);
    memory = aligned_alloc(PAGE_4K, MEMORY_BYTES);
    seen = malloc(MEMORY_BYTES);
    memset(memory, 0, MEMORY_BYTES);
    memset(seen, 0xff, MEMORY_BYTES);
    memset(machines, 0, sizeof(machines));
    memory_used = registers_mapped = 0;
    has_clflush = true;
    for (u32 i = 0; i < UNITS; i++) machines[i].cap = FULL_CAP, machines[i].ecap = FULL_ECAP;
}
