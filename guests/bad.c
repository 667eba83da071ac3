/* A partition that misbehaves on purpose, to show that only it suffers. Option do= names the deed;
 * at= the address for write-past-end, or mem= the partition's memory size, whose end is then used.
 */
#include "core/base/bits.h"
#include "core/base/string.h"
#include "guests/lib/guest.h"

static void triple_fault(void) {
    static const u8 empty_idt[10]; /* limit 0: no exception can be delivered, nor its #DF */

    __asm__ volatile("lidt %0\n\tint3" ::"m"(empty_idt));
}

static void cli_loop(void) {
    for (;;) __asm__ volatile("cli");
}

static void cli_hlt(void) { cpu_stop(); }

static void jump_to(u64 at) { __asm__ volatile("jmp *%0" ::"r"(at)); }

/* Any exception now has to be delivered through a table where there is no memory. */
static void idt_nowhere(void) {
    struct {
        u16 limit;
        u64 base;
    } __attribute__((packed)) idt = {0xfff, option_number("at", 0xb0000000)};

    __asm__ volatile("lidt %0\n\tud2" ::"m"(idt));
}

static void jump(void) { jump_to(0xdeadbeef000); }

static void jump_non_canonical(void) { jump_to(0x8000000000000000); }

/* Mapped by the page tables, and no memory behind it. */
static void jump_nowhere(void) { jump_to(option_number("at", 0xb0000000)); }

static void write_past_end(void) {
    u64 at = option_number("at", option_number("mem", MIB(16)));

    print("bad: writing at 0x%lx\n", at);
    for (u64 i = 0; i < MIB(2); i += 64) *(volatile u64 *)(at + i) = 0xbadbadbadbadbad;
}

static void reset_kbd(void) {
    out8(0x64, 0xfe);
    cpu_stop();
}

static u32 looping;

static void loop_deaf(u32 index) {
    (void)index;
    __atomic_store_n(&looping, 1, __ATOMIC_RELEASE);
    cli_loop();
}

/* The reset has to reach a CPU that listens to nothing. */
static void reset_deaf(void) {
    if (smp_start(loop_deaf) < 2) return;
    while (!__atomic_load_n(&looping, __ATOMIC_ACQUIRE)) cpu_pause();
    power_reset();
}

static void skip_two_bytes(struct trap_frame *frame) { frame->rip += 2; }

static void ud_storm(void) {
    interrupt_handler(VEC_UD, skip_two_bytes);
    for (;;) __asm__ volatile("ud2");
}

static void io_storm(void) {
    for (u16 port = 0;; port++) {
        if ((port >= COM1 && port < COM1 + 8) || port == 0xcf9)
            continue; /* what is heard from it should be readable, and it should last */
        if (port == 0x64 || port == 0x92 || port == acpi.pm1a_control || (acpi.has_reset && port == acpi.reset_port))
            continue;
        (void)in8(port);
        (void)in32(port);
        out8(port, (u8)port);
    }
}

static void do_vmcall(void *argument) {
    (void)argument;
    __asm__ volatile("vmcall" ::"a"(0), "b"(0) : "memory");
}

static void do_vmmcall(void *argument) {
    (void)argument;
    __asm__ volatile("vmmcall" ::"a"(0), "b"(0) : "memory");
}

static void vmcall(void) {
    for (u64 i = 0; i < 100000; i++) {
        (void)fault_try(do_vmcall, NULL);
        (void)fault_try(do_vmmcall, NULL);
    }
}

static void write_msr(void *argument) {
    u32 index = *(const u32 *)argument;

    wrmsr(index, ~(u64)0);
    wrmsr(index, 0);
}

static void write_range(u32 first, u32 last) {
    u64 faults = 0;

    for (u32 index = first; index <= last; index++) {
        /* Those that would end this program itself: its APIC and EFER. */
        if (index == MSR_APIC_BASE || index == MSR_EFER || (index >= MSR_FS_BASE && index <= MSR_KERNEL_GS_BASE))
            continue;
        if (index >= MSR_X2APIC_FIRST && index <= MSR_X2APIC_LAST) continue;
        faults += fault_try(write_msr, &index).raised;
    }
    print("bad: wrote msrs 0x%x to 0x%x, %lu refused\n", first, last, faults);
}

static void msr(void) {
    write_range(0, 0x1fff);
    write_range(0x40000000, 0x400000ff);
    write_range(0xc0000000, 0xc0001fff);
    write_range(0xc0010000, 0xc0011fff);
}

/* Pushes until it has run through everything below the stack. */
static void stack(void) { __asm__ volatile("1:\tpushq $-1\n\tjmp 1b"); }

static const struct deed {
    const char *name;
    void (*run)(void);
} deeds[] = {
    {"triple-fault", triple_fault},
    {"cli-loop", cli_loop},
    {"cli-hlt", cli_hlt},
    {"idt-nowhere", idt_nowhere},
    {"jump", jump},
    {"jump-non-canonical", jump_non_canonical},
    {"jump-nowhere", jump_nowhere},
    {"write-past-end", write_past_end},
    {"reset-kbd", reset_kbd},
    {"reset-cf9", power_reset},
    {"reset-deaf", reset_deaf},
    {"ud-storm", ud_storm},
    {"io-storm", io_storm},
    {"vmcall", vmcall},
    {"msr", msr},
    {"stack", stack},
};

void guest_main(void) {
    char name[32] = "";

    (void)option_text("do", name, sizeof(name));
    for (u32 i = 0; i < ARRAY_SIZE(deeds); i++) {
        if (!str_equal(name, deeds[i].name)) continue;
        print("bad: about to %s\n", name);
        console_drain();
        deeds[i].run();
        print("bad: survived %s\n", name);
        return;
    }
    print("bad: do= must be one of:");
    for (u32 i = 0; i < ARRAY_SIZE(deeds); i++) print(" %s", deeds[i].name);
    print("\n");
}
