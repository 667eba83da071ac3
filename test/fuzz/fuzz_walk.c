/* Arbitrary guest page tables, of five levels too, under the software walk. Input: control registers, address and
 * access, then the guest's memory: eight pages, of which two are read-only. Holds: no access
 * outside of it (it ends where its allocation ends); nothing but accessed and dirty bits changes,
 * and in read-only pages nothing; a translation keeps the offset in the page and comes out the same
 * a second time; a fault is #PF of this address or #GP(0); the short way to code ends in the same place or nowhere. */
#include <string.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/insn/walk.h"
#include "core/insn/walk_code.h"
#include "test/fuzz/fuzz.h"

#define PAGES   8u
#define ROM     6u /* first read-only page */
#define BYTES   (PAGES * PAGE_4K)
#define A_AND_D 0x60u

static u8 *host, before[BYTES];
static const struct region regions[] = {
    {.bytes = ROM * PAGE_4K, .rights = RIGHTS_RWX},
    {.gpa = {ROM * PAGE_4K},
     .hpa = {ROM * PAGE_4K},
     .bytes = (PAGES - ROM) * PAGE_4K,
     .rights = RIGHT_READ | RIGHT_EXEC,
     .kind = REGION_RESERVED},
};

static void check_memory(void) {
    for (u32 i = 0; i < BYTES; i += 8) {
        if (!memcmp(host + i, before + i, 8)) continue;
        REQUIRE(i < ROM * PAGE_4K);
        for (u32 k = i; k < i + 8; k++)
            REQUIRE((before[k] & ~host[k]) == 0 && ((before[k] ^ host[k]) & ~(k % 4 ? 0 : A_AND_D)) == 0);
    }
}

static void check_fault(const struct insn_fault *f, u64 la) {
    REQUIRE(f->has_error && (f->vector == VEC_PF || f->vector == VEC_GP));
    REQUIRE(f->vector == VEC_GP ? f->error == 0 : f->cr2 == la && f->error < 32);
}

static bool pdpte_reserves(const struct walk_cpu *cpu) { return (cpu->cr4 & CR4_PAE) && !(cpu->efer & EFER_LMA); }

static void check_code(const struct walk_cpu *cpu, u64 la, gpa_t where) {
    const struct code_window w = {host, 0, ROM * PAGE_4K};
    const u8 *code = cpu->cr4 & CR4_LA57 ? walk_code(&w, cpu->cr3, la, true) : walk_code(&w, cpu->cr3, la, false);

    REQUIRE(!code || code == host + where.v);
}

static void walk(const struct gmem *mem, const struct walk_cpu *cpu, u64 la, u32 access) {
    struct insn_fault fault = {0};
    gpa_t first = gpa(0), again = gpa(0);
    u8 code[INSN_MAX];
    int rc = walk_linear(mem, cpu, la, access, &first, &fault);

    REQUIRE(rc == 0 || rc == -E_FAULT || rc == -E_RANGE);
    if (rc == -E_FAULT) check_fault(&fault, la);
    if (rc == 0) {
        REQUIRE(first.v % PAGE_4K == la % PAGE_4K);
        rc = walk_linear(mem, cpu, la, access, &again, &fault);
        /* Accessed and dirty are reserved in a PDPTE of PAE paging: a table that is a page of
         * itself may fault now. */
        if (pdpte_reserves(cpu) && rc == -E_FAULT) return;
        REQUIRE(rc == 0 && again.v == first.v);
        if (cpu->efer & EFER_LMA) check_code(cpu, la, first);
    }
    rc = walk_fetch(mem, cpu, la, code, sizeof(code), &fault);
    REQUIRE(rc == -E_FAULT || rc == -E_RANGE || (rc >= 1 && rc <= INSN_MAX));
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    u64 modes = take(&in, 1), la;
    u32 how = (u32)take(&in, 1), access = how & (WALK_WRITE | WALK_FETCH | WALK_SYSTEM);
    struct walk_cpu cpu = {.cr0 = CR0_PE | (modes & 1 ? CR0_WP : 0) | (modes & 2 ? 0 : CR0_PG)};
    struct gmem mem;

    if (access & WALK_FETCH) access = WALK_FETCH;
    cpu.cr4 =
        (modes & 4 ? 0 : CR4_PAE) | (modes & 8 ? CR4_PSE : 0) | (modes & 16 ? CR4_SMEP : 0) | (how & 8 ? CR4_LA57 : 0);
    cpu.efer = (modes & 32 ? EFER_NXE : 0) | (modes & 68 ? 0 : EFER_LME | EFER_LMA);
    cpu.cpl = modes & 128 ? 3 : 0;
    cpu.cr3 = take(&in, 2) << 4;
    la = take(&in, 8);
    if (!(cpu.efer & EFER_LMA)) la &= 0xffffffff;
    host = aligned_alloc(PAGE_4K, BYTES);
    memset(host, 0, BYTES);
    memcpy(host, in.at, in.left < BYTES ? in.left : BYTES);
    memcpy(before, host, BYTES);
    mem = (struct gmem){regions, ARRAY_SIZE(regions), (u64)host, false};
    walk(&mem, &cpu, la, access);
    check_memory();
    free(host);
    return 0;
}
