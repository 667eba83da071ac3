/* Memory that is not ours: around the end, at every MiB and every power of two below 4 GiB, and
 * what an earlier owner may have left in ours. */
#include "core/base/bits.h"
#include "core/base/string.h"
#include "guests/attack/attack.h"

static bool is_device(u64 at) { return at - IOAPIC_PAGE < PAGE_4K || at - LAPIC_PAGE < PAGE_4K; }

/* Nobody answers below 4 GiB: reads are ones, writes are lost. */
static void try_address(u64 at) {
    u64 before, after;

    if (at < memory_bytes() || at >= GIB(4) - 8 || is_device(at)) return;
    before = *(volatile u64 *)at;
    *(volatile u64 *)at = 0x0bad0bad0bad0bad;
    after = *(volatile u64 *)at;
    check(before == ~0ull && after == ~0ull, "0x%lx reads 0x%lx, then 0x%lx", at, before, after);
}

static void around_end(void) {
    u64 end = memory_bytes();

    for (u64 page = end; page < end + MIB(2); page += PAGE_4K) {
        try_address(page);
        try_address(page + PAGE_4K - 8);
    }
}

static void every_mib(void) {
    for (u64 at = memory_bytes(); at < GIB(4); at += MIB(1)) try_address(at);
}

static void powers_of_two(void) {
    for (u32 bit = 20; bit < 32; bit++) {
        try_address(BIT(bit));
        try_address(BIT(bit) + PAGE_4K);
        try_address(GIB(4) - BIT(bit));
    }
}

/* Half in our memory, half outside: ours is kept, the rest is lost. */
static void across_end(void) {
    for (u32 inside = 1; inside < 8; inside++) {
        u64 at = memory_bytes() - inside, got;

        *(volatile u64 *)at = 0x1122334455667788;
        got = *(volatile u64 *)at;
        check(got == (0x1122334455667788 | ~0ull << (8 * inside)), "%u bytes inside: 0x%lx", inside, got);
    }
}

/* No byte of an earlier owner. The last 64 KiB may hold tables that the hypervisor wrote. */
static void leftovers(void) {
    extern char guest_image_end[];
    u64 first = align_up((u64)guest_image_end, MIB(1)), last = memory_bytes() - KIB(64), found = 0;

    for (u64 at = first; at < last; at += 8) found += *(const volatile u64 *)at != 0 ? 1 : 0;
    check(found == 0, "%lu words are not zero", found);
}

/* The firmware of the machine, its tables and its video memory are not there either. */
static void low_memory(void) {
    *(volatile u64 *)0xa0000 = 0x5a5a5a5a5a5a5a5a;
    check(*(volatile u64 *)0xa0000 == 0x5a5a5a5a5a5a5a5a || *(volatile u64 *)0xa0000 == ~0ull,
          "0xa0000 is neither memory nor nothing");
    for (u64 at = 0xf0000; at < 0x100000; at += 16)
        check(memcmp((const void *)at, "_MP_", 4) != 0 && memcmp((const void *)at, "_SM_", 4) != 0,
              "a table of the firmware at 0x%lx", at);
}

static void read_at(void *argument) { (void)*(volatile u64 *)argument; }
static void write_at(void *argument) { *(volatile u64 *)argument = 0; }
static void call_at(void *argument) { ((void (*)(void))argument)(); }

static void non_canonical(void) {
    static const u64 at[] = {0x800000000000, 0x7ffffffffffc, 0xffff7ffffffffff8, 0x8000000000000000,
                             0x5555555555555555};

    for (u32 i = 0; i < ARRAY_SIZE(at); i++) {
        const u64 expected = FAULT(VEC_GP) | FAULT(VEC_SS) | FAULT(VEC_PF);

        must_fault(read_at, (void *)at[i], expected, "read", at[i]);
        must_fault(write_at, (void *)at[i], expected, "write", at[i]);
        must_fault(call_at, (void *)at[i], expected, "call", at[i]);
    }
}

const struct attempt memory_attempts[] = {
    {"leftovers", leftovers},          {"low-memory", low_memory},
    {"memory-around-end", around_end}, {"memory-across-end", across_end},
    {"memory-every-mib", every_mib},   {"memory-powers-of-two", powers_of_two},
    {"non-canonical", non_canonical},  {0},
};
