/* Draws a partition's region list. Boot core, before start. */
#include "core/base/bits.h"
#include "core/base/errors.h"
#include "mm/region.h"

/* The fixed parts of the small PC, in bytes of the partition's memory: guest address 0 is byte 0,
 * and past the PCI hole the guest address runs ahead of it by the size of the hole. Kept in this
 * order, the list comes out sorted. */
static const struct layout {
    u64 first, end;
    u64 ahead;
    enum region_kind kind;
} layout[] = {
    {0, GUEST_LOWMEM_END, 0, REGION_RAM},
    {GUEST_BIOS_BASE, GUEST_HIGHMEM_BASE, 0, REGION_RESERVED},
    {GUEST_HIGHMEM_BASE, GUEST_PCI_HOLE, 0, REGION_RAM},
    {GUEST_PCI_HOLE, NEVER, GIB(4) - GUEST_PCI_HOLE, REGION_RAM},
};

/* Four levels of tables reach 2^48 guest-physical addresses. */
#define MEMORY_LIMIT (BIT(48) - (GIB(4) - GUEST_PCI_HOLE))

static bool pieces_hold(const struct piece *pieces, u32 count, u64 memory) {
    u64 sum = 0;

    for (u32 i = 0; i < count; i++) {
        const struct piece *p = &pieces[i];

        if (p->bytes == 0 || p->bytes > MEMORY_LIMIT || p->base.v > BIT(52) - p->bytes ||
            !is_aligned(p->base.v | p->bytes, PAGE_4K))
            return false;
        sum = min_u64(sum + p->bytes, MEMORY_LIMIT);
    }
    return sum >= memory;
}

int region_list_build(const struct piece *pieces, u32 piece_count, u64 memory, struct region *out, u32 max) {
    u32 count = 0;

    if (memory < GUEST_HIGHMEM_BASE || memory > MEMORY_LIMIT || !is_aligned(memory, PAGE_4K) ||
        !pieces_hold(pieces, piece_count, memory))
        return -E_INVAL;
    for (u32 part = 0; part < ARRAY_SIZE(layout); part++) {
        const struct layout *l = &layout[part];
        u64 piece_first = 0;

        for (u32 i = 0; i < piece_count && piece_first < memory; i++) {
            u64 from = max_u64(l->first, piece_first);
            u64 to = min_u64(min_u64(l->end, memory), piece_first + pieces[i].bytes);

            if (from < to) {
                if (count == max) return -E_NOMEM;
                out[count++] = (struct region){
                    .gpa = gpa(from + l->ahead),
                    .hpa = hpa(pieces[i].base.v + (from - piece_first)),
                    .bytes = to - from,
                    .rights = RIGHTS_RWX,
                    .memtype = MEM_WB,
                    .kind = l->kind,
                };
            }
            piece_first += pieces[i].bytes;
        }
    }
    return (int)count;
}

void region_add_firmware(struct region *out, u32 count, hpa_t rom, u64 bytes) {
    const u64 more = GUEST_BIOS_BASE - GUEST_ROM_SHADOW;

    for (u32 i = 0; i < count; i++) {
        if (out[i].gpa.v != GUEST_BIOS_BASE) continue;
        out[i].gpa.v -= more;
        out[i].hpa.v -= more;
        out[i].bytes += more;
    }
    for (; count && out[count - 1].gpa.v >= GIB(4); count--) out[count] = out[count - 1];
    out[count] = (struct region){gpa(GIB(4) - bytes), rom, bytes, RIGHT_READ | RIGHT_EXEC, MEM_WB, REGION_RESERVED};
}
