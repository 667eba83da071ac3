/* core/vdev/apicbus.c. SDM Vol 3A, Issuing Interprocessor Interrupts. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdlib.h>
#include <pthread.h>
#include <cmocka.h>

#include "core/base/x86.h"
#include "core/vdev/vlapic.h"

#define COUNT  4u
#define IOAPIC (~0u)

static struct vlapic apics[COUNT];
static struct vlapic *const lapics[COUNT] = {&apics[0], &apics[1], &apics[2], &apics[3]};

/* Ids 0 to 3, flat logical ids 1, 2, 4, 8, all enabled. */
static void fresh(void) {
    struct vlapic_effect fx;

    for (u32 i = 0; i < COUNT; i++) {
        vlapic_reset(&apics[i], i, i == 0);
        vlapic_write(&apics[i], 0xf0, 0x1ff, 0, &fx);
        vlapic_write(&apics[i], 0xd0, 1u << (24 + i), 0, &fx);
    }
}
static void poke(void *ctx, u32 vcpu) {
    assert_true(vcpu < COUNT);
    *(u32 *)ctx |= 1u << vcpu;
}
static bool was_accepted; /* the last message */
/* The vCPUs that were poked, bit per vCPU. */
static u32 send(u32 src, struct apic_msg msg) {
    u32 poked = 0;

    was_accepted = apicbus_send(lapics, COUNT, src, &msg, poke, &poked);
    return poked;
}
static u32 pending(u8 vector) {
    u32 who = 0;

    for (u32 i = 0; i < COUNT; i++) who |= (u32)(vlapic_pending(&apics[i]) == vector) << i;
    return who;
}
static u32 events(u32 event) {
    u32 who = 0;

    for (u32 i = 0; i < COUNT; i++) who |= (u32)((apics[i].events & event) != 0) << i;
    return who;
}

/* Destination and shorthand */
static void test_fixed(void **state) {
    struct apic_msg msg = {.dest = 2, .vector = 0x40, .assert = true};

    (void)state;
    fresh();
    assert_int_equal(4, send(0, msg));
    assert_int_equal(4, pending(0x40));
    assert_int_equal(0, send(0, msg)); /* already requested: nobody to wake */
    msg = (struct apic_msg){.dest = 0xa, .logical = true, .vector = 0x50, .level = true};
    assert_int_equal(0xa, send(IOAPIC, msg));
    assert_int_equal(0xa, pending(0x50));
    assert_int_equal(1u << 16, apics[1].tmr[2]);
    msg = (struct apic_msg){.dest = 0xff, .vector = 0x60};
    assert_int_equal(0xf, send(1, msg));
    msg = (struct apic_msg){.dest = 9, .vector = 0x70};
    assert_int_equal(0, send(1, msg));
}

static void test_shorthands(void **state) {
    struct apic_msg msg = {.dest = 0, .vector = 0x40, .shorthand = APIC_SELF};

    (void)state;
    fresh();
    assert_int_equal(8, send(3, msg));
    assert_int_equal(8, pending(0x40));
    assert_int_equal(0, send(IOAPIC, msg));
    msg.shorthand = APIC_OTHERS;
    msg.vector = 0x50;
    assert_int_equal(7, send(3, msg));
    msg.shorthand = APIC_ALL;
    msg.vector = 0x60;
    assert_int_equal(0xf, send(3, msg));
    assert_int_equal(0xf, pending(0x60));
    apics[1].base_msr &= ~APIC_BASE_ENABLE; /* no APIC, no message */
    msg.delivery = APIC_NMI;
    assert_int_equal(0xd, send(3, msg));
    apics[3].base_msr &= ~APIC_BASE_ENABLE;
    msg.shorthand = APIC_SELF;
    assert_int_equal(0, send(3, msg));
    msg.shorthand = APIC_OTHERS;
    assert_int_equal(5, send(3, msg));
}

/* Lowest Priority Delivery Mode */
static void test_lowest_priority(void **state) {
    struct apic_msg msg = {.dest = 0xff, .logical = true, .vector = 0x40, .delivery = APIC_LOWEST, .assert = true};

    (void)state;
    fresh();
    assert_int_equal(1, send(IOAPIC, msg)); /* a tie goes to the lowest id */
    vlapic_set_cr8(&apics[0], 2);
    vlapic_set_cr8(&apics[1], 3);
    vlapic_set_cr8(&apics[2], 1);
    vlapic_set_cr8(&apics[3], 2);
    msg.vector = 0x41;
    assert_int_equal(4, send(IOAPIC, msg));
    assert_int_equal(4, pending(0x41));
    vlapic_ack(&apics[2], 0x41); /* in service counts too */
    msg.vector = 0x42;
    assert_int_equal(1, send(IOAPIC, msg));
    msg.dest = 0x0a;
    msg.vector = 0x43;
    assert_int_equal(8, send(IOAPIC, msg));
    apics[3].svr = 0xff; /* software-disabled: out of the game */
    msg.vector = 0x44;
    assert_int_equal(2, send(IOAPIC, msg));
    apics[1].svr = 0xff;
    msg.vector = 0x45;
    assert_int_equal(0, send(IOAPIC, msg));
    fresh();
    apics[0].id = 7; /* the order is that of ids, not of vCPUs */
    msg = (struct apic_msg){.vector = 0x40, .delivery = APIC_LOWEST, .shorthand = APIC_ALL};
    assert_int_equal(2, send(0, msg));
    assert_int_equal(0, send(0, msg)); /* already requested there */
}

/* Interrupt Acceptance for Fixed Interrupts: also what is requested already; not by who is disabled, an absent one, or
 * with an illegal vector. */
static void test_accepted(void **state) {
    struct apic_msg msg = {.dest = 1, .vector = 0x40, .level = true};

    (void)state;
    fresh();
    assert_int_equal(2, send(IOAPIC, msg));
    assert_true(was_accepted);
    assert_int_equal(0, send(IOAPIC, msg));
    assert_true(was_accepted);
    apics[1].svr = 0xff;
    send(IOAPIC, msg);
    assert_false(was_accepted);
    msg.delivery = APIC_LOWEST;
    send(IOAPIC, msg);
    assert_false(was_accepted);
    msg.dest = 0xff; /* one of the others */
    send(IOAPIC, msg);
    assert_true(was_accepted);
    msg = (struct apic_msg){.dest = 9, .vector = 0x40};
    send(IOAPIC, msg);
    assert_false(was_accepted);
    msg = (struct apic_msg){.dest = 2, .vector = 15};
    send(IOAPIC, msg);
    assert_false(was_accepted);
    msg = (struct apic_msg){.dest = 1, .delivery = APIC_NMI};
    send(IOAPIC, msg);
    assert_true(was_accepted);
}

/* NMI, INIT, start-up, ExtINT */
static void test_events(void **state) {
    struct apic_msg msg = {.dest = 1, .delivery = APIC_NMI, .assert = true};

    (void)state;
    fresh();
    apics[1].svr = 0xff; /* these arrive at a software-disabled APIC as well */
    assert_int_equal(2, send(0, msg));
    assert_int_equal(2, events(VLAPIC_EVENT_NMI));
    msg.delivery = APIC_STARTUP;
    msg.vector = 0x9a;
    assert_int_equal(2, send(0, msg));
    assert_int_equal(2, events(VLAPIC_EVENT_SIPI));
    assert_int_equal(0x9a, apics[1].sipi_vector);
    msg.delivery = APIC_INIT;
    assert_int_equal(2, send(0, msg));
    assert_int_equal(2, events(VLAPIC_EVENT_INIT));
    assert_int_equal(0, events(VLAPIC_EVENT_SIPI)); /* withdrawn */
    assert_int_equal(2, events(VLAPIC_EVENT_NMI));
    msg.delivery = APIC_STARTUP;
    send(0, msg);
    assert_int_equal(VLAPIC_EVENT_NMI | VLAPIC_EVENT_INIT | VLAPIC_EVENT_SIPI, apics[1].events);
    msg.delivery = APIC_EXTINT;
    msg.dest = 0;
    assert_int_equal(0, send(IOAPIC, msg));
    msg.delivery = APIC_SMI;
    assert_int_equal(0, send(0, msg));
    msg = (struct apic_msg){.dest = 3, .delivery = APIC_INIT, .level = true, .assert = false};
    assert_int_equal(0, send(0, msg)); /* INIT level de-assert */
    assert_int_equal(0, apics[3].events);
}

/* Error Handling: the receiver notes an illegal vector. */
static void test_illegal_vector(void **state) {
    struct apic_msg msg = {.dest = 1, .vector = 3};

    (void)state;
    fresh();
    assert_int_equal(0, send(IOAPIC, msg));
    assert_int_equal(0x40, apics[1].esr_pending);
    apics[2].lvt[LVT_ERROR] = 0xef;
    msg.dest = 2;
    assert_int_equal(4, send(IOAPIC, msg));
    assert_int_equal(4, pending(0xef));
}

/* A write to ICR through to arrival. */
static void test_icr_to_arrival(void **state) {
    struct vlapic_effect fx;

    (void)state;
    fresh();
    vlapic_write(&apics[0], 0x310, 3u << 24, 0, &fx);
    vlapic_write(&apics[0], 0x300, 0x40f1, 0, &fx);
    assert_true(fx.ipi);
    assert_int_equal(8, send(0, fx.msg));
    assert_int_equal(8, pending(0xf1));
    for (u32 i = 0; i < COUNT; i++)
        assert_int_equal(0, vlapic_msr_write(&apics[i], MSR_APIC_BASE, apics[i].base_msr | APIC_BASE_X2APIC, 0, &fx));
    assert_int_equal(0, vlapic_msr_write(&apics[1], 0x830, 0x5000048f2, 0, &fx));
    assert_int_equal(5, send(1, fx.msg));
    assert_int_equal(5, pending(0xf2));
    assert_int_equal(0, vlapic_msr_write(&apics[1], 0x83f, 0xf3, 0, &fx));
    assert_int_equal(2, send(1, fx.msg));
}

/* Posting without a lock: what was newly requested is delivered exactly once. */
#define POSTS 200000u

static u32 finished;

static void *poster(void *accepted) {
    u32 *count = accepted, x = (u32)(size_t)accepted | 1;

    for (u32 i = 0; i < POSTS; i++) {
        x = x * 1664525 + 1013904223;
        *count += vlapic_post(&apics[0], (u8)(32 + (x >> 24) % 64), (x & 1) != 0);
    }
    __atomic_fetch_add(&finished, 1, __ATOMIC_SEQ_CST);
    return NULL;
}

static u32 drain(void) {
    struct vlapic_effect fx;
    u32 taken = 0;
    int vector;

    while ((vector = vlapic_pending(&apics[0])) >= 0) {
        vlapic_ack(&apics[0], (u8)vector);
        vlapic_write(&apics[0], 0xb0, 0, 0, &fx);
        taken++;
    }
    return taken;
}

static void test_concurrent_posts(void **state) {
    u32 accepted[2] = {0}, taken = 0;
    pthread_t threads[2];

    (void)state;
    fresh();
    for (u32 i = 0; i < 2; i++) assert_int_equal(0, pthread_create(&threads[i], NULL, poster, &accepted[i]));
    while (__atomic_load_n(&finished, __ATOMIC_SEQ_CST) < 2) taken += drain();
    for (u32 i = 0; i < 2; i++) pthread_join(threads[i], NULL);
    taken += drain();
    assert_int_equal(accepted[0] + accepted[1], taken);
    for (u32 i = 0; i < 8; i++) /* a stale bit in irr_banks is allowed, a request left is not */
        assert_int_equal(0, apics[0].irr[i]);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_fixed),           cmocka_unit_test(test_shorthands),
        cmocka_unit_test(test_lowest_priority), cmocka_unit_test(test_accepted),
        cmocka_unit_test(test_events),          cmocka_unit_test(test_illegal_vector),
        cmocka_unit_test(test_icr_to_arrival),  cmocka_unit_test(test_concurrent_posts),
    };

    return cmocka_run_group_tests_name("apicbus", tests, NULL, NULL);
}
