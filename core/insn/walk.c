/* The guest's own page tables, walked in software: for instruction bytes and operands of accesses
 * that hardware has already tried, and for descriptor tables. Owns nothing; reads tables that other
 * vCPUs of the partition may change meanwhile, so each entry is read once, and written only by
 * compare-and-exchange against what was read.
 *
 * Fetching the bytes of an intercepted instruction is part of the exit path on CPUs without
 * next-RIP: fetch_quick() does the common case, and entries are written only if they must be.
 *
 *   five levels      PML5E 56:48   PML4E 47:39   PDPTE 38:30   PDE 29:21   PTE 20:12
 *   four levels                    PML4E 47:39   PDPTE 38:30   PDE 29:21   PTE 20:12
 *   PAE                                          PDPTE 31:30   PDE 29:21   PTE 20:12
 *   32-bit                                                     PDE 31:22   PTE 21:12
 *
 * Not offered to guests and so not here: protection keys, shadow stacks. */
#include "core/insn/walk.h"

#include "core/base/errors.h"
#include "core/base/string.h"
#include "core/base/x86.h"

/* SDM Vol 3A, 4-Level Paging and 5-Level Paging, formats of paging-structure entries. */
#define PTE_PRESENT  BIT(0)
#define PTE_WRITE    BIT(1)
#define PTE_USER     BIT(2)
#define PTE_ACCESSED BIT(5)
#define PTE_DIRTY    BIT(6)
#define PTE_LARGE    BIT(7)
#define PTE_NX       BIT(63)
#define PTE_ADDRESS  0x000ffffffffff000ull

/* Bits 62:52, ignored with four levels. SDM Vol 3A, PAE Paging. */
#define PAE_RESERVED 0x7ff0000000000000ull
/* PDPTE 63 and above. Its low reserved bits were the processor's to refuse, and QEMU 7.2 sets bit 5 itself. SDM Vol 3A,
 * PDPTE Registers. */
#define PDPTE_RESERVED (PAE_RESERVED | PTE_NX)

/* How often an entry may change under a compare-and-exchange before its accessed and dirty bits
 * are left to the guest: a sibling vCPU must not be able to hold this core in host mode. */
#define RETRIES 16

/* A stretch of guest memory that is known to be reachable: [base, base + bytes) at `host`. */
struct window {
    const struct gmem *mem;
    u64 base, bytes;
    u8 *host;
    bool writable;
};

/* The same answer as gmem_ptr, for all of a region at once. */
static bool window_move(struct window *w, u64 at) {
    const struct region *r = w->mem->regions, *end = r + w->mem->count;

    for (; r < end; r++) {
        if (at - r->gpa.v >= r->bytes) continue;
        if (r->kind == REGION_DEVICE) return false;
        w->base = r->gpa.v;
        w->bytes = r->bytes;
        w->host = (u8 *)(r->hpa.v + w->mem->hva_offset);
        w->writable = r->rights & RIGHT_WRITE;
        return true;
    }
    return false;
}

/* Host address of guest-physical `at`, or NULL. Regions begin and end on page borders, so what
 * does not cross a page does not leave the window. */
static inline u8 *window_at(struct window *w, u64 at) {
    if (__builtin_expect(at - w->base >= w->bytes, 0) && !window_move(w, at)) return NULL;
    return w->host + (at - w->base);
}

/* Kept out of line: faults are rare. */
static int __attribute__((noinline))
page_fault(const struct walk_cpu *cpu, u64 la, u32 access, u64 why, struct insn_fault *fault) {
    u64 error = why;

    if (access & WALK_WRITE) error |= PF_WRITE;
    if (cpu->cpl == 3 && !(access & WALK_SYSTEM)) error |= PF_USER;
    /* SDM Vol 3A, Page-Fault Exceptions: I/D is reported only where it could matter. */
    if ((access & WALK_FETCH) && ((cpu->cr4 & CR4_SMEP) || ((cpu->cr4 & CR4_PAE) && (cpu->efer & EFER_NXE))))
        error |= PF_FETCH;
    *fault = (struct insn_fault){.vector = VEC_PF, .has_error = true, .error = (u32)error, .cr2 = la};
    return -E_FAULT;
}

/* rights: entries of all levels ANDed; no_exec: any of them says NX. SDM Vol 3A, Determination of
 * Access Rights. */
static inline bool permitted(const struct walk_cpu *cpu, u32 access, u64 rights, bool no_exec) {
    if ((access & WALK_FETCH) && no_exec) return false;
    if (cpu->cpl == 3 && !(access & WALK_SYSTEM))
        return (rights & PTE_USER) && (!(access & WALK_WRITE) || (rights & PTE_WRITE));
    if (rights & PTE_USER) {
        if (access & WALK_FETCH) {
            if (cpu->cr4 & CR4_SMEP) return false;
        } else if ((cpu->cr4 & CR4_SMAP) && ((access & WALK_SYSTEM) || !(cpu->rflags & RFLAGS_AC))) {
            return false;
        }
    }
    return !(access & WALK_WRITE) || (rights & PTE_WRITE) || !(cpu->cr0 & CR0_WP);
}

/* How one kind of table is read. */
struct paging {
    u32 size;     /* bytes of an entry */
    u64 reserved; /* what must be zero in each entry */
    u64 large;    /* what must be set in the entry of a large page; 0: there are none */
};

static u64 entry_load(const void *slot, u32 size) {
    return size == 8 ? __atomic_load_n((const u64 *)slot, __ATOMIC_RELAXED)
                     : __atomic_load_n((const u32 *)slot, __ATOMIC_RELAXED);
}

/* Sets bits in an entry that was read as `seen`. False if it changed: read it again. */
static bool entry_mark(void *slot, u32 size, u64 seen, u64 bits) {
    u32 low = (u32)seen;

    if (size == 8)
        return __atomic_compare_exchange_n((u64 *)slot, &seen, seen | bits, false, __ATOMIC_SEQ_CST, __ATOMIC_RELAXED);
    return __atomic_compare_exchange_n((u32 *)slot, &low, (u32)(seen | bits), false, __ATOMIC_SEQ_CST,
                                       __ATOMIC_RELAXED);
}

/* The levels from the one that `shift` says down to a leaf. */
static int walk_levels(struct window *w, const struct walk_cpu *cpu, const struct paging *p, u64 la, u32 access,
                       u64 table, u32 shift, gpa_t *out, struct insn_fault *fault) {
    u64 rights = PTE_WRITE | PTE_USER, no_exec = 0;
    u32 retries = RETRIES;

    for (;;) {
        void *slot = window_at(w, table + ((la >> shift) & (PAGE_4K / p->size - 1)) * p->size);
        u64 entry, page, bad, bits = PTE_ACCESSED, offset = BIT(shift) - 1;
        bool leaf;

        if (!slot) return -E_RANGE;
        entry = entry_load(slot, p->size);
        if (!(entry & PTE_PRESENT)) return page_fault(cpu, la, access, 0, fault);
        leaf = shift == 12 || (entry & p->large);
        page = entry & PTE_ADDRESS;
        bad = entry & p->reserved;
        if (leaf && shift == 22) {
            /* A 4 MiB page: address bits 39:32 lie in 20:13 (PSE-36), 21 is reserved. SDM Vol 3A, 32-Bit Paging. */
            page = (entry & 0xffc00000u) | bits_get(entry, 13, 8) << 32;
            bad |= (entry & BIT(21)) | (page & cpu->reserved);
        } else if (leaf && shift > 12) {
            /* A large page has no address bits below its size (bit 12 is PAT); a PML4E or PML5E is never one. */
            bad |= shift >= 39 ? 1 : entry & offset & ~0x1fffull;
        }
        if (bad) return page_fault(cpu, la, access, PF_PRESENT | PF_RESERVED, fault);
        if (leaf) {
            if (!permitted(cpu, access, rights & entry, (no_exec | entry) & PTE_NX))
                return page_fault(cpu, la, access, PF_PRESENT, fault);
            if (access & WALK_WRITE) bits |= PTE_DIRTY;
        }
        if (__builtin_expect((entry & bits) != bits, 0)) {
            if (!w->writable) return -E_RANGE;
            if (!entry_mark(slot, p->size, entry, bits) && --retries) continue;
        }
        if (leaf) {
            *out = gpa((page & ~offset) | (la & offset));
            return 0;
        }
        rights &= entry;
        no_exec |= entry;
        table = page;
        shift -= p->size == 8 ? 9 : 10;
    }
}

/* SDM Vol 3A, PAE Paging. The four PDPTEs are those of the last MOV to CR3 where the processor keeps them; else, as APM
 * Vol 2, Nested Paging has it, they are read from memory. */
static int walk_pae(struct window *w, const struct walk_cpu *cpu, struct paging *p, u64 la, u32 access, gpa_t *out,
                    struct insn_fault *fault) {
    u64 number = (la >> 30) & 3, entry;

    if (cpu->pdptes) {
        entry = cpu->pdptes[number];
    } else {
        void *slot = window_at(w, (cpu->cr3 & 0xffffffe0) + number * sizeof(u64));

        if (!slot) return -E_RANGE;
        entry = entry_load(slot, 8);
    }
    if (!(entry & PTE_PRESENT)) return page_fault(cpu, la, access, 0, fault);
    if (entry & (p->reserved | PDPTE_RESERVED)) return page_fault(cpu, la, access, PF_PRESENT | PF_RESERVED, fault);
    p->reserved |= PAE_RESERVED;
    return walk_levels(w, cpu, p, la, access, entry & PTE_ADDRESS, 21, out, fault);
}

static int not_canonical(struct insn_fault *fault) {
    *fault = (struct insn_fault){.vector = VEC_GP, .has_error = true};
    return -E_FAULT;
}

static int translate(struct window *w, const struct walk_cpu *cpu, u64 la, u32 access, gpa_t *out,
                     struct insn_fault *fault) {
    /* With NXE clear bit 63 is reserved. SDM Vol 3A, 4-Level Paging. */
    struct paging p = {8, cpu->reserved | (cpu->efer & EFER_NXE ? 0 : PTE_NX), PTE_LARGE};

    if (__builtin_expect((cpu->efer & EFER_LMA) != 0, 1)) {
        if (__builtin_expect(cpu->cr4 & CR4_LA57, 0)) {
            if (!is_canonical(la, 57)) return not_canonical(fault);
            return walk_levels(w, cpu, &p, la, access, cpu->cr3 & PTE_ADDRESS, 48, out, fault);
        }
        if (!is_canonical(la, 48)) return not_canonical(fault);
        return walk_levels(w, cpu, &p, la, access, cpu->cr3 & PTE_ADDRESS, 39, out, fault);
    }
    la = (u32)la;
    if (!(cpu->cr0 & CR0_PG)) {
        *out = gpa(la);
        return 0;
    }
    if (cpu->cr4 & CR4_PAE) return walk_pae(w, cpu, &p, la, access, out, fault);
    p = (struct paging){4, 0, cpu->cr4 & CR4_PSE ? PTE_LARGE : 0};
    return walk_levels(w, cpu, &p, la, access, cpu->cr3 & 0xfffff000, 22, out, fault);
}

int walk_linear(const struct gmem *mem, const struct walk_cpu *cpu, u64 la, u32 access, gpa_t *out,
                struct insn_fault *fault) {
    struct window w = {.mem = mem};

    return translate(&w, cpu, la, access, out, fault);
}

/* Two moves that may overlap, instead of a call or a string instruction. bytes: 8 to 16. */
static inline void copy_short(u8 *to, const u8 *from, u64 bytes) {
    u64 low, high;

    __builtin_memcpy(&low, from, 8);
    __builtin_memcpy(&high, from + bytes - 8, 8);
    __builtin_memcpy(to, &low, 8);
    __builtin_memcpy(to + bytes - 8, &high, 8);
}

struct quick {
    u64 base, bytes; /* of the region that holds tables and code */
    const u8 *host;
    u64 mask, want; /* what an entry that refers to a table must look like */
    u64 entry, rights;
};

/* Reads the next entry. shift: of the table index times 8, a constant so that it costs nothing. */
static inline bool quick_step(struct quick *q, u64 la, u32 shift) {
    u64 at = (q->entry & PTE_ADDRESS) + ((la >> shift) & 0xff8) - q->base;

    if (at >= q->bytes) return false;
    q->entry = __atomic_load_n((const u64 *)(const void *)(q->host + at), __ATOMIC_RELAXED);
    q->rights &= q->entry;
    return (q->entry & q->mask) == q->want;
}

/* Down to the leaf. Returns the page's size, or 0: nothing is known. An entry that does not look
 * like a table's must be a large page, alike but for one bit. */
static inline u64 quick_leaf(struct quick *q, u64 la, bool five_levels) {
    u64 size;

    if (five_levels && !quick_step(q, la, 45)) return 0;
    if (!quick_step(q, la, 36)) return 0;
    if (!quick_step(q, la, 27)) {
        size = PAGE_1G;
    } else if (!quick_step(q, la, 18)) {
        size = PAGE_2M;
    } else {
        q->mask &= ~PTE_LARGE; /* PAT */
        return quick_step(q, la, 9) ? PAGE_4K : 0;
    }
    if ((q->entry & q->mask) != (q->want | PTE_LARGE) || (q->entry & PTE_ADDRESS & (size - 1) & ~0x1fffull)) return 0;
    return size;
}

/* The common fetch: long mode, one page, tables and code in one region, every entry present,
 * accessed and executable, so that one comparison per level settles it. False: nothing is known,
 * take the long way. */
static inline bool fetch_quick(const struct gmem *mem, const struct walk_cpu *cpu, u64 la, u8 *out, u32 max) {
    struct quick q = {.entry = cpu->cr3, .rights = PTE_USER};
    bool five_levels = cpu->cr4 & CR4_LA57;
    u64 size, at = cpu->cr3 & PTE_ADDRESS;
    const struct region *r = mem->regions + mem->count; /* the largest tends to be last */

    if (!(cpu->efer & EFER_LMA) || max - 8 > 8 || (la & (PAGE_4K - 1)) + max > PAGE_4K) return false;
    if (__builtin_expect(!is_canonical(la, 48), 0) && !(five_levels && is_canonical(la, 57))) return false;
    do {
        if (r == mem->regions) return false;
        r--;
    } while (at - r->gpa.v >= r->bytes);
    if (r->kind == REGION_DEVICE) return false;
    q.base = r->gpa.v;
    q.bytes = r->bytes;
    q.host = (const u8 *)(r->hpa.v + mem->hva_offset);
    q.want = PTE_PRESENT | PTE_ACCESSED | (cpu->cpl == 3 ? PTE_USER : 0);
    q.mask = q.want | PTE_NX | PTE_LARGE | cpu->reserved;
    size = quick_leaf(&q, la, five_levels);
    if (size == 0 || (q.rights && cpu->cpl != 3 && (cpu->cr4 & CR4_SMEP))) return false;
    at = ((q.entry & PTE_ADDRESS & ~(size - 1)) | (la & (size - 1))) - q.base;
    if (at >= q.bytes) return false;
    copy_short(out, q.host + at, max);
    return true;
}

/* Page by page, with every check. */
static int __attribute__((noinline))
fetch_slow(const struct gmem *mem, const struct walk_cpu *cpu, u64 la, u8 *out, u32 max, struct insn_fault *fault) {
    struct window w = {.mem = mem};
    struct insn_fault later;
    u32 done = 0;

    while (done < max) {
        u32 n = (u32)min_u64(max - done, PAGE_4K - (la & (PAGE_4K - 1)));
        gpa_t at;
        u8 *from;
        int error = translate(&w, cpu, la, WALK_FETCH, &at, done ? &later : fault);

        if (error) return done ? (int)done : error;
        from = window_at(&w, at.v);
        if (!from) return done ? (int)done : -E_RANGE;
        memcpy(out + done, from, n);
        done += n;
        la += n;
    }
    return (int)done;
}

int walk_fetch(const struct gmem *mem, const struct walk_cpu *cpu, u64 la, u8 *out, u32 max, struct insn_fault *fault) {
    if (__builtin_expect(fetch_quick(mem, cpu, la, out, max), 1)) return (int)max;
    return fetch_slow(mem, cpu, la, out, max, fault);
}
