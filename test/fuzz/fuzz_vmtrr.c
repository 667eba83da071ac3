/* Random writes to the memory type range registers of processors with 36 to 52 address bits. Input: the address bits,
 * then records of eleven bytes: register, what to keep of the value, the value. Holds: as firmware leaves them no
 * reserved bit is set; a value is accepted exactly if its types exist and its reserved bits are 0, and reads back; one
 * that is refused changes nothing; no write changes another register. */
#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/vdev/vmtrr.h"
#include "test/fuzz/fuzz.h"

#define CAP 0x508u
#define ALL (3u + VMTRR_FIXED + 2 * VMTRR_RANGES)

static struct vmtrr m;
static u32 bits;
static u64 held[ALL];
static const u32 numbers[ALL] = {0xfe,  0x2ff, 0x250, 0x258, 0x259, 0x268, 0x269, 0x26a, 0x26b, 0x26c,
                                 0x26d, 0x26e, 0x26f, 0x200, 0x201, 0x202, 0x203, 0x204, 0x205, 0x206,
                                 0x207, 0x208, 0x209, 0x20a, 0x20b, 0x20c, 0x20d, 0x20e, 0x20f, 0x2fe};

static bool is_register(u32 msr) {
    return msr == 0xfe || msr == 0x2ff || (msr >= 0x200 && msr <= 0x20f) || msr == 0x250 ||
           (msr >= 0x258 && msr <= 0x259) || (msr >= 0x268 && msr <= 0x26f);
}

static bool is_type(u8 type) { return type == 0 || type == 1 || type == 4 || type == 5 || type == 6; }

/* SDM Vol 3A, figures of IA32_MTRR_DEF_TYPE, the fixed-range and the variable-range registers. */
static bool is_legal(u32 msr, u64 value) {
    u64 above = ~0ull << bits;

    if (!is_register(msr) || msr == 0xfe) return false;
    if (msr == 0x2ff) return is_type((u8)value) && !(value & 0xfffffffffffff300ull);
    if (msr >= 0x250) {
        for (u32 i = 0; i < 8; i++, value >>= 8)
            if (!is_type((u8)value)) return false;
        return true;
    }
    if (msr % 2) return !(value & (above | 0x7ff));
    return is_type((u8)value) && !(value & (above | 0xf00));
}

static void step(struct input *in) {
    u32 which = (u32)take(in, 1), keep = (u32)take(in, 2), msr = which < 0xe0 ? numbers[which % ALL] : keep;
    u64 value = take(in, 8), now;

    if (keep & 1) value &= ~(~0ull << bits);
    if (keep & 2) value &= ~0x7ffull;
    if (keep & 4) value &= 0x0707070707070707ull;
    if (keep & 8) value = (value & ~0xfffull) | (value & 0x806);
    REQUIRE(vmtrr_write(&m, msr, value, bits) == (is_legal(msr, value) ? 0 : -E_FAULT));
    for (u32 i = 0; i < ALL; i++) {
        if (numbers[i] == msr && is_legal(msr, value)) held[i] = value;
        REQUIRE(vmtrr_read(&m, numbers[i], &now) == (is_register(numbers[i]) ? 0 : -E_FAULT));
        REQUIRE(!is_register(numbers[i]) || now == held[i]);
    }
    REQUIRE(is_register(msr) || vmtrr_read(&m, msr, &now) == -E_FAULT);
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};

    bits = 36 + (u32)take(&in, 1) % 17;
    vmtrr_set_up(&m, bits);
    for (u32 i = 0; i < ALL; i++) {
        if (!is_register(numbers[i])) continue;
        REQUIRE(vmtrr_read(&m, numbers[i], &held[i]) == 0);
        REQUIRE(i == 0 ? held[i] == CAP : is_legal(numbers[i], held[i]));
    }
    REQUIRE(held[1] == 0xc06 && held[4] == 0 && held[13] == 0xc0000000);
    while (in.left >= 11) step(&in);
    return 0;
}
