/* core/insn/walk.c: every paging mode, reserved bits, accessed and dirty bits, fetches across
 * pages. */
#include "test/unit/walk_guest.h"

#include "core/insn/walk_code.h"

/* SDM Vol 3A, Paging Modes and Control Bits: with CR0.PG clear linear addresses are physical. */
static void test_no_paging(void **state) {
    struct walk_cpu cpu = {.cr0 = CR0_PE, .cpl = 3};

    (void)state;
    expect(&cpu, 0x12345678, WALK_WRITE, 0x12345678);
    expect(&cpu, 0x112345678, WALK_READ, 0x12345678);
}

/* SDM Vol 3A, 4-Level Paging and 5-Level Paging: translation to pages of 4 KiB, 2 MiB and 1 GiB. */
static void test_long_sizes(void **state) {
    struct walk_cpu cpu = long_mode();

    (void)state;
    map_long(W);
    expect(&cpu, LA_LONG + 0x123, WALK_READ, DATA + 0x123);
    put(L2, 1, 0x40000000 | P | W | PS);
    expect(&cpu, LA_LONG + 0x123, WALK_READ, 0x40001123);
    put(L2, 1, 0x40000000 | BIT(12) | P | W | PS); /* PAT */
    expect(&cpu, LA_LONG, WALK_FETCH, 0x40001000);
    put(L3, 1, 0x80000000 | P | W | PS);
    expect(&cpu, LA_LONG + 0x123, WALK_READ, 0x80201123);
    expect(&cpu, LA_LONG + 0x123, WALK_FETCH, 0x80201123);
    /* The upper half of the address space. */
    put(L4, 511, L3 | P | W);
    expect(&cpu, 0xffffff8040201010, WALK_READ, 0x80201010);
    /* CR3 holds a PCID, entries hold ignored bits and a wide address. */
    put(L3, 1, 0x000fffffc0000000 | P | PS | BIT(62) | BIT(52) | BIT(9) | BIT(8));
    cpu.cr3 |= 0xfff;
    expect(&cpu, LA_LONG, WALK_READ, 0x000fffffc0201000);
}

/* SDM Vol 1, Canonical Addressing. */
static void test_canonical(void **state) {
    struct walk_cpu cpu = long_mode();

    (void)state;
    expect_error(&cpu, 0x0000800000000000, WALK_READ, -E_FAULT);
    assert_int_equal(VEC_GP, fault.vector);
    assert_true(fault.has_error);
    assert_int_equal(0, fault.error);
    memset(&fault, 0xaa, sizeof(fault));
    expect_error(&cpu, 0xffff7fffffffffff, WALK_FETCH, -E_FAULT);
    assert_int_equal(VEC_GP, fault.vector);
}

/* SDM Vol 3A, 4-Level Paging and 5-Level Paging: PML5E 56:48. */
static void test_five_levels(void **state) {
    static const u64 tables[] = {L5, L4, L3, L2, L1};
    struct walk_cpu cpu = five_levels();

    (void)state;
    map_five(W);
    expect(&cpu, LA_FIVE + 0x123, WALK_READ, DATA + 0x123);
    for (u32 i = 0; i < 5; i++) assert_int_equal(A, get(tables[i] + 8) & (A | D));
    expect(&cpu, LA_FIVE + 0x123, WALK_FETCH, DATA + 0x123);
    expect(&cpu, LA_FIVE, WALK_WRITE, DATA);
    for (u32 i = 0; i < 5; i++) assert_int_equal(i == 4 ? A | D : A, get(tables[i] + 8) & (A | D));
    put(L2, 1, 0x40000000 | P | W | PS);
    expect(&cpu, LA_FIVE, WALK_READ, 0x40001000);
    put(L3, 1, 0x80000000 | P | W | PS);
    expect(&cpu, LA_FIVE, WALK_FETCH, 0x80201000);
    /* Both ends of either half. */
    put(L5, 255, L4 | P);
    expect(&cpu, LA_FIVE | 254ull << 48, WALK_READ, 0x80201000);
    put(L5, 256, L4 | P);
    expect(&cpu, 0xff00008040201000, WALK_READ, 0x80201000);
    put(L5, 0, L4 | P);
    put(L4, 256, L3 | P);
    expect(&cpu, 0x0000800040201000, WALK_FETCH, 0x80201000); /* not canonical with four levels */
    for (u32 i = 0; i < 5; i++) {
        map_five(W | U);
        put(tables[i], 1, ~P);
        expect_pf(&cpu, LA_FIVE + 5, WALK_WRITE, PF_WRITE);
        expect_pf(&cpu, LA_FIVE + 5, WALK_FETCH, PF_FETCH);
        map_five(W | U | A);
        put(tables[i], 1, get(tables[i] + 8) & ~(u64)W);
        expect_pf(&cpu, LA_FIVE, WALK_WRITE, PF_PRESENT | PF_WRITE);
        put(tables[i], 1, get(tables[i] + 8) | NX);
        expect_pf(&cpu, LA_FIVE, WALK_FETCH, PF_PRESENT | PF_FETCH);
    }
    /* No page is as large as 256 TiB or 512 GiB. */
    for (u32 i = 0; i < 2; i++) {
        map_five(W | A);
        put(tables[i], 1, get(tables[i] + 8) | PS);
        expect_pf(&cpu, LA_FIVE, WALK_READ, PF_PRESENT | PF_RESERVED);
        expect_pf(&cpu, LA_FIVE, WALK_FETCH, PF_PRESENT | PF_RESERVED | PF_FETCH);
    }
    map_five(W);
    put(L5, 1, 0x7ffff000 | P);
    expect_error(&cpu, LA_FIVE, WALK_READ, -E_RANGE);
    /* Outside long mode the bit of CR4 means nothing. */
    cpu = narrow();
    cpu.cr4 |= CR4_LA57;
    put32(L2, 1, 0x12400000 | P | W | PS);
    expect(&cpu, 0x654321, WALK_WRITE, 0x12654321);
}

/* SDM Vol 1, Canonical Addressing, with five levels. */
static void test_canonical_57(void **state) {
    static const u64 bad[] = {BIT(56), ~BIT(56), BIT(63), BIT(57) | 0x1000, BIT(62)};
    struct walk_cpu cpu = five_levels();
    u8 bytes[8];

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(bad); i++) {
        memset(&fault, 0xaa, sizeof(fault));
        expect_error(&cpu, bad[i], WALK_READ, -E_FAULT);
        assert_int_equal(VEC_GP, fault.vector);
        assert_int_equal(0, fault.error);
        assert_int_equal(-E_FAULT, walk_fetch(&mem, &cpu, bad[i] & ~7ull, bytes, sizeof(bytes), &fault));
        assert_int_equal(VEC_GP, fault.vector);
    }
    /* Canonical, and nothing there. */
    expect_pf(&cpu, 0x00ffffffffffffff, WALK_READ, 0);
    expect_pf(&cpu, 0xff00000000000000, WALK_READ, 0);
    expect_pf(&cpu, 0x0000800000000000, WALK_READ, 0);
    expect_pf(&cpu, 0xffff7fffffffffff, WALK_READ, 0);
}

/* The short way to code: the same place as the long one, or none. */
static void test_code(void **state) {
    static const u64 tables[] = {L5, L4, L3, L2, L1};
    const struct code_window w = {host, 0, ROM_PAGE * PAGE_4K};

    (void)state;
    map_five(A);
    assert_ptr_equal(host + DATA + 0x123, walk_code(&w, L4 | 0xfff, LA_LONG + 0x123, false));
    assert_ptr_equal(host + DATA + 0x123, walk_code(&w, L5 | 0xfff, LA_FIVE + 0x123, true));
    assert_null(walk_code(&w, L5, LA_FIVE + PAGE_4K - WALK_CODE_BYTES + 1, true));
    for (u32 i = 0; i < 5; i++) {
        map_five(A);
        put(tables[i], 1, get(tables[i] + 8) & ~(u64)P);
        assert_null(walk_code(&w, L5, LA_FIVE, true));
        map_five(A);
        put(tables[i], 1, get(tables[i] + 8) & ~(u64)A);
        assert_null(walk_code(&w, L5, LA_FIVE, true));
        put(tables[i], 1, ROM_GPA | P | A);
        assert_null(walk_code(&w, L5, LA_FIVE, true));
    }
    map_five(A);
    put(L2, 1, P | A | PS);
    assert_ptr_equal(host + 0x9123, walk_code(&w, L5, LA_FIVE + 0x8123, true));
    put(L3, 1, P | A | PS);
    assert_ptr_equal(host + 0x9123, walk_code(&w, L5, LA_FIVE - 0x200000 + 0x8123, true));
    assert_null(walk_code(&w, ROM_GPA, LA_FIVE, true));
}

/* SDM Vol 3A, Page-Fault Exceptions: P, W/R, U/S, I/D. */
static void test_not_present(void **state) {
    static const u64 tables[] = {L4, L3, L2, L1};
    struct walk_cpu cpu = long_mode();

    (void)state;
    for (u32 i = 0; i < 4; i++) {
        map_long(W | U);
        put(tables[i], 1, ~P); /* nothing else counts */
        cpu.cpl = 0;
        expect_pf(&cpu, LA_LONG + 5, WALK_READ, 0);
        expect_pf(&cpu, LA_LONG + 5, WALK_WRITE, PF_WRITE);
        expect_pf(&cpu, LA_LONG + 5, WALK_FETCH, PF_FETCH);
        cpu.cpl = 3;
        expect_pf(&cpu, LA_LONG + 5, WALK_READ, PF_USER);
        expect_pf(&cpu, LA_LONG + 5, WALK_WRITE, PF_USER | PF_WRITE);
        expect_pf(&cpu, LA_LONG + 5, WALK_READ | WALK_SYSTEM, 0);
    }
    cpu.cpl = 0;
    cpu.efer &= ~EFER_NXE;
    expect_pf(&cpu, LA_LONG, WALK_FETCH, 0);
    cpu.cr4 |= CR4_SMEP;
    expect_pf(&cpu, LA_LONG, WALK_FETCH, PF_FETCH);
}

/* SDM Vol 3A, Page-Fault Exceptions: RSVD; 4-Level Paging and 5-Level Paging, formats of entries. */
static void test_reserved(void **state) {
    static const u64 tables[] = {L4, L3, L2, L1};
    struct walk_cpu cpu = long_mode();

    (void)state;
    cpu.efer &= ~EFER_NXE;
    for (u32 i = 0; i < 4; i++) {
        map_long(W);
        put(tables[i], 1, get(tables[i] + 8) | NX);
        expect_pf(&cpu, LA_LONG, WALK_READ, PF_PRESENT | PF_RESERVED);
        expect_pf(&cpu, LA_LONG, WALK_FETCH, PF_PRESENT | PF_RESERVED);
    }
    cpu = long_mode();
    cpu.reserved = 0x000fff0000000000;
    for (u32 i = 0; i < 4; i++) {
        map_long(W | A);
        put(tables[i], 1, get(tables[i] + 8) | BIT(40));
        expect_pf(&cpu, LA_LONG, WALK_WRITE, PF_PRESENT | PF_RESERVED | PF_WRITE);
        expect_pf(&cpu, LA_LONG, WALK_FETCH, PF_PRESENT | PF_RESERVED | PF_FETCH);
    }
    map_long(W);
    put(L4, 1, L3 | P | PS);
    expect_pf(&cpu, LA_LONG, WALK_READ, PF_PRESENT | PF_RESERVED);
    map_long(W);
    for (u32 bit = 13; bit < 30; bit++) {
        put(L3, 1, 0x80000000 | BIT(bit) | P | A | PS);
        expect_pf(&cpu, LA_LONG, WALK_READ, PF_PRESENT | PF_RESERVED);
        expect_pf(&cpu, LA_LONG, WALK_FETCH, PF_PRESENT | PF_RESERVED | PF_FETCH);
    }
    map_long(W);
    for (u32 bit = 13; bit < 21; bit++) {
        put(L2, 1, 0x80000000 | BIT(bit) | P | PS);
        expect_pf(&cpu, LA_LONG, WALK_READ, PF_PRESENT | PF_RESERVED);
    }
}

/* SDM Vol 3A, Accessed and Dirty Flags. */
static void test_accessed_dirty(void **state) {
    static const u64 tables[] = {L4, L3, L2, L1};
    struct walk_cpu cpu = long_mode();

    (void)state;
    map_long(W);
    expect(&cpu, LA_LONG, WALK_READ, DATA);
    for (u32 i = 0; i < 4; i++) assert_int_equal(A, get(tables[i] + 8) & (A | D));
    expect(&cpu, LA_LONG, WALK_WRITE, DATA);
    for (u32 i = 0; i < 4; i++) assert_int_equal(i == 3 ? A | D : A, get(tables[i] + 8) & (A | D));
    /* Refused: the leaf stays as it was. */
    map_long(0);
    expect_pf(&cpu, LA_LONG, WALK_WRITE, PF_PRESENT | PF_WRITE);
    assert_int_equal(0, get(L1 + 8) & (A | D));
    map_long(W);
    put(L2, 1, 0x40000000 | P | W | PS);
    expect(&cpu, LA_LONG, WALK_WRITE | WALK_SYSTEM, 0x40001000);
    assert_int_equal(D | A, get(L2 + 8) & (A | D));

    cpu = narrow();
    put32(L2, 1, L1 | P | W);
    put32(L1, 1, DATA | P | W);
    put32(L1, 2, 0x5a5a5a5a);
    expect(&cpu, LA_32, WALK_READ, DATA);
    assert_int_equal(A, get32(L2 + 4) & (A | D));
    assert_int_equal(A, get32(L1 + 4) & (A | D));
    expect(&cpu, LA_32, WALK_WRITE, DATA);
    assert_int_equal(A, get32(L2 + 4) & (A | D));
    assert_int_equal(A | D, get32(L1 + 4) & (A | D));
    assert_int_equal(0x5a5a5a5a, get32(L1 + 8));
}

/* SDM Vol 3A, PAE Paging; PDPTE Registers; APM Vol 2, Nested Paging. */
static void test_pae(void **state) {
    struct walk_cpu cpu = long_mode();

    (void)state;
    cpu.efer = EFER_NXE;
    cpu.cr3 = L3 + 0x20 + 0x18; /* 32-byte aligned, PWT and PCD set */
    put(L3 + 0x20, 1, L2 | P);
    put(L2, 1, L1 | P | W);
    put(L1, 1, DATA | P | W);
    expect(&cpu, LA_PAE + 7, WALK_WRITE, DATA + 7);
    assert_int_equal(L2 | P, get(L3 + 0x28)); /* a PDPTE has no accessed bit */
    put(L2, 1, 0x140000000 | P | W | PS);
    expect(&cpu, LA_PAE + 7, WALK_WRITE, 0x140001007);
    put(L2, 1, 0x140002000 | P | W | PS);
    expect_pf(&cpu, LA_PAE, WALK_READ, PF_PRESENT | PF_RESERVED);
    for (u32 bit = 52; bit < 63; bit++) {
        put(L2, 1, L1 | P | BIT(bit));
        expect_pf(&cpu, LA_PAE, WALK_READ, PF_PRESENT | PF_RESERVED);
    }
    for (u32 i = 0; i < 2; i++) {
        static const u8 bits[] = {62, 63};

        put(L3 + 0x20, 1, L2 | P | BIT(bits[i]));
        expect_pf(&cpu, LA_PAE, WALK_READ, PF_PRESENT | PF_RESERVED);
    }
    put(L2, 1, L1 | P | W);
    put(L3 + 0x20, 1, L2 | P | BIT(5)); /* an emulator's accessed bit */
    expect(&cpu, LA_PAE + 7, WALK_WRITE, DATA + 7);
    put(L3 + 0x20, 1, L2);
    expect_pf(&cpu, LA_PAE, WALK_WRITE, PF_WRITE);
    put(L3 + 0x20, 1, 0x7f0000000 | P);
    expect_error(&cpu, LA_PAE, WALK_READ, -E_RANGE);
    /* Registers instead of memory, where the processor has them. */
    cpu.pdptes = (const u64[]){0, L2 | P, 0, L2 | P};
    cpu.cr3 = 0x7ffff000;
    expect(&cpu, LA_PAE + 7, WALK_WRITE, DATA + 7);
    expect_pf(&cpu, LA_PAE & 0x3fffffff, WALK_READ, 0);
    expect_pf(&cpu, 0x80000000, WALK_READ, 0);
}

/* SDM Vol 3A, 32-Bit Paging, PSE-36 among it. */
static void test_narrow(void **state) {
    struct walk_cpu cpu = narrow();

    (void)state;
    put32(L2, 1, 0x12400000 | P | W | PS);
    expect(&cpu, 0x654321, WALK_WRITE, 0x12654321);
    expect(&cpu, 0x100654321, WALK_READ, 0x12654321); /* linear addresses have 32 bits */
    put32(L2, 1, 0x12400000 | 3u << 13 | P | PS);     /* PSE-36: bits 33:32 */
    expect(&cpu, 0x654321, WALK_READ, 0x312654321);
    cpu.reserved = 0x000ffffe00000000;
    expect_pf(&cpu, 0x654321, WALK_READ, PF_PRESENT | PF_RESERVED);
    put32(L2, 1, 0x12400000 | (u32)(BIT(21) | P | PS));
    expect_pf(&cpu, 0x654321, WALK_READ, PF_PRESENT | PF_RESERVED);
    /* Without PSE the bit means nothing. */
    cpu.cr4 = 0;
    put32(L2, 1, L1 | P | PS);
    put32(L1, 1, DATA | P);
    expect(&cpu, LA_32 + 3, WALK_READ, DATA + 3);
    put32(L1, 1, DATA);
    expect_pf(&cpu, LA_32 + 3, WALK_READ, 0);
    cpu.efer = EFER_NXE; /* without PAE there is no NX */
    expect_pf(&cpu, LA_32 + 3, WALK_FETCH, 0);
}

/* SDM Vol 3C, EPT Violations: what hardware would exit for. */
static void test_outside(void **state) {
    struct walk_cpu cpu = long_mode();

    (void)state;
    map_long(W);
    put(L2, 1, 0x7ffff000 | P | W);
    expect_error(&cpu, LA_LONG, WALK_READ, -E_RANGE);
    put(L2, 1, DEV_GPA | P | W);
    expect_error(&cpu, LA_LONG, WALK_READ, -E_RANGE);
    /* A table in read-only memory can be walked while no bit must be set. */
    put(ROM_PAGE * PAGE_4K, 1, DATA | P | A);
    put(L2, 1, ROM_GPA | P | W);
    expect(&cpu, LA_LONG, WALK_READ, DATA);
    cpu.cr0 &= ~CR0_WP;
    expect_error(&cpu, LA_LONG, WALK_WRITE, -E_RANGE);
    put(ROM_PAGE * PAGE_4K, 1, DATA | P);
    expect_error(&cpu, LA_LONG, WALK_READ, -E_RANGE);
    cpu.cr3 = 0x7ffff000;
    expect_error(&cpu, LA_LONG, WALK_READ, -E_RANGE);
}

/* SDM Vol 3A, Access Rights; Page-Fault Exceptions, for instruction fetches that cross a page. */
static void test_fetch(void **state) {
    struct walk_cpu cpu = long_mode();
    u8 out[40];

    (void)state;
    map_long(0);
    put(L1, 2, (DATA + 0x3000) | P);
    for (u32 i = 0; i < PAGE_4K; i++) {
        host[DATA + i] = (u8)i;
        host[DATA + 0x3000 + i] = (u8)(0x80 + i);
    }
    for (u32 max = 1; max <= sizeof(out); max++)
        for (u32 left = 1; left <= sizeof(out); left++) {
            memset(out, 0, sizeof(out));
            assert_int_equal(max, walk_fetch(&mem, &cpu, LA_LONG + PAGE_4K - left, out, max, &fault));
            for (u32 i = 0; i < sizeof(out); i++)
                assert_int_equal(i >= max ? 0 : i < left ? (u8)(PAGE_4K - left + i) : (u8)(0x80 + i - left), out[i]);
        }
    /* The second page is missing: what there is, and no fault. */
    put(L1, 2, 0);
    memset(&fault, 0xaa, sizeof(fault));
    assert_int_equal(3, walk_fetch(&mem, &cpu, LA_LONG + 0xffd, out, 15, &fault));
    assert_int_equal(0xaa, fault.vector);
    assert_int_equal(-E_FAULT, walk_fetch(&mem, &cpu, LA_LONG + 0x1000, out, 15, &fault));
    assert_int_equal(PF_FETCH, fault.error);
    assert_int_equal(LA_LONG + 0x1000, fault.cr2);
    /* Device memory, or none at all. */
    put(L1, 2, DEV_GPA | P | A);
    assert_int_equal(3, walk_fetch(&mem, &cpu, LA_LONG + 0xffd, out, 15, &fault));
    assert_int_equal(-E_RANGE, walk_fetch(&mem, &cpu, LA_LONG + 0x1000, out, 15, &fault));
    put(L1, 2, 0x7ffff000 | P);
    assert_int_equal(-E_RANGE, walk_fetch(&mem, &cpu, LA_LONG + 0x1000, out, 15, &fault));
    /* The last canonical byte below the hole. */
    put(L4, 255, L3 | P);
    put(L3, 511, L2 | P);
    put(L2, 511, L1 | P);
    put(L1, 511, DATA | P);
    assert_int_equal(2, walk_fetch(&mem, &cpu, 0x00007ffffffffffe, out, 15, &fault));
    assert_int_equal(0xfe, out[0]);
}

/* SDM Vol 3A, 4-Level Paging and 5-Level Paging, for the short way. */
static void test_fetch_large(void **state) {
    struct walk_cpu cpu = long_mode();
    u8 out[15];

    (void)state;
    for (u32 i = 0; i < PAGE_4K; i++) host[0x9000 + i] = (u8)(i * 7);
    map_long(A);
    put(L2, 1, P | A | PS);
    assert_int_equal(15, walk_fetch(&mem, &cpu, LA_LONG + 0x8123, out, 15, &fault));
    assert_memory_equal(host + 0x9123, out, 15);
    put(L3, 1, P | A | PS);
    assert_int_equal(15, walk_fetch(&mem, &cpu, LA_LONG - 0x200000 + 0x8456, out, 15, &fault));
    assert_memory_equal(host + 0x9456, out, 15);
    put(L4, 1, P | A | PS);
    assert_int_equal(-E_FAULT, walk_fetch(&mem, &cpu, LA_LONG, out, 15, &fault));
    assert_int_equal(PF_PRESENT | PF_RESERVED | PF_FETCH, fault.error);
}

/* SDM Vol 3B, Real-Address Mode: Address Translation. */
static void test_fetch_real_mode(void **state) {
    struct walk_cpu cpu = {.cr0 = CR0_ET};
    u8 out[15];

    (void)state;
    memcpy(host + 0x7c00, "\x0f\xa2\xf4", 3);
    assert_int_equal(15, walk_fetch(&mem, &cpu, 0x7c00, out, 15, &fault));
    assert_memory_equal("\x0f\xa2\xf4", out, 3);
    /* Ends with the region. */
    assert_int_equal(4, walk_fetch(&mem, &cpu, ROM_PAGE * PAGE_4K - 4, out, 15, &fault));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_no_paging),   TEST(test_long_sizes),     TEST(test_canonical),   TEST(test_not_present),
        TEST(test_reserved),    TEST(test_accessed_dirty), TEST(test_pae),         TEST(test_narrow),
        TEST(test_outside),     TEST(test_fetch),          TEST(test_fetch_large), TEST(test_fetch_real_mode),
        TEST(test_five_levels), TEST(test_canonical_57),   TEST(test_code),
    };

    return cmocka_run_group_tests_name("guest page walk", tests, NULL, NULL);
}
