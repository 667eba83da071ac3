/* INIT and reset of a vCPU, the first one's above all: core/vcpu.c under a scripted vendor. */
#include "test/fake/core_fixture.h"

static void test_init_of_the_first(void **state) {
    (void)state;
    set_firmware(true);
    lapic_on();
    v->hw.gpr[BX] = 77;
    __atomic_fetch_or(&v->lapic.events, VLAPIC_EVENT_INIT | VLAPIC_EVENT_NMI, __ATOMIC_RELAXED);
    vcpu_poke(v, REQUEST_EVENT);
    go_on();
    assert_int_equal(0xfff0, f->reg[REG_RIP]); /* the boot processor starts at the reset vector */
    assert_int_equal(0, v->hw.gpr[BX]);
    assert_int_equal(VCPU_RUNNING, v->state);
    assert_took(EVENT_NMI, 2); /* the NMI came with it and is not lost */
}

/* Where there is no firmware, what one would do. */
static void test_init_without_firmware(void **state) {
    (void)state;
    lapic_on();
    __atomic_fetch_or(&v->lapic.events, VLAPIC_EVENT_INIT, __ATOMIC_RELAXED);
    vcpu_poke(v, REQUEST_EVENT);
    go_on();
    assert_true(said("one: reset"));
}

static u64 mtrr(u32 msr) {
    u64 value = 0;

    assert_int_equal(0, vmtrr_read(&v->mtrr, msr, &value));
    return value;
}

/* SDM Vol 3A, Processor State After Reset: INIT leaves the MTRRs and PAT as they are. */
static void test_init_keeps_memory_types(void **state) {
    (void)state;
    set_firmware(true);
    assert_int_equal(0xc06, mtrr(MSR_MTRR_DEF_TYPE)); /* started by a form that is no firmware */
    assert_int_equal(0, vmtrr_write(&v->mtrr, MSR_MTRR_DEF_TYPE, 0xc05, 40));
    assert_int_equal(0, vmtrr_write(&v->mtrr, MSR_MTRR_BASE0 + 14, 0x40000001, 40));
    assert_int_equal(0, vmtrr_write(&v->mtrr, MSR_MTRR_FIX_4K + 7, 0x0404040404040404, 40));
    f->reg[REG_PAT] = 0x0107040600070406;
    __atomic_fetch_or(&v->lapic.events, VLAPIC_EVENT_INIT, __ATOMIC_RELAXED);
    vcpu_poke(v, REQUEST_EVENT);
    go_on();
    assert_int_equal(0xfff0, f->reg[REG_RIP]);
    assert_int_equal(0xc05, mtrr(MSR_MTRR_DEF_TYPE));
    assert_int_equal(0x40000001, mtrr(MSR_MTRR_BASE0 + 14));
    assert_true(mtrr(MSR_MTRR_FIX_4K + 7) == 0x0404040404040404);
    assert_true(f->reg[REG_PAT] == 0x0107040600070406);
}

/* A partition that begins at the reset vector finds MTRRs and PAT as the processor's reset leaves them. */
static void test_reset_memory_types(void **state) {
    (void)state;
    f->reg[REG_PAT] = 0;
    v->partition->start.mode = START_RESET;
    vcpu_start(v);
    assert_int_equal(0xfff0, f->reg[REG_RIP]);
    assert_int_equal(0, mtrr(MSR_MTRR_DEF_TYPE));
    assert_int_equal(0, mtrr(MSR_MTRR_BASE0 + 1));
    assert_true(f->reg[REG_PAT] == 0x0007040600070406);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_init_of_the_first, fresh),
        cmocka_unit_test_setup(test_init_without_firmware, fresh),
        cmocka_unit_test_setup(test_init_keeps_memory_types, fresh),
        cmocka_unit_test_setup(test_reset_memory_types, fresh),
    };

    return cmocka_run_group_tests_name("core init", tests, boot_one, NULL);
}
