/* Guest memory and page tables for the tests of core/insn/walk.c. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/insn/walk.h"

#define P  BIT(0)
#define W  BIT(1)
#define U  BIT(2)
#define A  BIT(5)
#define D  BIT(6)
#define PS BIT(7)
#define NX BIT(63)

#define PAGES    64u
#define ROM_GPA  0x200000ull /* read-only */
#define DEV_GPA  0x300000ull
#define ROM_PAGE 48u /* host page behind ROM_GPA */

/* Where the tables lie in guest memory. */
#define L5   0x5000ull
#define L4   0x1000ull
#define L3   0x2000ull
#define L2   0x3000ull
#define L1   0x4000ull
#define DATA 0x10000ull

static u8 *host;
static struct region regions[3];
static struct gmem mem;
static struct insn_fault fault;

static inline int setup(void **state) {
    (void)state;
    host = aligned_alloc(PAGE_4K, PAGES * PAGE_4K);
    memset(host, 0, PAGES * PAGE_4K);
    regions[0] = (struct region){.bytes = ROM_PAGE * PAGE_4K, .rights = RIGHTS_RWX};
    regions[1] = (struct region){.gpa = {ROM_GPA},
                                 .hpa = {ROM_PAGE * PAGE_4K},
                                 .bytes = 16 * PAGE_4K,
                                 .rights = RIGHT_READ | RIGHT_EXEC,
                                 .kind = REGION_RESERVED};
    regions[2] = (struct region){.gpa = {DEV_GPA}, .bytes = PAGE_4K, .rights = RIGHTS_RWX, .kind = REGION_DEVICE};
    mem = (struct gmem){regions, 3, (u64)host, false};
    memset(&fault, 0xaa, sizeof(fault));
    return 0;
}

static inline int teardown(void **state) {
    (void)state;
    free(host);
    return 0;
}

static inline u64 get(u64 at) {
    u64 value;

    memcpy(&value, host + at, 8);
    return value;
}
static inline void put(u64 table, u32 index, u64 entry) { memcpy(host + table + 8 * index, &entry, 8); }
static inline u32 get32(u64 at) {
    u32 value;

    memcpy(&value, host + at, 4);
    return value;
}
static inline void put32(u64 table, u32 index, u32 entry) { memcpy(host + table + 4 * index, &entry, 4); }

static inline struct walk_cpu long_mode(void) {
    return (struct walk_cpu){
        .cr0 = CR0_PE | CR0_PG | CR0_WP, .cr3 = L4, .cr4 = CR4_PAE, .efer = EFER_LME | EFER_LMA | EFER_NXE};
}

static inline struct walk_cpu narrow(void) {
    return (struct walk_cpu){.cr0 = CR0_PE | CR0_PG | CR0_WP, .cr3 = L2, .cr4 = CR4_PSE};
}

static inline struct walk_cpu five_levels(void) {
    struct walk_cpu cpu = long_mode();

    cpu.cr3 = L5;
    cpu.cr4 |= CR4_LA57;
    return cpu;
}

/* Index 1 at each level. */
#define LA_FIVE 0x1008040201000ull
#define LA_LONG 0x8040201000ull
#define LA_PAE  0x40201000ull
#define LA_32   0x401000ull

static inline void map_long(u64 rights) {
    put(L4, 1, L3 | P | rights);
    put(L3, 1, L2 | P | rights);
    put(L2, 1, L1 | P | rights);
    put(L1, 1, DATA | P | rights);
}

static inline void map_five(u64 rights) {
    put(L5, 1, L4 | P | rights);
    map_long(rights);
}

/* A fetch of the same bytes. The walk before it has set the accessed bits, so this one goes the
 * short way. */
static inline void expect_fetch(const struct walk_cpu *cpu, u64 la, u64 where) {
    u8 out[8];

    if (where + sizeof(out) > ROM_PAGE * PAGE_4K || la % PAGE_4K + sizeof(out) > PAGE_4K) return;
    for (u32 i = 0; i < sizeof(out); i++) host[where + i] = (u8)(where + la + i);
    assert_int_equal(sizeof(out), walk_fetch(&mem, cpu, la, out, sizeof(out), &fault));
    assert_memory_equal(host + where, out, sizeof(out));
}

static inline void expect(const struct walk_cpu *cpu, u64 la, u32 access, u64 where) {
    gpa_t out = gpa(1);

    assert_int_equal(0, walk_linear(&mem, cpu, la, access, &out, &fault));
    assert_int_equal(where, out.v);
    if (access == WALK_FETCH) expect_fetch(cpu, la, where);
}

static inline void check_pf(u64 la, u64 error) {
    assert_int_equal(VEC_PF, fault.vector);
    assert_true(fault.has_error);
    assert_int_equal(error, fault.error);
    assert_int_equal(la, fault.cr2);
}

static inline void expect_pf(const struct walk_cpu *cpu, u64 la, u32 access, u64 error) {
    u8 bytes[8];
    gpa_t out;

    assert_int_equal(-E_FAULT, walk_linear(&mem, cpu, la, access, &out, &fault));
    check_pf(la, error);
    if (access != WALK_FETCH || la % PAGE_4K + sizeof(bytes) > PAGE_4K) return;
    memset(&fault, 0xaa, sizeof(fault));
    assert_int_equal(-E_FAULT, walk_fetch(&mem, cpu, la, bytes, sizeof(bytes), &fault));
    check_pf(la, error);
}

static inline void expect_error(const struct walk_cpu *cpu, u64 la, u32 access, int error) {
    gpa_t out;

    assert_int_equal(error, walk_linear(&mem, cpu, la, access, &out, &fault));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
