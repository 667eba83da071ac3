/* What the tests of the local APIC share: one APIC, the time, and accesses by page and by MSR. */
#pragma once

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/x86.h"
#include "core/vdev/vlapic.h"

#define BASE 0xfee00000ull

static struct vlapic l;
static struct vlapic_effect fx;
static u64 now;

/* xAPIC mode, software-enabled, spurious vector 0xff. */
static inline void fresh(void) {
    vlapic_reset(&l, 5, true);
    now = 1000000;
    vlapic_write(&l, 0xf0, 0x1ff, now, &fx);
}
static inline void fresh_x2apic(u32 id) {
    vlapic_reset(&l, id, false);
    assert_int_equal(0, vlapic_msr_write(&l, MSR_APIC_BASE, BASE | 0xc00, now, &fx));
    assert_int_equal(0, vlapic_msr_write(&l, 0x80f, 0x1ff, now, &fx));
}
static inline u32 rd(u32 offset) { return vlapic_read(&l, offset, now); }
static inline void wr(u32 offset, u32 value) { vlapic_write(&l, offset, value, now, &fx); }
static inline u64 rdmsr(u32 msr) {
    u64 value = 0;

    assert_int_equal(0, vlapic_msr_read(&l, msr, &value, now));
    return value;
}
static inline void wrmsr(u32 msr, u64 value) { assert_int_equal(0, vlapic_msr_write(&l, msr, value, now, &fx)); }
static inline void rdmsr_faults(u32 msr) {
    u64 value;

    assert_int_equal(-E_FAULT, vlapic_msr_read(&l, msr, &value, now));
}
static inline void wrmsr_faults(u32 msr, u64 value) {
    assert_int_equal(-E_FAULT, vlapic_msr_write(&l, msr, value, now, &fx));
    assert_false(fx.ipi || fx.eoi_broadcast);
}
static inline u32 logged_errors(void) {
    wr(0x280, 0);
    return rd(0x280);
}
static inline bool requested(u8 vector) { return rd(0x200 + vector / 32u * 16) >> vector % 32 & 1; }
