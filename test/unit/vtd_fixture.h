/* Two made-up units and the DMAR table that names them, for the tests of drivers/vtd.c. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <cmocka.h>

#include "drivers/iommu.h"
#include "test/unit/dmar_table.h"
#include "test/unit/vtd_machine.h"

#define NIC    PCI_ID(0, 3, 0, 1)
#define DISK   PCI_ID(0, 3, 1, 0)
#define GPU    PCI_ID(0, 0, 2, 0) /* behind the second unit */
#define IOAPIC PCI_ID(0, 0xf0, 31, 0)
#define TABLE  0x12345000ull

static struct table t;
static char summary[200], why[200];
static struct iommu_env env = {machine_take, machine_registers, NULL, false, NULL, NULL};

static inline void fill_table(u8 flags) {
    machine_start();
    put_header(&t, flags);
    put_unit(&t, 0, 0, REGISTERS + KIB(8));
    PUT_SCOPE(&t, 1, 0, 0, 0x0200);
    put_unit(&t, 1, 0, REGISTERS);
    PUT_SCOPE(&t, 3, 2, 0xf0, 0x1f00);
    put_region(&t, 0, 0x7d000000, 0x7d7fffff);
    PUT_SCOPE(&t, 1, 0, 0, 0x1400);
}

static inline int setup(void) {
    summary[0] = why[0] = 0;
    return vtd_ops.setup(t.bytes, &env, summary, sizeof(summary), why, sizeof(why));
}

static inline void start(void) {
    env.x2apic = false;
    fill_table(1);
    assert_int_equal(0, setup());
    assert_int_equal(0, vtd_ops.prepare(DISK, 8));
    assert_int_equal(0, vtd_ops.prepare(NIC, 4));
    assert_int_equal(0, vtd_ops.prepare(GPU, 1));
    assert_int_equal(0, vtd_ops.prepare(IOAPIC, 24));
}

static inline void check_dma(u32 unit, u32 id, u64 domain, u64 root, u32 levels) {
    struct cached e = dma(&machines[unit], id);

    if (!domain) {
        assert_int_equal(0, e.low & 1);
        return;
    }
    assert_int_equal(root | 1, e.low);
    assert_int_equal(domain << 8 | (levels - 2), e.high);
}

static inline void check_interrupt(u32 unit, u32 id, struct msi_message m, u32 vector, u32 core, bool level) {
    struct arrived a = interrupt(&machines[unit], id, m);

    assert_int_equal(vector, a.vector);
    if (!vector) return;
    assert_int_equal(core, a.core);
    assert_int_equal(level, a.level);
}
