/* What the tests of core share: one partition `one`, restarted before each test, and its vCPU 0. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <string.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/x86.h"
#include "test/fake/boot.h"

#define EXIT(r, ...) ((struct vm_exit){.reason = EXIT_##r, __VA_ARGS__})
#define AX           0
#define CX           1
#define DX           2
#define BX           3

static struct vcpu *v;
static struct fake_vcpu *f;

static inline bool said(const char *text) { return strstr(hardware_console(), text) != NULL; }

/* Says that this test's partition was started at the reset vector, or not. */
static inline void set_firmware(bool firmware) {
    static enum image_format format;
    struct config_partition *config = (struct config_partition *)v->partition->config;

    if (config->format != IMAGE_FIRMWARE) format = config->format;
    config->format = firmware ? IMAGE_FIRMWARE : format;
}

/* For a group of tests: a machine with one partition, of one vCPU, that starts anew however it ends. */
static inline int boot_one(void **state) {
    static const char config[] = "[machine]\nconsole = \"com1\"\n"
                                 "[partition.one]\ncpus = [0]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\n"
                                 "load = 0x100000\nentry = 0x100000\nrestart = { on = \"always\" }\n";

    (void)state;
    hardware_make();
    return fake_boot(config, 1, MIB(32)) == STOP_SCRIPT ? 0 : -1;
}

/* As the guest that switches its local APIC on and takes interrupts. */
static inline void lapic_write(u32 reg, u32 value) {
    struct vlapic_effect fx = {0};

    vlapic_write(&v->lapic, reg, value, vcpu_guest_tsc(v), &fx);
    vcpu_apic_effect(v, &fx);
}
static inline void lapic_on(void) {
    lapic_write(0xf0, 0x1ff);
    f->reg[REG_RFLAGS] |= RFLAGS_IF;
}
static inline void assert_took(enum event_type type, u8 vector) {
    assert_int_equal(type, f->taken.type);
    assert_int_equal(vector, f->taken.vector);
}

/* Each test starts with a partition that has just been started anew. */
static inline int fresh(void **state) {
    (void)state;
    v = fake_vcpu(0);
    set_firmware(false);
    f = fake_of(&v->hw);
    fake_hw.uart_blocked = fake_cpu.wake = fake_cpu.posts = fake_script.posted_taken = false;
    fake_hw.keys = NULL;
    partition_end(fake_partition(0), END_RESET);
    assert_int_equal(STOP_SCRIPT, fake_play(v, NULL, 0));
    fake_partition(0)->crashes = fake_partition(0)->resets = 0;
    hardware_forget_console();
    f->taken.type = EVENT_NONE;
    f->taken_count = 0;
    fake_hw.eois = fake_hw.kicks = fake_cpu.idles = 0;
    return 0;
}

/* One exit, and the guest goes on. */
static inline void play(struct vm_exit exit) {
    f->taken.type = EVENT_NONE;
    assert_int_equal(STOP_SCRIPT, fake_play(v, &exit, 1));
}

static inline void go_on(void) { assert_int_equal(STOP_SCRIPT, fake_play(v, NULL, 0)); }

/* ... for so long, its timers with it: output that does not wait for the UART takes its time. */
static inline void go_on_for(u32 ms) {
    for (u32 i = 0; i < ms; i++) {
        fake_hw.tsc += FAKE_TSC_HZ / 1000;
        v->timer_due = true;
        go_on();
    }
}

/* ... and it moved rip by that much. */
static inline void play_skips(struct vm_exit exit, u32 length) {
    u64 rip = f->reg[REG_RIP];

    play(exit);
    assert_int_equal(rip + length, f->reg[REG_RIP]);
    assert_int_equal(EVENT_NONE, f->taken.type);
}

/* ... and it got an exception, rip where it was. */
static inline void play_faults(struct vm_exit exit, u8 vector, int error) {
    u64 rip = f->reg[REG_RIP];

    play(exit);
    assert_int_equal(rip, f->reg[REG_RIP]);
    assert_int_equal(EVENT_EXCEPTION, f->taken.type);
    assert_int_equal(vector, f->taken.vector);
    assert_int_equal(error >= 0, f->taken.has_error);
    if (error >= 0) assert_int_equal(error, f->taken.error);
}

/* ... and the partition crashed, said why, and was started again. */
static inline void play_crashes(struct vm_exit exit, const char *why) {
    u32 before = fake_partition(0)->restarts;

    hardware_forget_console();
    play(exit);
    assert_int_equal(before + 1, fake_partition(0)->restarts);
    assert_true(said(why));
    assert_true(said("one: vcpu 0 on core 0 stopped: "));
    assert_true(said("one: crashed"));
    assert_int_equal(FAKE_KERNEL_AT, f->reg[REG_RIP]);
}

static inline void put(u64 at, const void *bytes, u64 count) {
    assert_int_equal(0, gmem_write(&fake_partition(0)->memory, gpa(at), bytes, count));
}
/* Code at rip. */
#define CODE(text) put(f->reg[REG_RIP], text, sizeof(text) - 1)
