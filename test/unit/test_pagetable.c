/* mm/pagetable.c: each format against a flat reference map, at every table page it takes and at
 * every point where memory can run out. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "mm/pagetable.h"

#define POOL_PAGES 4096u
#define POOL_BASE  0x7ff000000000ull
#define HIGH_HALF  0xffff800000000000ull

/* Table memory; `left` allocations still work. */
struct pool {
    u64 *pages;
    u32 used;
    u32 left;
    void (*watch)(void *arg); /* called before each allocation */
    void *arg;
};

static int pool_alloc(void *ctx, hpa_t *page) {
    struct pool *p = ctx;

    if (p->watch) p->watch(p->arg);
    if (p->left == 0 || p->used == POOL_PAGES) return -E_NOMEM;
    p->left--;
    *page = hpa(POOL_BASE + PAGE_4K * p->used++);
    return 0;
}

static u64 *pool_virt(void *ctx, hpa_t page) {
    struct pool *p = ctx;

    assert_true(page.v >= POOL_BASE && is_aligned(page.v, PAGE_4K));
    assert_true(page.v < POOL_BASE + PAGE_4K * p->used);
    return p->pages + (page.v - POOL_BASE) / sizeof(u64);
}

struct fixture {
    struct pool pool;
    struct pt_mem mem;
    struct pt pt;
};

static void start(struct fixture *f, const struct pt_format *format, u32 max_leaf) {
    *f = (struct fixture){.pool = {.left = POOL_PAGES}};
    f->pool.pages = calloc(POOL_PAGES, PAGE_4K);
    f->mem = (struct pt_mem){&f->pool, pool_alloc, pool_virt};
    assert_int_equal(0, pt_init(&f->pt, format, &f->mem, max_leaf));
    assert_int_equal(1, f->pt.pages);
}

static void stop(struct fixture *f) {
    assert_int_equal(f->pool.used, f->pt.pages);
    free(f->pool.pages);
}

/* The raw entry of `level` on the way to va. */
static u64 entry_at(struct fixture *f, u64 va, u32 level) {
    u64 entry = f->pt.root.v;

    for (u32 l = 4; l >= level; l--) {
        u64 *table = pool_virt(&f->pool, hpa(bits_get(entry, 12, 40) << 12));

        entry = table[bits_get(va, 12 + 9 * (l - 1), 9)];
    }
    return entry;
}

static const struct pt_format *const formats[] = {&pt_host, &pt_ept, &pt_npt, &pt_vtd, &pt_amdvi};
/* The rights that each of them can tell apart. */
static const u32 possible[] = {RIGHTS_RWX | RIGHT_USER, RIGHTS_RWX, RIGHTS_RWX, RIGHT_READ | RIGHT_WRITE,
                               RIGHT_READ | RIGHT_WRITE};

/* --- entries as the manuals draw them --------------------------------------------------------- */

#define AMD_R  BIT(61)
#define AMD_RW (AMD_R | BIT(62))
#define AMD_FC BIT(60)

/* An entry for a table gives all rights: P, W, U; R, W, X; R, W; or P, R, W and the level of the table. */
static u64 table_entry(const struct pt_format *format, u32 level) {
    if (format == &pt_amdvi) return AMD_RW | (u64)(level - 1) << 9 | 1;
    return format == &pt_vtd ? 3 : 7;
}

static void test_encoding(void **state) {
    static const struct {
        u32 rights, level;
        enum memory_type memtype;
        u64 host, ept, npt, vtd, amdvi; /* without the address */
    } rows[] = {
        {RIGHT_READ, 1, MEM_WB, BIT(63) | 1, 0x31, BIT(63) | 5, 1, AMD_R | AMD_FC | 1},
        {RIGHT_READ | RIGHT_WRITE, 1, MEM_WB, BIT(63) | 3, 0x33, BIT(63) | 7, 3, AMD_RW | AMD_FC | 1},
        {RIGHT_READ | RIGHT_EXEC, 2, MEM_WB, 0x81, 0xb5, 0x85, 0x81, AMD_R | AMD_FC | 1},
        {RIGHTS_RWX, 3, MEM_WB, 0x83, 0xb7, 0x87, 0x83, AMD_RW | AMD_FC | 1},
        {RIGHTS_RWX, 1, MEM_UC, 0x1b, 0x07, 0x1f, 3, AMD_RW | 1},
        {RIGHT_READ | RIGHT_WRITE, 2, MEM_UC, BIT(63) | 0x9b, 0x83, BIT(63) | 0x9f, 0x83, AMD_RW | 1},
        {RIGHT_READ | RIGHT_USER, 1, MEM_WB, BIT(63) | 5, 0x31, BIT(63) | 5, 1, AMD_R | AMD_FC | 1},
    };
    struct fixture f;

    (void)state;
    for (u32 k = 0; k < ARRAY_SIZE(formats); k++) {
        start(&f, formats[k], 3);
        for (u32 i = 0; i < ARRAY_SIZE(rows); i++) {
            u64 size = PAGE_4K << (9 * (rows[i].level - 1));
            u64 va = GIB(512) * i + GIB(5);
            u64 at = 0xf000000000000ull + va;
            u64 want[] = {rows[i].host, rows[i].ept, rows[i].npt, rows[i].vtd, rows[i].amdvi};
            u32 rights = rows[i].rights & possible[k];
            struct pt_lookup got;

            assert_int_equal(0, pt_map(&f.pt, va, hpa(at), size, rows[i].rights, rows[i].memtype));
            assert_int_equal(at | want[k], entry_at(&f, va, rows[i].level));
            for (u32 l = 4; l > rows[i].level; l--)
                assert_int_equal(table_entry(formats[k], l), entry_at(&f, va, l) & ~(BIT(52) - PAGE_4K));
            got = pt_lookup(&f.pt, va + size - 1);
            assert_int_equal(rows[i].level, got.leaf_level);
            assert_int_equal(at + size - 1, got.at.v);
            assert_int_equal(rights, got.rights);
            assert_int_equal(0, pt_lookup(&f.pt, va + size).leaf_level);
            assert_int_equal(0, pt_lookup(&f.pt, va - 1).leaf_level);
        }
        stop(&f);
    }
}

/* The same without the top level. */
static void test_three_levels(void **state) {
    struct fixture f;
    u64 counts[4];

    (void)state;
    start(&f, &pt_vtd_39, 3);
    assert_int_equal(3, pt_vtd_39.levels);
    assert_int_equal(-E_INVAL, pt_map(&f.pt, BIT(39), hpa(0), PAGE_4K, RIGHT_READ, MEM_WB));
    assert_int_equal(-E_INVAL, pt_map(&f.pt, BIT(39) - PAGE_4K, hpa(0), 2 * PAGE_4K, RIGHT_READ, MEM_WB));
    assert_int_equal(1, f.pt.pages);
    assert_int_equal(0, pt_map(&f.pt, GIB(3), hpa(GIB(7)), GIB(1), RIGHT_READ | RIGHT_WRITE, MEM_WB));
    assert_int_equal(1, f.pt.pages);
    assert_int_equal(GIB(7) | 0x83, pool_virt(&f.pool, f.pt.root)[3]);
    assert_int_equal(0, pt_map(&f.pt, BIT(39) - PAGE_4K, hpa(0), PAGE_4K, RIGHT_READ, MEM_WB));
    assert_int_equal(3, f.pt.pages);
    assert_int_equal(3, pt_lookup(&f.pt, GIB(3) + 5).leaf_level);
    assert_int_equal(GIB(7) + 5, pt_lookup(&f.pt, GIB(3) + 5).at.v);
    assert_int_equal(RIGHT_READ, pt_lookup(&f.pt, BIT(39) - 1).rights);
    assert_int_equal(0, pt_lookup(&f.pt, BIT(39) + GIB(3)).leaf_level);
    pt_count_leaves(&f.pt, counts);
    assert_int_equal(1, counts[1]);
    assert_int_equal(0, counts[2]);
    assert_int_equal(1, counts[3]);
    stop(&f);
}

static void test_names(void **state) {
    (void)state;
    assert_string_equal("host", pt_host.name);
    assert_string_equal("ept", pt_ept.name);
    assert_string_equal("npt", pt_npt.name);
    assert_string_equal("vt-d", pt_vtd.name);
    assert_string_equal("amd-vi", pt_amdvi.name);
}

/* --- arguments -------------------------------------------------------------------------------- */

static int map(struct fixture *f, u64 va, u64 at, u64 bytes) {
    return pt_map(&f->pt, va, hpa(at), bytes, RIGHTS_RWX, MEM_WB);
}

static void test_refused(void **state) {
    struct fixture f;

    (void)state;
    for (u32 k = 0; k < ARRAY_SIZE(formats); k++) {
        bool host = formats[k] == &pt_host;

        start(&f, formats[k], 3);
        assert_int_equal(-E_INVAL, map(&f, 1, 0, PAGE_4K));
        assert_int_equal(-E_INVAL, map(&f, 0, 0x800, PAGE_4K));
        assert_int_equal(-E_INVAL, map(&f, 0, 0, PAGE_4K + 1));
        assert_int_equal(-E_INVAL, map(&f, 0, BIT(52), PAGE_4K));
        assert_int_equal(-E_INVAL, map(&f, 0, BIT(52) - PAGE_4K, 2 * PAGE_4K));
        assert_int_equal(-E_INVAL, map(&f, ~(PAGE_4K - 1), 0, 2 * PAGE_4K));
        assert_int_equal(-E_INVAL, map(&f, BIT(48), 0, PAGE_4K));
        assert_int_equal(-E_INVAL, map(&f, 0, 0, BIT(53)));
        assert_int_equal(-E_INVAL, map(&f, PAGE_4K, 0, ~(PAGE_4K - 1)));
        assert_int_equal(-E_INVAL, pt_map(&f.pt, 0, hpa(0), PAGE_4K, RIGHT_WRITE | RIGHT_EXEC, MEM_WB));
        assert_int_equal(-E_INVAL, pt_map(&f.pt, 0, hpa(0), PAGE_4K, 0, MEM_WB));
        assert_int_equal(1, f.pt.pages);
        assert_int_equal(0, map(&f, 0, 0, 0));
        assert_int_equal(1, f.pt.pages);
        /* The end of physical memory, and both sides of bit 47. */
        assert_int_equal(0, map(&f, 0, BIT(52) - PAGE_4K, PAGE_4K));
        assert_int_equal(0, map(&f, BIT(47) - PAGE_4K, 0, PAGE_4K));
        assert_int_equal(host ? -E_INVAL : 0, map(&f, BIT(47), 0, PAGE_4K));
        assert_int_equal(-E_INVAL, map(&f, BIT(47) - 2 * PAGE_4K, 0, HIGH_HALF));
        assert_int_equal(host ? 0 : -E_INVAL, map(&f, HIGH_HALF + PAGE_4K, 0, PAGE_4K));
        assert_int_equal(host ? 0 : -E_INVAL, map(&f, ~(PAGE_4K - 1), 0, PAGE_4K));
        assert_int_equal(host ? 1 : 0, pt_lookup(&f.pt, NEVER).leaf_level);
        assert_int_equal(0, pt_lookup(&f.pt, BIT(48)).leaf_level);
        stop(&f);
    }
}

/* --- leaf sizes ------------------------------------------------------------------------------- */

static void check_leaves(struct fixture *f, u64 small, u64 large, u64 huge) {
    u64 counts[4];

    pt_count_leaves(&f->pt, counts);
    assert_int_equal(0, counts[0]);
    assert_int_equal(small, counts[1]);
    assert_int_equal(large, counts[2]);
    assert_int_equal(huge, counts[3]);
}

static void test_leaf_sizes(void **state) {
    struct fixture f;

    (void)state;
    for (u32 k = 0; k < ARRAY_SIZE(formats); k++) {
        for (u32 max_leaf = 0; max_leaf <= 4; max_leaf++) {
            /* 2 GiB less one page at either end. */
            u64 bytes = GIB(2) - 2 * PAGE_4K;

            start(&f, formats[k], max_leaf);
            assert_int_equal(0, map(&f, GIB(1) + PAGE_4K, GIB(7) + PAGE_4K, GIB(3) - 2 * PAGE_4K));
            if (max_leaf >= 3)
                check_leaves(&f, 2 * 511, 2 * 511, 1);
            else if (max_leaf == 2)
                check_leaves(&f, 2 * 511, 2 * 511 + 512, 0);
            else
                check_leaves(&f, (bytes + GIB(1)) / PAGE_4K, 0, 0);
            stop(&f);
        }
        /* Virtual and physical disagree by 4 KiB, then by 2 MiB. */
        start(&f, formats[k], 3);
        assert_int_equal(0, map(&f, 0, PAGE_4K, MIB(4)));
        check_leaves(&f, 1024, 0, 0);
        assert_int_equal(0, map(&f, GIB(1), GIB(1) + MIB(2), GIB(1)));
        check_leaves(&f, 1024, 512, 0);
        stop(&f);
    }
}

/* --- random ranges against a flat map --------------------------------------------------------- */

#define WINDOW_PAGES 8192u /* 32 MiB, across a 1 GiB border */
#define WINDOW_BASE  (GIB(3) - MIB(16))

struct flat {
    struct fixture *f;
    u64 at[WINDOW_PAGES]; /* 0: not mapped */
    u8 rights[WINDOW_PAGES];
    u32 possible;
};

static u64 seed;
static u32 draw(u32 below) {
    seed = seed * 6364136223846793005ull + 1442695040888963407ull;
    return (u32)(seed >> 33) % below;
}

static void check_flat(void *arg) {
    const struct flat *flat = arg;

    for (u32 i = 0; i < WINDOW_PAGES; i++) {
        struct pt_lookup got = pt_lookup(&flat->f->pt, WINDOW_BASE + PAGE_4K * i + i % 4096);
        bool same = flat->at[i] ? got.leaf_level && got.at.v == flat->at[i] + i % 4096 && got.rights == flat->rights[i]
                                : !got.leaf_level;

        if (!same) fail_msg("page %u: level %u at %llx", i, got.leaf_level, (unsigned long long)got.at.v);
    }
}

static int map_random(struct flat *flat) {
    static const u32 rights[] = {RIGHT_READ, RIGHT_READ | RIGHT_WRITE, RIGHT_READ | RIGHT_EXEC};
    u32 unit = draw(2) ? 512 : 1;
    u32 first = draw(WINDOW_PAGES / unit) * unit;
    u32 count = draw(2 * 512 / unit) * unit;
    u32 r = rights[draw(3)];
    u64 at = GIB(9) + PAGE_4K * (u64)draw(1 << 20) * (draw(2) ? 512 : 1);
    bool taken = false;
    int err;

    if (count > WINDOW_PAGES - first) count = WINDOW_PAGES - first;
    for (u32 i = first; i < first + count; i++) taken |= flat->at[i] != 0;
    err = pt_map(&flat->f->pt, WINDOW_BASE + PAGE_4K * first, hpa(at), PAGE_4K * count, r, MEM_WB);
    if (err != -E_NOMEM) assert_int_equal(taken ? -E_OVERLAP : 0, err);
    for (u32 i = 0; !err && i < count; i++) {
        flat->at[first + i] = at + PAGE_4K * i;
        flat->rights[first + i] = (u8)(r & flat->possible);
    }
    return err;
}

static void test_random(void **state) {
    struct flat *flat = calloc(1, sizeof(*flat));
    struct fixture f;

    (void)state;
    for (u32 k = 0; k < ARRAY_SIZE(formats) * 3; k++) {
        memset(flat, 0, sizeof(*flat));
        flat->f = &f;
        seed = k;
        start(&f, formats[k / 3], 1 + k % 3);
        flat->possible = possible[k / 3];
        /* At every page it takes, pt_map has so far changed no translation. */
        f.pool.watch = check_flat;
        f.pool.arg = flat;
        for (u32 i = 0; i < 60; i++) {
            u32 before = f.pt.pages;

            if (map_random(flat) == -E_OVERLAP) assert_int_equal(before, f.pt.pages);
            check_flat(flat);
        }
        stop(&f);
    }
    free(flat);
}

/* Memory runs out at random, and is there again at the next call. */
static void test_random_nomem(void **state) {
    struct flat *flat = calloc(1, sizeof(*flat));
    struct fixture f;
    u32 failed = 0;

    (void)state;
    for (u32 k = 0; k < ARRAY_SIZE(formats); k++) {
        memset(flat, 0, sizeof(*flat));
        flat->f = &f;
        flat->possible = possible[k];
        seed = 100 + k;
        start(&f, formats[k], 3);
        for (u32 i = 0; i < 80; i++) {
            f.pool.left = draw(3);
            failed += map_random(flat) == -E_NOMEM;
            check_flat(flat);
        }
        stop(&f);
    }
    assert_true(failed > 0);
    free(flat);
}

/* --- memory runs out at every page in turn ---------------------------------------------------- */

static void test_nomem(void **state) {
    struct fixture f;

    (void)state;
    for (u32 k = 0; k < ARRAY_SIZE(formats); k++) {
        u32 allowed = 0;
        int err;

        do {
            start(&f, formats[k], 3);
            f.pool.left = allowed;
            /* Needs level 3 to 1 on both sides of a 512 GiB border. */
            err = map(&f, GIB(511) + PAGE_4K, GIB(511) + PAGE_4K, GIB(2) - 2 * PAGE_4K);
            if (err) {
                assert_int_equal(-E_NOMEM, err);
                assert_int_equal(1 + allowed, f.pt.pages);
                check_leaves(&f, 0, 0, 0);
                /* The pages that stayed serve the next attempt. */
                f.pool.left = 6 - allowed;
                assert_int_equal(0, map(&f, GIB(511) + PAGE_4K, GIB(511) + PAGE_4K, GIB(2) - 2 * PAGE_4K));
            }
            check_leaves(&f, 2 * 511, 2 * 511, 0);
            assert_int_equal(7, f.pt.pages);
            stop(&f);
        } while (err && allowed++ < 10);
        assert_int_equal(6, allowed);
    }
}

static void test_init_nomem(void **state) {
    struct fixture f = {.pool = {.left = 0}};

    (void)state;
    f.mem = (struct pt_mem){&f.pool, pool_alloc, pool_virt};
    assert_int_equal(-E_NOMEM, pt_init(&f.pt, &pt_ept, &f.mem, 3));
    assert_int_equal(0, f.pt.pages);
}

/* Each leaf size is in the way of each other one, and tables in the way of large leaves. */
static void test_overlap(void **state) {
    static const u64 sizes[] = {PAGE_4K, PAGE_2M, PAGE_1G};
    struct fixture f;

    (void)state;
    for (u32 k = 0; k < ARRAY_SIZE(formats) * 9; k++) {
        u64 old = sizes[k / 3 % 3], new = sizes[k % 3];
        u64 small = min_u64(old, new);
        u64 edge = GIB(2) - small;

        start(&f, formats[k / 9], 3);
        assert_int_equal(0, map(&f, GIB(2), GIB(2), old));
        assert_int_equal(-E_OVERLAP, map(&f, GIB(2), GIB(4), new));
        assert_int_equal(-E_OVERLAP, map(&f, edge, edge, 2 * GIB(1)));
        assert_int_equal(-E_OVERLAP, map(&f, GIB(2) + old - PAGE_4K, 0, 2 * PAGE_4K));
        assert_int_equal(GIB(2), pt_lookup(&f.pt, GIB(2)).at.v);
        assert_int_equal(0, map(&f, GIB(2) + old, 0, new));
        assert_int_equal(0, map(&f, GIB(2) - new, 0, new));
        stop(&f);
    }
}

/* A table left over from a map that ran out of memory takes smaller leaves; all is mapped. */
static void test_leftover_table(void **state) {
    struct fixture f;

    (void)state;
    start(&f, &pt_npt, 3);
    f.pool.left = 3;
    assert_int_equal(-E_NOMEM, map(&f, MIB(2) - PAGE_4K, GIB(1), MIB(2) + 2 * PAGE_4K));
    f.pool.left = 1;
    assert_int_equal(0, map(&f, 0, 0, MIB(4)));
    check_leaves(&f, 512, 1, 0);
    stop(&f);
}

static void test_unmap(void **state) {
    struct fixture f;

    (void)state;
    for (u32 k = 0; k < ARRAY_SIZE(formats); k++) {
        start(&f, formats[k], 3);
        assert_int_equal(0, map(&f, GIB(1) - MIB(2) - PAGE_4K, GIB(3) - MIB(2) - PAGE_4K, GIB(1) + MIB(4)));
        check_leaves(&f, 512, 1, 1);
        assert_int_equal(-E_INVAL, pt_unmap(&f.pt, 0, 1));
        assert_int_equal(-E_INVAL, pt_unmap(&f.pt, BIT(48) - PAGE_4K, 2 * PAGE_4K));
        assert_int_equal(-E_INVAL, pt_unmap(&f.pt, GIB(1), PAGE_4K));           /* cuts the 1 GiB leaf at its end, */
        assert_int_equal(-E_INVAL, pt_unmap(&f.pt, GIB(2) - PAGE_4K, PAGE_4K)); /* at its start, */
        assert_int_equal(-E_INVAL, pt_unmap(&f.pt, 0, GIB(1) - PAGE_4K));       /* and the 2 MiB leaf after others */
        check_leaves(&f, 512, 1, 1);
        assert_int_equal(0, pt_unmap(&f.pt, GIB(1) - MIB(2), MIB(2)));
        assert_int_equal(GIB(3), pt_lookup(&f.pt, GIB(1)).at.v);
        assert_int_equal(1, pt_lookup(&f.pt, GIB(1) - MIB(2) - 1).leaf_level);
        assert_int_equal(0, pt_unmap(&f.pt, 0, GIB(4)));
        check_leaves(&f, 0, 0, 0);
        f.pool.left = 0; /* the tables are there */
        assert_int_equal(0, map(&f, GIB(1) - MIB(2) - PAGE_4K, 0, PAGE_4K));
        stop(&f);
    }
}

/* Maps and unmaps at random in 16 MiB, beside a flat list of pages. */
static void test_random_unmap(void **state) {
    enum { PAGES = 4096 };
    static u64 flat[PAGES]; /* where a page is mapped to, + 1; 0: it is not */
    struct fixture f;

    (void)state;
    srand(2);
    start(&f, &pt_ept, 2);
    memset(flat, 0, sizeof(flat));
    for (u32 round = 0; round < 2000; round++) {
        u64 first = (u64)rand() % PAGES, count = 1 + (u64)rand() % min_u64(PAGES - first, 1200);
        u64 at = ((u64)rand() % 4096 * 512 + (rand() & 1 ? first % 512 : (u64)rand() % 512)) * PAGE_4K;
        struct pt_lookup low = pt_lookup(&f.pt, first * PAGE_4K);
        bool fits = low.leaf_level < 2 || first % 512 == 0, free = true;

        low = pt_lookup(&f.pt, (first + count) * PAGE_4K - 1);
        fits &= low.leaf_level < 2 || (first + count) % 512 == 0;
        for (u64 i = first; i < first + count; i++) free &= !flat[i];
        if (rand() & 1) {
            assert_int_equal(free ? 0 : -E_OVERLAP, map(&f, first * PAGE_4K, at, count * PAGE_4K));
            for (u64 i = 0; free && i < count; i++) flat[first + i] = at + i * PAGE_4K + 1;
        } else {
            assert_int_equal(fits ? 0 : -E_INVAL, pt_unmap(&f.pt, first * PAGE_4K, count * PAGE_4K));
            for (u64 i = 0; fits && i < count; i++) flat[first + i] = 0;
        }
        for (u64 i = round & 7; i < PAGES; i += 8) {
            low = pt_lookup(&f.pt, i * PAGE_4K);
            if (low.leaf_level ? low.at.v + 1 != flat[i] : flat[i]) fail_msg("page %u differs", (u32)i);
        }
    }
    stop(&f);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_encoding),       cmocka_unit_test(test_names),        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_leaf_sizes),     cmocka_unit_test(test_random),       cmocka_unit_test(test_random_nomem),
        cmocka_unit_test(test_nomem),          cmocka_unit_test(test_init_nomem),   cmocka_unit_test(test_overlap),
        cmocka_unit_test(test_leftover_table), cmocka_unit_test(test_three_levels), cmocka_unit_test(test_unmap),
        cmocka_unit_test(test_random_unmap),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
