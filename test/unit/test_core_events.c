/* What waits for a vCPU and how it is delivered, its timers and its sleep: core/vcpu.c under a scripted vendor. */
#include "test/fake/core_fixture.h"
#include "core/traps.h"
#include "drivers/lapic.h"

static void out(u16 port, u8 value) {
    v->hw.gpr[AX] = value;
    play(EXIT(IO, .length = 1, .io = {.port = port, .size = 1}));
}

/* --- the order of delivery --- */

static void test_interrupt(void **state) {
    (void)state;
    lapic_on();
    assert_true(vlapic_post(&v->lapic, 0x40, false));
    assert_true(vlapic_post(&v->lapic, 0x60, false));
    play(EXIT(NMI)); /* nothing of the guest's */
    assert_took(EVENT_INTERRUPT, 0x60);
    assert_false(f->intr_window); /* 0x40 waits for the end of 0x60 */
    lapic_write(0xb0, 0);
    play(EXIT(NMI));
    assert_took(EVENT_INTERRUPT, 0x40);
    lapic_write(0xb0, 0);
    play(EXIT(NMI));
    assert_int_equal(EVENT_NONE, f->taken.type);
    assert_true(vlapic_post(&v->lapic, 0x61, false)); /* a second one that is higher opens a window at once */
    assert_true(vlapic_post(&v->lapic, 0x71, false));
    lapic_write(0x80, 0x70);
    play(EXIT(NMI));
    assert_int_equal(EVENT_NONE, f->taken.type); /* class 7 is not above 0x70 */
}

static void test_window(void **state) {
    (void)state;
    lapic_on();
    f->reg[REG_RFLAGS] &= ~RFLAGS_IF;
    vlapic_post(&v->lapic, 0x40, false);
    go_on();
    assert_int_equal(0, f->taken_count);
    assert_true(f->intr_window && v->intr_window);
    f->reg[REG_RFLAGS] |= RFLAGS_IF;
    play(EXIT(INTR_WINDOW));
    assert_took(EVENT_INTERRUPT, 0x40);
    assert_false(f->intr_window || v->intr_window);
    /* It went away while the window was open. */
    f->reg[REG_RFLAGS] &= ~RFLAGS_IF;
    vlapic_post(&v->lapic, 0x50, false);
    go_on();
    assert_true(f->intr_window);
    lapic_write(0x80, 0xff);
    go_on();
    assert_false(f->intr_window);
}

/* The processor delivers by itself what the guest cannot take yet: in service from then on, no window, no exit. */
static void test_posted(void **state) {
    u64 windows = v->exits[EXIT_INTR_WINDOW];

    (void)state;
    fake_cpu.posts = true;
    lapic_on();
    f->reg[REG_RFLAGS] &= ~RFLAGS_IF;
    vlapic_post(&v->lapic, 0x40, false);
    play(EXIT(NMI)); /* not taken: it waits as before, and is posted anew */
    assert_int_equal(0x40, f->posted);
    assert_int_equal(0x40, vlapic_pending(&v->lapic));
    assert_false(f->intr_window || v->intr_window || v->hw.posted);
    vlapic_post(&v->lapic, 0x60, false); /* a higher one takes its place */
    fake_script.posted_taken = true;
    go_on();
    assert_int_equal(0x60, f->posted);
    assert_int_equal(0, f->taken_count);
    assert_int_equal(-1, vlapic_pending(&v->lapic)); /* 0x60 is in service */
    lapic_write(0xb0, 0);
    assert_int_equal(0x40, vlapic_pending(&v->lapic));
    go_on();
    assert_int_equal(0x40, f->posted);
    lapic_write(0xb0, 0);
    assert_int_equal(-1, vlapic_pending(&v->lapic));
    assert_int_equal(windows, v->exits[EXIT_INTR_WINDOW]);
}

/* Not while an NMI window is open, nor if the 8259 has the same vector: then windows. */
static void test_not_posted(void **state) {
    (void)state;
    fake_cpu.posts = true;
    lapic_on();
    f->intr_blocked = f->nmi_blocked = v->nmi_pending = true;
    vlapic_post(&v->lapic, 0x40, false);
    go_on();
    assert_true(f->intr_window && f->nmi_window && !f->posted);
    f->nmi_blocked = false;
    play(EXIT(INTR_WINDOW)); /* the NMI first; its window is closed, so the processor gets the interrupt */
    assert_took(EVENT_NMI, 2);
    assert_true(!f->nmi_window && !f->intr_window);
    assert_int_equal(0x40, f->posted);
    f->posted = 0;
    v->extint = EXTINT_VALID | 0x40;
    go_on();
    assert_true(f->intr_window && !f->posted);
}

/* The delivery that an exit cuts short is the posted one: it is delivered again, once. */
static void test_posted_cut(void **state) {
    (void)state;
    fake_cpu.posts = fake_script.posted_taken = true;
    lapic_on();
    f->intr_blocked = true;
    vlapic_post(&v->lapic, 0x40, false);
    fake_script.cut = (struct vm_event){.type = EVENT_INTERRUPT, .vector = 0x40};
    play(EXIT(NO_INSN)); /* a fault comes first, so it goes back */
    assert_took(EVENT_EXCEPTION, VEC_UD);
    assert_int_equal(0x40, f->posted);
    fake_script.cut = (struct vm_event){.type = EVENT_INTERRUPT, .vector = 0x40};
    vlapic_unack(&v->lapic, 0x40);
    play(EXIT(NMI));
    assert_took(EVENT_INTERRUPT, 0x40);
    assert_int_equal(-1, vlapic_pending(&v->lapic));
}

static void test_nmi(void **state) {
    (void)state;
    lapic_on();
    f->nmi_blocked = true;
    v->nmi_pending = true;
    vlapic_post(&v->lapic, 0x40, false);
    go_on(); /* the NMI is held off, the interrupt is not */
    assert_took(EVENT_INTERRUPT, 0x40);
    assert_true(f->nmi_window && v->nmi_window);
    f->nmi_blocked = false;
    vlapic_post(&v->lapic, 0x60, false);
    go_on();
    assert_took(EVENT_NMI, 2);
    assert_false(v->nmi_pending);
    assert_true(f->intr_window); /* one event for one entry */
    play(EXIT(INTR_WINDOW));
    assert_took(EVENT_INTERRUPT, 0x60);
    play(EXIT(NMI_WINDOW));
    assert_false(f->nmi_window || v->nmi_window);
}

/* The 8259 pair comes before the local APIC. */
static void test_extint(void **state) {
    (void)state;
    out(0x20, 0x11), out(0x21, 0x20), out(0x21, 4), out(0x21, 1), out(0x21, 0xfe);
    out(0x43, 0x34), out(0x40, 100), out(0x40, 0); /* a fast timer */
    lapic_on();
    lapic_write(0x350, 0x700); /* LINT0: ExtINT */
    vlapic_post(&v->lapic, 0x40, false);
    fake_hw.tsc += 1000000;
    v->timer_due = true;
    go_on();
    assert_took(EVENT_INTERRUPT, 0x20);
    assert_true(f->intr_window);
    play(EXIT(INTR_WINDOW));
    assert_took(EVENT_INTERRUPT, 0x40);
}

/* --- deliveries that an exit cut short --- */

static void cut(enum event_type type, u8 vector) {
    fake_script.cut = (struct vm_event){.type = type, .vector = vector, .length = 2};
}

static void test_delivered_again(void **state) {
    (void)state;
    lapic_on();
    vlapic_post(&v->lapic, 0x60, false);
    v->nmi_pending = f->nmi_blocked = f->intr_blocked = true;
    cut(EVENT_SOFT_INTERRUPT, 0x80);
    play(EXIT(NMI));
    assert_took(EVENT_SOFT_INTERRUPT, 0x80);
    assert_true(f->intr_window && f->nmi_window);
    assert_int_equal(EVENT_NONE, v->hw.interrupted.type);
}

/* An instruction's fault cuts the delivery of an interrupt: it goes back, or it would be lost. */
static void test_given_back(void **state) {
    (void)state;
    lapic_on();
    vlapic_post(&v->lapic, 0x60, false);
    go_on();
    assert_took(EVENT_INTERRUPT, 0x60);
    cut(EVENT_INTERRUPT, 0x60);
    play(EXIT(NO_INSN));
    assert_took(EVENT_EXCEPTION, VEC_UD);
    assert_true(f->intr_window);
    play(EXIT(INTR_WINDOW));
    assert_took(EVENT_INTERRUPT, 0x60);
    cut(EVENT_NMI, 2);
    f->nmi_blocked = true;
    play(EXIT(NO_INSN));
    assert_took(EVENT_EXCEPTION, VEC_UD);
    assert_true(v->nmi_pending && f->nmi_window);
    /* What comes again with its instruction is forgotten. */
    cut(EVENT_SOFT_INTERRUPT, 0x80);
    play(EXIT(NO_INSN));
    assert_took(EVENT_EXCEPTION, VEC_UD);
    assert_int_equal(EVENT_NONE, v->hw.interrupted.type);
}

/* SDM Vol 3A, Interrupt 8, the table of double faults. */
static void test_double_fault(void **state) {
    static const struct {
        u8 first, second, gives;
    } cases[] = {
        {VEC_DE, VEC_GP, VEC_DF}, {VEC_GP, VEC_GP, VEC_DF}, {VEC_PF, VEC_PF, VEC_DF}, {VEC_PF, VEC_GP, VEC_DF},
        {VEC_GP, VEC_PF, VEC_PF}, {VEC_DB, VEC_GP, VEC_GP}, {VEC_GP, VEC_UD, VEC_UD}, {VEC_TS, VEC_NP, VEC_DF},
    };

    (void)state;
    for (u32 i = 0; i < ARRAY_SIZE(cases); i++) {
        struct vm_exit exit = EXIT(EXCEPTION, .event = {EVENT_EXCEPTION, cases[i].second, true, 5, 0});

        cut(EVENT_EXCEPTION, cases[i].first);
        play(exit);
        assert_took(EVENT_EXCEPTION, cases[i].gives);
        assert_int_equal(cases[i].gives == VEC_DF ? 0 : 5, f->taken.error);
        assert_true(f->taken.has_error);
    }
    cut(EVENT_EXCEPTION, VEC_DF);
    play_crashes(EXIT(NO_INSN), "triple fault: a fault while a double fault was delivered");
}

static void test_exceptions(void **state) {
    (void)state;
    play(EXIT(EXCEPTION, .event = {EVENT_EXCEPTION, VEC_AC, true, 0, 0}));
    assert_took(EVENT_EXCEPTION, VEC_AC);
    play(EXIT(EXCEPTION, .event = {EVENT_SOFT_EXCEPTION, VEC_DB, false, 0, 1})); /* INT1 */
    assert_took(EVENT_SOFT_EXCEPTION, VEC_DB);
    assert_int_equal(1, f->taken.length);
}

/* --- host interrupts --- */

static void test_host_interrupts(void **state) {
    (void)state;
    play(EXIT(INTERRUPT, .vector = VECTOR_KICK));
    assert_int_equal(1, fake_hw.eois);
    play(EXIT(INTERRUPT, .vector = 0)); /* the interrupt table had it */
    play(EXIT(INTERRUPT, .vector = VECTOR_SPURIOUS));
    assert_int_equal(1, fake_hw.eois);
    fake_hw.keys = "k";
    play(EXIT(INTERRUPT, .vector = VECTOR_UART));
    assert_int_equal(2, fake_hw.eois);
    play(EXIT(IO, .length = 1, .io = {.port = 0x3fd, .size = 1, .in = true}));
    assert_true(v->hw.gpr[AX] & 1); /* data ready */
    play(EXIT(IO, .length = 1, .io = {.port = 0x3f8, .size = 1, .in = true}));
    assert_int_equal('k', v->hw.gpr[AX]);
}

static void test_trap(void **state) {
    struct trap_frame frame = {.vector = VECTOR_TIMER};

    (void)state;
    v->timer_due = false;
    trap(&frame);
    assert_true(v->timer_due);
    frame.vector = VEC_NMI; /* of the machine's, without a panic */
    trap(&frame);
}

/* --- time --- */

static void tsc_deadline(u64 ticks) {
    lapic_write(0x320, 0x40040);
    v->hw.gpr[CX] = MSR_TSC_DEADLINE;
    v->hw.gpr[AX] = (u32)(vcpu_guest_tsc(v) + ticks);
    v->hw.gpr[DX] = (vcpu_guest_tsc(v) + ticks) >> 32;
    play(EXIT(WRMSR, .length = 2));
}

static void test_timer(void **state) {
    u64 armed;

    (void)state;
    lapic_on();
    tsc_deadline(1000000);
    armed = fake_hw.timer;
    assert_true(armed > fake_hw.tsc && armed < fake_hw.tsc + 1000000);
    play(EXIT(INTERRUPT, .vector = VECTOR_TIMER)); /* too early: armed anew */
    assert_int_equal(EVENT_NONE, f->taken.type);
    fake_hw.tsc = armed;
    play(EXIT(INTERRUPT, .vector = VECTOR_TIMER));
    assert_took(EVENT_INTERRUPT, 0x40);
    lapic_write(0xb0, 0);
    v->hw.gpr[AX] = 0xffffffff; /* a time that never comes */
    v->hw.gpr[DX] = 0x7fffffff;
    play(EXIT(WRMSR, .length = 2));
    assert_true(fake_hw.timer > 1ull << 60 || fake_hw.timer == armed || fake_hw.timer > armed);
}

/* A guest whose timer is always due still executes something, however long the machine takes for an expiry. */
static void timer_rest(u64 tsc_step) {
    fake_hw.tsc_step = tsc_step;
    lapic_on();
    lapic_write(0x3e0, 0xb);
    lapic_write(0x320, 0x20040); /* periodic, one tick */
    lapic_write(0x380, 1);
    go_on();
    for (u32 i = 0; i < 10; i++) {
        fake_hw.tsc = max_u64(fake_hw.timer, fake_hw.tsc);
        play(EXIT(INTERRUPT, .vector = VECTOR_TIMER));
        assert_true(fake_hw.timer > fake_hw.tsc + 1000);
        lapic_write(0xb0, 0);
    }
}
static void test_timer_rest(void **state) {
    (void)state;
    timer_rest(10);
}
static void test_timer_rest_of_a_slow_machine(void **state) {
    (void)state;
    timer_rest(3000);
}

static void test_sleep(void **state) {
    const struct vm_exit hlt = EXIT(HLT, .length = 1), more[] = {EXIT(HLT, .length = 1), EXIT(NMI)};

    (void)state;
    lapic_on();
    assert_int_equal(STOP_IDLE, fake_play(v, &hlt, 1));
    assert_int_equal(VCPU_HALTED, v->state);
    assert_int_equal(FAKE_KERNEL_AT + 1, f->reg[REG_RIP]);
    assert_int_equal(STOP_IDLE, fake_play(v, NULL, 0)); /* nothing new */
    vlapic_post(&v->lapic, 0x40, false);
    go_on();
    assert_took(EVENT_INTERRUPT, 0x40);
    assert_int_equal(VCPU_RUNNING, v->state);
    lapic_write(0xb0, 0);
    f->reg[REG_RFLAGS] &= ~RFLAGS_IF; /* interrupts do not wake it now, an NMI does */
    assert_int_equal(STOP_IDLE, fake_play(v, &hlt, 1));
    vlapic_post(&v->lapic, 0x40, false);
    assert_int_equal(STOP_IDLE, fake_play(v, NULL, 0));
    v->nmi_pending = true;
    go_on();
    assert_took(EVENT_NMI, 2);
    /* By its own timer. */
    f->reg[REG_RFLAGS] |= RFLAGS_IF;
    lapic_write(0xb0, 0);
    go_on();
    lapic_write(0xb0, 0);
    tsc_deadline(100000);
    fake_cpu.wake = true;
    assert_int_equal(STOP_SCRIPT, fake_play(v, more, 2));
    assert_true(fake_cpu.idles >= 1);
}

/* Where the vendor has a timer of its own, it serves while the guest runs; the local APIC's while it sleeps. */
static void test_vendor_timer(void **state) {
    const struct vm_exit hlt = EXIT(HLT, .length = 1);

    (void)state;
    machine.caps.timer = fake_cpu.timer = true;
    lapic_on();
    fake_hw.timer = NEVER;
    tsc_deadline(100000);
    assert_true(fake_hw.timer == NEVER && fake_cpu.armed != NEVER);
    play(EXIT(TIMER)); /* early */
    assert_int_equal(EVENT_NONE, f->taken.type);
    fake_hw.tsc += 200000;
    play(EXIT(TIMER));
    assert_took(EVENT_INTERRUPT, 0x40);
    lapic_write(0xb0, 0);
    tsc_deadline(100000);
    fake_cpu.wake = true;
    assert_int_equal(STOP_SCRIPT, fake_play(v, &hlt, 1));
    assert_took(EVENT_INTERRUPT, 0x40);
    assert_true(fake_hw.timer == NEVER);
    machine.caps.timer = fake_cpu.timer = false;
}

/* Output waits for a UART that is busy, and is tried again in time. */
static void test_console_retry(void **state) {
    (void)state;
    fake_hw.uart_blocked = true;
    out(0x3f8, 'x');
    out(0x3f8, '\n');
    assert_true(v->console_left && v->console_retry != NEVER);
    assert_false(said("[one] x"));
    fake_hw.uart_blocked = false;
    fake_hw.tsc = v->console_retry;
    v->timer_due = true;
    go_on();
    assert_true(said("[one] x"));
    assert_true(!v->console_left && v->console_retry == NEVER);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_interrupt, fresh),
        cmocka_unit_test_setup(test_window, fresh),
        cmocka_unit_test_setup(test_posted, fresh),
        cmocka_unit_test_setup(test_not_posted, fresh),
        cmocka_unit_test_setup(test_posted_cut, fresh),
        cmocka_unit_test_setup(test_nmi, fresh),
        cmocka_unit_test_setup(test_extint, fresh),
        cmocka_unit_test_setup(test_delivered_again, fresh),
        cmocka_unit_test_setup(test_given_back, fresh),
        cmocka_unit_test_setup(test_double_fault, fresh),
        cmocka_unit_test_setup(test_exceptions, fresh),
        cmocka_unit_test_setup(test_host_interrupts, fresh),
        cmocka_unit_test_setup(test_trap, fresh),
        cmocka_unit_test_setup(test_timer, fresh),
        cmocka_unit_test_setup(test_timer_rest, fresh),
        cmocka_unit_test_setup(test_timer_rest_of_a_slow_machine, fresh),
        cmocka_unit_test_setup(test_sleep, fresh),
        cmocka_unit_test_setup(test_vendor_timer, fresh),
        cmocka_unit_test_setup(test_console_retry, fresh),
    };

    return cmocka_run_group_tests_name("core events", tests, boot_one, NULL);
}
