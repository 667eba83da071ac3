/* What the tests of core/image share: a guest of 32 MiB, a file, and one module for it. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/image/image.h"

#define MEMORY     MIB(32)
#define FILE_BYTES 9216 /* of the kernel */

struct world {
    u8 *host;
    struct region regions[200];
    struct gmem mem;
    u8 *file;
    struct image_request rq;
    struct image_module modules[70];
    struct start_state start;
    struct image_error error;
};

static inline void put16(u8 *at, u32 v) {
    at[0] = (u8)v;
    at[1] = (u8)(v >> 8);
}
static inline void put32(u8 *at, u32 v) {
    put16(at, v);
    put16(at + 2, v >> 16);
}
static inline void put64(u8 *at, u64 v) {
    put32(at, (u32)v);
    put32(at + 4, (u32)(v >> 32));
}
static inline u64 get(const u8 *at, u32 bytes) {
    u64 v = 0;

    memcpy(&v, at, bytes);
    return v;
}

static inline int setup(void **state) {
    struct world *w = calloc(1, sizeof(*w));
    struct piece piece = {hpa(0), MEMORY};
    int n;

    w->host = malloc(MEMORY);
    memset(w->host, 0xcc, MEMORY); /* what an earlier run left */
    n = region_list_build(&piece, 1, MEMORY, w->regions, 8);
    w->mem = (struct gmem){w->regions, (u32)n, (u64)w->host, false};
    w->file = calloc(1, FILE_BYTES);
    w->rq = (struct image_request){.name = "kernel.bin",
                                   .kernel = w->file,
                                   .kernel_bytes = FILE_BYTES,
                                   .cmdline = "console=ttyS0",
                                   .modules = w->modules,
                                   .rsdp = gpa(0xe0000)};
    *state = w;
    return n > 0 ? 0 : -1;
}

static inline int teardown(void **state) {
    struct world *w = *state;

    free(w->host);
    free(w->file);
    free(w);
    return 0;
}

/* One module of the guest, which the caller keeps. */
static inline void give(struct world *w, const void *data, u64 bytes) {
    w->modules[w->rq.module_count++] = (struct image_module){"initrd", data, bytes};
}

static inline int load(struct world *w) {
    memset(&w->error, 0, sizeof(w->error));
    memset(&w->start, 0xee, sizeof(w->start));
    return image_load(&w->mem, &w->rq, &w->start, &w->error);
}

static inline void refused(struct world *w, int code, const char *text) {
    assert_int_equal(code, load(w));
    if (!strstr(w->error.what, text)) fail_msg("'%s' does not name '%s'", w->error.what, text);
}

/* The way a guest's first access goes: four levels down from cr3, 2 MiB pages. */
static inline void check_boot_area(const struct world *w) {
    const u8 *h = w->host;
    u64 table;

    assert_int_equal(START_LONG, w->start.mode);
    assert_int_equal(BOOT_AREA_END, w->start.rsp);
    assert_int_equal(0, w->start.rbx);
    for (u64 va = 0; va < GIB(4); va += MIB(2)) {
        table = get(h + w->start.cr3 + (va >> 39) * 8, 8);
        assert_int_equal(3, table & 0xfff);
        table = get(h + (table & ~0xfffull) + (va >> 30 & 511) * 8, 8);
        assert_int_equal(3, table & 0xfff);
        table = get(h + (table & ~0xfffull) + (va >> 21 & 511) * 8, 8);
        assert_int_equal(va | 0x83, table);
    }
    assert_int_equal(0, get(h + w->start.cr3 + 8, 8));
    assert_int_equal(32, w->start.gdt_bytes);
    assert_int_equal(0, get(h + w->start.gdt.v, 8));
    assert_int_equal(0x00cf9b000000ffff, get(h + w->start.gdt.v + 8, 8));
    assert_int_equal(0x00af9b000000ffff, get(h + w->start.gdt.v + 0x10, 8));
    assert_int_equal(0x00cf93000000ffff, get(h + w->start.gdt.v + 0x18, 8));
}

#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
