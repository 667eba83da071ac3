/* core/insn/walk.c: access rights by SDM Vol 3A, Determination of Access Rights, over every
 * combination of control bits and page rights in every paging mode. */
#include "test/unit/walk_guest.h"

/* The manual's list of who may do what, word by word. */
static bool manual_allows(const struct walk_cpu *c, u32 access, bool user_page, bool writable, bool nx) {
    bool user_access = c->cpl == 3 && !(access & WALK_SYSTEM);
    bool implicit = access & WALK_SYSTEM;
    bool wp = c->cr0 & CR0_WP, smap = c->cr4 & CR4_SMAP, smep = c->cr4 & CR4_SMEP;
    bool ac = c->rflags & RFLAGS_AC;

    if (!user_access) {
        bool data_blocked = user_page && smap && (implicit || !ac);

        if (access & WALK_FETCH) return user_page ? !smep && !nx : !nx;
        if (access & WALK_WRITE) return !data_blocked && (!wp || writable);
        return !data_blocked;
    }
    if (!user_page) return false;
    if (access & WALK_FETCH) return !nx;
    return !(access & WALK_WRITE) || writable;
}

static void check_rights(const struct walk_cpu *cpu, u64 la, u64 where, bool user, bool writable, bool nx) {
    static const u32 accesses[] = {WALK_READ, WALK_WRITE, WALK_FETCH, WALK_READ | WALK_SYSTEM,
                                   WALK_WRITE | WALK_SYSTEM};

    for (u32 i = 0; i < 5; i++) {
        u32 access = accesses[i];
        u64 error = PF_PRESENT;

        if (manual_allows(cpu, access, user, writable, nx)) {
            expect(cpu, la, access, where);
            continue;
        }
        if (access & WALK_WRITE) error |= PF_WRITE;
        if (cpu->cpl == 3 && !(access & WALK_SYSTEM)) error |= PF_USER;
        if ((access & WALK_FETCH) && ((cpu->cr4 & CR4_SMEP) || (cpu->efer & EFER_NXE))) error |= PF_FETCH;
        expect_pf(cpu, la, access, error);
    }
}

/* All combinations of control bits; `entry` takes right away at one level of the mode. */
static void all_rights(struct walk_cpu cpu, u64 la, void (*entry)(u32 level, u64 take, bool nx), u32 levels) {
    bool nx_mode = cpu.efer & EFER_NXE;

    for (u32 bits = 0; bits < 256; bits++) {
        cpu.cr0 = (cpu.cr0 & ~CR0_WP) | (bits & 1 ? CR0_WP : 0);
        cpu.cr4 = (cpu.cr4 & ~(CR4_SMEP | CR4_SMAP)) | (bits & 2 ? CR4_SMEP : 0) | (bits & 4 ? CR4_SMAP : 0);
        cpu.rflags = bits & 8 ? RFLAGS_AC : 0;
        cpu.cpl = bits & 16 ? 3 : 0;
        for (u32 level = 0; level < levels; level++) {
            u64 take = (bits & 32 ? U : 0) | (bits & 64 ? W : 0);
            bool nx = nx_mode && (bits & 128);

            entry(level, take, nx);
            check_rights(&cpu, la, DATA, !(take & U), !(take & W), nx);
        }
    }
}

static void long_entry(u32 level, u64 take, bool nx) {
    static const u64 tables[] = {L1, L2, L3, L4};
    u64 table = tables[level];

    map_long(U | W);
    put(table, 1, (get(table + 8) & ~take) | (nx ? NX : 0));
}

static void pae_entry(u32 level, u64 take, bool nx) {
    static const u64 tables[] = {L1, L2};
    u64 table = tables[level];

    put(L3, 1, L2 | P);
    put(L2, 1, L1 | P | U | W);
    put(L1, 1, DATA | P | U | W);
    put(table, 1, (get(table + 8) & ~take) | (nx ? NX : 0));
}

static void narrow_entry(u32 level, u64 take, bool nx) {
    (void)nx;
    put32(L2, 1, (u32)(L1 | P | U | W));
    put32(L1, 1, (u32)(DATA | P | U | W));
    if (level == 0)
        put32(L1, 1, (u32)((DATA | P | U | W) & ~take));
    else
        put32(L2, 1, (u32)((L1 | P | U | W) & ~take));
}

/* SDM Vol 3A, Determination of Access Rights. */
static void test_rights(void **state) {
    struct walk_cpu cpu = long_mode();

    (void)state;
    all_rights(cpu, LA_LONG, long_entry, 4);
    cpu.efer = EFER_NXE;
    cpu.cr3 = L3;
    all_rights(cpu, LA_PAE, pae_entry, 2);
    all_rights(narrow(), LA_32, narrow_entry, 2);
}

/* A fetch gives the same answer as a walk, for every combination of rights. */
static void check_fetch(struct walk_cpu cpu) {
    struct insn_fault seen;
    gpa_t out;
    u8 bytes[8];

    for (u32 bits = 0; bits < 32; bits++) {
        int walked, fetched;

        cpu.cr4 = CR4_PAE | (bits & 1 ? CR4_SMEP : 0);
        cpu.cpl = bits & 2 ? 3 : 0;
        map_long((bits & 4 ? U : 0) | (bits & 8 ? NX : 0) | (bits & 16 ? A : 0));
        host[DATA + 0x20] = (u8)(bits + 1);
        walked = walk_linear(&mem, &cpu, LA_LONG + 0x20, WALK_FETCH, &out, &seen);
        fetched = walk_fetch(&mem, &cpu, LA_LONG + 0x20, bytes, 8, &fault);
        assert_int_equal(walked ? walked : 8, fetched);
        if (walked) {
            assert_int_equal(seen.vector, fault.vector);
            assert_int_equal(seen.error, fault.error);
            assert_int_equal(seen.cr2, fault.cr2);
        } else {
            assert_int_equal(bits + 1, bytes[0]);
            assert_int_equal(A, get(L1 + 8) & A);
        }
    }
}

/* The same for instruction fetches, SMEP and NX among it. */
static void test_fetch_rights(void **state) {
    struct walk_cpu cpu = long_mode();

    (void)state;
    check_fetch(cpu);
    cpu.efer &= ~EFER_NXE;
    check_fetch(cpu);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        TEST(test_rights),
        TEST(test_fetch_rights),
    };

    return cmocka_run_group_tests_name("guest page rights", tests, NULL, NULL);
}
