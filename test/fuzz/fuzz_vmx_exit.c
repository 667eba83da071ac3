/* The exit decoder of VMX over arbitrary VMCS fields: VMREAD is an array. Input: a byte that says whether the fields
 * are arbitrary or of the form that the manual gives them, the exit reason, then the fields. Holds: a reason that
 * exists; what the reason needs is filled, in range, and what the manual's layout of the fields says, bit by bit; only
 * the fields that an exit may correct are written; the crash report fits. */
#include <string.h>

#include "core/base/cpu.h"
#include "core/base/x86.h"
#include "test/fuzz/fuzz.h"
#include "vmx/vmx.h"

struct vmx_info vmx;

static const u32 fields[] = {0x2400, 0x2806, 0x4400, 0x4402, 0x4404, 0x4406, 0x4408, 0x440a, 0x440c,
                             0x4816, 0x4824, 0x6004, 0x6400, 0x681a, 0x681c, 0x2802, 0x6820, 0x6822};
#define FIELDS ARRAY_SIZE(fields)
static u64 values[FIELDS];
static bool written[FIELDS];
static u32 handled; /* NMIs and machine checks of the host */

static u32 index_of(u64 field) {
    for (u32 i = 0; i < FIELDS; i++)
        if (fields[i] == field) return i;
    fprintf(stderr, "field 0x%llx\n", (unsigned long long)field);
    REQUIRE(false);
    return 0;
}
static u64 value_of(u32 field) { return values[index_of(field)]; }

bool cpu_vmread(u64 field, u64 *value) {
    *value = values[index_of(field)];
    return true;
}
bool cpu_vmwrite(u64 field, u64 value) {
    REQUIRE(field == 0x4824 || field == 0x6004 || field == 0x681a || field == 0x6822);
    values[index_of(field)] = value;
    written[index_of(field)] = true;
    return true;
}
u64 read_dr6(void) { return 0xffff0ff0; }
void write_dr6(u64 v) { REQUIRE((v & 0xffff0ff0) == 0xffff0ff0 && v >> 32 == 0); }
void cpu_take_nmi(void) { handled++; }
void cpu_take_machine_check(void) { handled++; }
void vmcs_failed(u32 field, const char *what) {
    (void)field, (void)what;
    abort();
}

/* 32-bit fields have 32 bits; natural ones 64. */
static void fill(struct input *in, bool as_documented) {
    u32 reason = (u32)take(in, 1);

    for (u32 i = 0; i < FIELDS; i++) values[i] = take(in, fields[i] >> 13 == 2 ? 4 : 8);
    values[index_of(0x4402)] = reason == 0xff ? take(in, 4) : reason == 0xfe ? 0x80000000u | take(in, 1) : reason;
    memset(written, 0, sizeof(written));
    if (!as_documented) return;
    values[index_of(0x440c)] = 1 + values[index_of(0x440c)] % 15;
    if (value_of(0x4402) == 30) { /* SDM Vol 3C, Exit Qualification for I/O Instructions: 0, 1 or 3 */
        static const u64 sizes[] = {0, 1, 3};

        values[index_of(0x6400)] = (values[index_of(0x6400)] & ~7ull) | sizes[values[index_of(0x6400)] % 3];
    }
}

static u64 bits(u64 value, u32 low, u32 count) { return value >> low & ((1ull << count) - 1); }

/* SDM Vol 3C, Information for VM Exits Due to Vectored Events, the interruption types, which a delivery that was cut
 * short has as well: 0 interrupt, 2 NMI, 3 exception, 4 INT n, 5 INT1, 6 INT3 or INTO. */
static void check_event(const struct vm_event *e, u32 info, u32 error_field, const struct vm_event *exited) {
    static const enum event_type types[8] = {EVENT_INTERRUPT,      EVENT_EXCEPTION,      EVENT_NMI,
                                             EVENT_EXCEPTION,      EVENT_SOFT_INTERRUPT, EVENT_SOFT_EXCEPTION,
                                             EVENT_SOFT_EXCEPTION, EVENT_EXCEPTION};

    REQUIRE(e->type == types[bits(info, 8, 3)] && e->vector == bits(info, 0, 8));
    REQUIRE(e->has_error == bits(info, 11, 1));
    if (e->has_error) REQUIRE(e->error == value_of(error_field));
    if (e->type == EVENT_SOFT_EXCEPTION) REQUIRE(e->length == value_of(0x440c));
    if (e->type == EVENT_SOFT_INTERRUPT && e != exited)
        REQUIRE(e->length == value_of(0x440c)); /* INT n does not exit */
}

/* SDM Vol 3C, Exit Qualification for I/O Instructions. */
static void check_io(const struct vm_exit *exit, u64 q) {
    REQUIRE(exit->io.port == bits(q, 16, 16) && exit->io.size == bits(q, 0, 3) + 1);
    REQUIRE(exit->io.in == bits(q, 3, 1) && exit->io.string == bits(q, 4, 1) && exit->io.rep == bits(q, 5, 1));
}

/* SDM Vol 3C, Exit Qualification for Control-Register Accesses. Type: to, from, CLTS, LMSW. */
static void check_cr(const struct vm_exit *exit, u64 q) {
    u64 type = bits(q, 4, 2);

    REQUIRE(exit->cr.known && exit->cr.number == bits(q, 0, 4) && exit->cr.gpr == bits(q, 8, 4));
    REQUIRE(exit->cr.write == (type != 1) && exit->cr.clts == (type == 2) && exit->cr.lmsw == (type == 3));
    REQUIRE(exit->cr.lmsw_value == bits(q, 16, 16));
}

/* SDM Vol 3C, Exit Qualification for EPT Violations. A walk: there is a linear address, and not its translation. */
static void check_stage2(const struct vm_exit *exit, u64 q) {
    u32 access =
        (bits(q, 0, 1) ? ACCESS_READ : 0u) | (bits(q, 1, 1) ? ACCESS_WRITE : 0u) | (bits(q, 2, 1) ? ACCESS_FETCH : 0u);

    REQUIRE(exit->stage2.access == access && exit->stage2.at.v == value_of(0x2400));
    REQUIRE(exit->stage2.walk == (bits(q, 7, 2) == 1));
}

static void check(const struct vcpu_hw *hw, const struct vm_exit *exit, bool core_sees, bool as_documented) {
    u32 code = (u32)value_of(0x4402);
    u64 q = value_of(0x6400);

    REQUIRE(exit->reason < EXIT_REASONS && exit->code == code);
    if (hw->interrupted.type != EVENT_NONE) check_event(&hw->interrupted, (u32)value_of(0x4408), 0x440a, NULL);
    if (!(value_of(0x4408) & EVENT_INFO_VALID)) REQUIRE(hw->interrupted.type == EVENT_NONE);
    if (as_documented) REQUIRE(exit->length <= 15 && hw->interrupted.length <= 15);
    REQUIRE(core_sees || (exit->reason == EXIT_CR && exit->cr.number == 0));
    REQUIRE(!written[index_of(0x6004)] || !core_sees); /* a CR0 that is tried again, and only that */
    if (code & ENTRY_FAILURE) REQUIRE(exit->reason == EXIT_INVALID);
    switch (exit->reason) {
    case EXIT_IO:
        REQUIRE(code == 30 && exit->length == value_of(0x440c));
        check_io(exit, q);
        if (as_documented) REQUIRE(exit->io.size == 1 || exit->io.size == 2 || exit->io.size == 4);
        break;
    case EXIT_CR:
        REQUIRE(code == 28 && exit->length == value_of(0x440c));
        check_cr(exit, q);
        if (!core_sees) REQUIRE(hw->cr0_shadow >> 32 == 0);
        break;
    case EXIT_STAGE2:
        REQUIRE(code == 48);
        check_stage2(exit, q);
        if (value_of(0x4408) & EVENT_INFO_VALID) REQUIRE(hw->interrupted.type != EVENT_NONE);
        break;
    case EXIT_EXCEPTION:
        REQUIRE(code == 0);
        check_event(&exit->event, (u32)value_of(0x4404), 0x4406, &exit->event);
        /* Checks on Guest Non-Register State: TF in a shadow, without BTF, wants BS pending. */
        if (exit->event.vector == VEC_DB && (value_of(0x4824) & 3) && (value_of(0x6820) & RFLAGS_TF) &&
            !(value_of(0x2802) & 2))
            REQUIRE(value_of(0x6822) & BIT(14));
        break;
    case EXIT_INTERRUPT: REQUIRE(code == 1 && exit->vector == (u8)value_of(0x4404)); break;
    case EXIT_TASK_SWITCH: /* SDM Vol 3C, Exit Qualification for Task Switches */
        REQUIRE(code == 9 && exit->task.selector == bits(q, 0, 16) && exit->task.source == bits(q, 30, 2));
        break;
    case EXIT_TIMER: REQUIRE(code == 52); break;
    default: break;
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};
    char text[160];

    while (in.left) {
        bool as_documented = take(&in, 1) & 1, core_sees;
        struct vcpu_hw hw = {.gpr = {take(&in, 8), CR0_PE, CR0_PG, CR0_CD | CR0_NW | CR0_PE}};
        struct vm_exit exit;

        memset(&exit, 0xa5, sizeof(exit));
        handled = 0;
        fill(&in, as_documented);
        core_sees = vmx_decode_exit(&hw, &exit);
        check(&hw, &exit, core_sees, as_documented);
        if (handled) REQUIRE(handled == 1 && exit.reason == EXIT_NMI);
        memset(text, 'x', sizeof(text));
        vmx_dump(&hw, text, sizeof(text));
        REQUIRE(memchr(text, 0, sizeof(text)));
    }
    return 0;
}
