/* Memory that ends somewhere on the way of a boot: free list, partition's memory, region list and stage-2 table, of
 * machines that grow page by page and with free lists of every length. Each step succeeds or says -E_NOMEM, and nothing
 * is lost or given twice. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "mm/frames.h"
#include "mm/pagetable.h"
#include "mm/region.h"

#define BASE   MIB(1)
#define MEMORY MIB(5)
#define PIECES 16u

struct machine {
    struct frames frames;
    u64 total;  /* bytes that were free once */
    u64 tables; /* bytes of table pages */
    void *pages[64];
    hpa_t at[64];
    u32 count;
};

static int alloc_table(void *ctx, hpa_t *page) {
    struct machine *m = ctx;
    int err = frames_alloc(&m->frames, PAGE_4K, PAGE_4K, 0, GIB(4), page);

    if (err) return err;
    assert_true(m->count < ARRAY_SIZE(m->pages));
    m->at[m->count] = *page;
    m->pages[m->count++] = calloc(1, PAGE_4K);
    m->tables += PAGE_4K;
    return 0;
}

static u64 *table_virt(void *ctx, hpa_t page) {
    struct machine *m = ctx;

    for (u32 i = 0; i < m->count; i++)
        if (m->at[i].v == page.v) return m->pages[i];
    fail_msg("no table at 0x%llx", (unsigned long long)page.v);
    return NULL;
}

static int build(struct machine *m) {
    const struct pt_mem mem = {m, alloc_table, table_virt};
    struct piece pieces[PIECES];
    struct region regions[2 * PIECES + 4];
    struct pt pt;
    hpa_t block;
    int n, regions_used, err;

    err = frames_alloc(&m->frames, 3 * PAGE_4K, PAGE_4K, 0, GIB(4), &block);
    if (err) return err;
    m->tables += 3 * PAGE_4K;
    n = frames_place(&m->frames, MEMORY, pieces, PIECES);
    if (n < 0) return n;
    m->tables += MEMORY;
    regions_used = region_list_build(pieces, (u32)n, MEMORY, regions, ARRAY_SIZE(regions));
    assert_true(regions_used > 0);
    err = pt_init(&pt, &pt_npt, &mem, 3);
    for (int i = 0; !err && i < regions_used; i++)
        err = pt_map(&pt, regions[i].gpa.v, regions[i].hpa, regions[i].bytes, regions[i].rights, regions[i].memtype);
    return err;
}

/* One machine: `bytes` of memory with a hole that splits it, a free list of `max` entries. */
static int boot(u64 bytes, u32 max) {
    struct frame_range *ranges = calloc(max ? max : 1, sizeof(*ranges));
    struct machine m = {.frames = {.ranges = ranges, .max = max}};
    int err = frames_add(&m.frames, BASE, bytes);

    if (!err) err = frames_reserve(&m.frames, BASE + MIB(1), 3 * PAGE_4K);
    if (!err) {
        m.total = frames_free_bytes(&m.frames);
        err = build(&m);
        assert_int_equal(m.total, frames_free_bytes(&m.frames) + m.tables);
    }
    for (u32 i = 0; i < m.count; i++) free(m.pages[i]);
    free(ranges);
    return err;
}

static void test_every_size(void **state) {
    u64 enough = 0;

    (void)state;
    for (u64 bytes = PAGE_4K; bytes <= MIB(10); bytes += PAGE_4K) {
        int err = boot(bytes, 64);

        if (err)
            assert_int_equal(-E_NOMEM, err);
        else if (!enough)
            enough = bytes;
    }
    assert_true(enough > MEMORY && enough < MIB(10));
}

static void test_every_length(void **state) {
    bool done = false;

    (void)state;
    for (u32 max = 0; max < 16; max++) {
        int err = boot(MIB(16), max);

        if (err) assert_int_equal(-E_NOMEM, err);
        assert_false(done && err); /* what fits goes on fitting */
        done |= !err;
    }
    assert_true(done);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_every_size),
        cmocka_unit_test(test_every_length),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
