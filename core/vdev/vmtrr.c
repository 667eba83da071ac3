#include "core/vdev/vmtrr.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/x86.h"
#include "mm/region.h"

/* SDM Vol 3A, IA32_MTRRCAP: eight ranges, the fixed ones, write combining. */
#define CAP         (VMTRR_RANGES | BIT(8) | BIT(10))
#define TYPE_WB     6u
#define FIXED_ON    BIT(10)
#define ENABLED     BIT(11)
#define MASK_VALID  BIT(11)
#define ALL_WB      0x0606060606060606ull
#define FIXED_A0000 2u /* 16 KiB each, 0xa0000 to 0xbffff */

/* SDM Vol 3A, MTRR Initialization: E and the valid flags are clear, and all else is undefined. */
void vmtrr_reset(struct vmtrr *m) { *m = (struct vmtrr){0}; }

void vmtrr_set_up(struct vmtrr *m, u32 address_bits) {
    *m = (struct vmtrr){.def_type = TYPE_WB | FIXED_ON | ENABLED};
    for (u32 i = 0; i < VMTRR_FIXED; i++) m->fixed[i] = i == FIXED_A0000 ? 0 : ALL_WB;
    m->variable[0] = GUEST_PCI_HOLE; /* type 0: uncached */
    m->variable[1] = ((BIT(address_bits) - 1) & ~(GIB(4) - GUEST_PCI_HOLE - 1)) | MASK_VALID;
}

/* Where a register lies; NULL: there is none. */
static u64 *find(struct vmtrr *m, u32 msr) {
    if (msr == MSR_MTRR_DEF_TYPE) return &m->def_type;
    if (msr - MSR_MTRR_BASE0 < 2 * VMTRR_RANGES) return &m->variable[msr - MSR_MTRR_BASE0];
    if (msr == MSR_MTRR_FIX_64K) return &m->fixed[0];
    if (msr - MSR_MTRR_FIX_16K < 2) return &m->fixed[1 + msr - MSR_MTRR_FIX_16K];
    if (msr - MSR_MTRR_FIX_4K < 8) return &m->fixed[3 + msr - MSR_MTRR_FIX_4K];
    return NULL;
}

int vmtrr_read(const struct vmtrr *m, u32 msr, u64 *value) {
    const u64 *at = find((struct vmtrr *)m, msr);

    if (!at && msr != MSR_MTRRCAP) return -E_FAULT;
    *value = at ? *at : CAP;
    return 0;
}

static bool is_type(u64 type) { return type == 0 || type == 1 || (type >= 4 && type <= TYPE_WB); }

int vmtrr_write(struct vmtrr *m, u32 msr, u64 value, u32 address_bits) {
    u64 *at = find(m, msr), allowed = BIT(address_bits) - PAGE_4K;
    bool ok = at;

    if (at == &m->def_type) {
        ok = is_type(value & 0xff) && !(value & ~(u64)(0xff | FIXED_ON | ENABLED));
    } else if (at && at < m->variable) {
        for (u32 i = 0; i < 64; i += 8) ok &= is_type(bits_get(value, i, 8));
    } else if (at && (msr & 1)) {
        ok = !(value & ~(allowed | MASK_VALID));
    } else if (at) {
        ok = is_type(value & 0xff) && !(value & ~(allowed | 0xff));
    }
    if (!ok) return -E_FAULT;
    *at = value;
    return 0;
}
