#include "test/fake/hardware.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/layout.h"
#include "core/base/x86.h"
#include "core/canary.h"
#include "core/vector.h"
#include "drivers/descriptors.h"
#include "drivers/lapic.h"
#include "drivers/power.h"
#include "drivers/uart.h"

struct hardware fake_hw;
jmp_buf machine_out;

/* The image: start-up code, text, read-only data, .late, data. */
__asm__(".pushsection .data\n\t.balign 4096\n"
        ".globl image_start, init_end, text_end, rodata_end, late_end, image_end\n"
        "image_start: .skip 4096\ninit_end: .skip 4096\ntext_end: .skip 4096\nrodata_end: .skip 4096\nlate_end: .skip "
        "4096\nimage_end:\n"
        ".popsection");

void machine_stop(enum stop why) {
    fake_hw.pauses = 0;
    longjmp(machine_out, (int)why);
}

static void map(u64 at, u64 bytes) {
    void *got = mmap((void *)at, bytes, PROT_READ | PROT_WRITE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE | MAP_NORESERVE, -1, 0);

    if (got != (void *)at) {
        perror("mmap");
        abort();
    }
}

void hardware_make(void) {
    map(LOCAL_BASE, 16 * PAGE_4K);
    map(DIRECT_BASE, FAKE_RAM);
    fake_hw = (struct hardware){.tsc = 1000000, .tsc_step = 10, .xcr0 = 1, .timer = NEVER};
}

const char *hardware_console(void) {
    fake_hw.console[fake_hw.console_length] = 0;
    return fake_hw.console;
}

void hardware_forget_console(void) { fake_hw.console_length = 0; }

/* --- core/base/cpu.h --- */

u64 rdmsr(u32 msr) { return msr == MSR_APIC_BASE ? FAKE_LAPIC_PA | APIC_BASE_ENABLE : 0; }
void wrmsr(u32 msr, u64 value) { (void)msr, (void)value; }

/* A processor with VMX, XSAVE, SMEP, SMAP, UMIP, 57-bit linear addresses and 1 GiB pages. */
struct cpuid_result cpuid(u32 leaf, u32 sub) {
    switch (leaf) {
    case 0: return (struct cpuid_result){0xd, 0x756e6547, 0x6c65746e, 0x49656e69};
    case 1: return (struct cpuid_result){0x000506e3, 0x00010800, 0x1c000000 | BIT(5), 0x1783fbff};
    case 7: return (struct cpuid_result){0, sub ? 0 : BIT(0) | BIT(7) | BIT(20), sub ? 0 : BIT(2) | BIT(16), 0};
    case 0xd:
        return sub ? (struct cpuid_result){sub == 2 ? 256 : 0, sub == 2 ? 576 : 0, 0, 0}
                   : (struct cpuid_result){7, 0x340, 0x340, 0};
    case 0x80000000: return (struct cpuid_result){0x80000008, 0, 0, 0};
    case 0x80000001: return (struct cpuid_result){0, 0, 1, BIT(11) | BIT(20) | BIT(26) | BIT(29)};
    case 0x80000008: return (struct cpuid_result){0x3028, 0, 0, 0};
    default: return (struct cpuid_result){0, 0, 0, 0};
    }
}
bool cpuid_has_leaf(u32 leaf) { return leaf <= 0xd || leaf - 0x80000000 <= 8; }

u64 rdtsc(void) { return fake_hw.tsc += fake_hw.tsc_step; }
u64 read_cr0(void) { return fake_hw.cr0; }
void write_cr0(u64 v) { fake_hw.cr0 = v; }
u64 read_cr2(void) { return 0xbad; }
u64 read_cr3(void) { return fake_hw.cr3; }
void write_cr3(u64 v) { fake_hw.cr3 = v; }
u64 read_cr4(void) { return fake_hw.cr4; }
void write_cr4(u64 v) { fake_hw.cr4 = v; }
u64 read_dr6(void) { return fake_hw.dr6; }
void write_dr6(u64 v) { fake_hw.dr6 = v; }
u64 read_dr0(void) { return fake_hw.dr[0]; }
u64 read_dr1(void) { return fake_hw.dr[1]; }
u64 read_dr2(void) { return fake_hw.dr[2]; }
u64 read_dr3(void) { return fake_hw.dr[3]; }
u64 xgetbv0(void) { return fake_hw.xcr0; }
/* What core/vector.S does. */
void vector_move(enum vector_move what, u32 reg, void *memory) {
    bool wide = what == VECTOR_LOAD_WIDE || what == VECTOR_STORE_WIDE;
    u8 *r = fake_hw.vectors[reg];

    if (what == VECTOR_STORE || what == VECTOR_STORE_WIDE) {
        memcpy(memory, r, wide ? 32 : 16);
        return;
    }
    if (what != VECTOR_LOAD) memset(r, 0, 32);
    memcpy(r, memory, wide ? 32 : 16);
}
void xsetbv0(u64 value) { fake_hw.xcr0 = value; }
void cpu_cli(void) {}
void cpu_take_nmi(void) { fake_hw.nmis_taken++; }
void cpu_take_machine_check(void) { fake_hw.mcs_taken++; }
bool cpu_vmread(u64 field, u64 *value) { return fake_hw.vmread && fake_hw.vmread(field, value); }
bool cpu_vmwrite(u64 field, u64 value) { return (void)field, (void)value, fake_hw.vmread != NULL; }
void cpu_halt_forever(void) { machine_stop(STOP_HALT); }

void cpu_pause(void) {
    fake_hw.waits++;
    fake_hw.uart_blocked = false; /* while a core waits, the line gets empty */
    if (fake_hw.on_pause) fake_hw.on_pause();
    if (++fake_hw.pauses > 100000) machine_stop(STOP_SPIN);
}

/* Nothing is compiled with this guard here. */
void canary_choose(void) {}

/* --- drivers --- */

bool lapic_is_x2apic(void) { return false; }
u64 lapic_address(void) { return FAKE_LAPIC_PA; }
u32 lapic_id(void) { return fake_hw.lapic_id; }
void lapic_eoi(void) { fake_hw.eois++; }
void lapic_nmi_others(void) { fake_hw.nmis++; }
void lapic_timer_arm(u64 deadline) { fake_hw.timer = deadline; }
void lapic_send(u32 apic_id, u8 vector) {
    if (vector != VECTOR_KICK && vector != VECTOR_CONTROL) abort();
    fake_hw.kicks++;
    fake_hw.kicked_apic = apic_id;
}

static u16 uart;
bool uart_init(u16 port, void *memory) {
    uart = port;
    return port || memory;
}
bool uart_present(void) { return uart; }
u16 uart_port(void) { return uart; }
u32 uart_room(void) { return fake_hw.uart_blocked ? 0 : 16; }
void uart_put(u8 byte) {
    if (fake_hw.console_length < sizeof(fake_hw.console) - 1) fake_hw.console[fake_hw.console_length++] = (char)byte;
    if (!fake_hw.mark || !strstr(hardware_console(), fake_hw.mark)) return;
    fake_hw.mark = NULL;
    fake_hw.routed_then = fake_hw.routed_to;
}
bool uart_get(u8 *byte) {
    if (!fake_hw.keys || !*fake_hw.keys) return false;
    *byte = (u8)*fake_hw.keys++;
    return true;
}
void uart_receive_interrupt(bool on) { (void)on; }
void uart_flush(void) {}

void power_off(const struct host_acpi *acpi) {
    (void)acpi;
    machine_stop(STOP_POWER_OFF);
}

void descriptors_setup(void (*on_trap)(struct trap_frame *frame)) { (void)on_trap; }
void descriptors_drop_fault_stack(void) {}
void descriptors_load(struct core_descriptors *d, u64 fault_stack) { (void)d, (void)fault_stack; }
