/* The exit decoder of SVM over arbitrary control blocks. Input: a byte that says whether the fields are arbitrary or of
 * the form that the manual gives them, the exit code, then the fields. Holds: a reason that exists; what the reason
 * needs is filled, in range, and what the manual's layout of the fields says, bit by bit; nothing but *exit and
 * hw->interrupted is changed. */
#include <string.h>

#include "svm/svm.h"
#include "test/fuzz/fuzz.h"

bool svm_next_rip;
bool svm_flush_by_asid;

static struct vmcb block, before;

static void fill(struct input *in, bool as_documented) {
    struct vmcb_control *c = &block.control;
    u32 code = (u32)take(in, 2);

    c->exit_code = code == 0xffff ? 0xffffffff : code % 0x500;
    if (code > 0xfff0 && code < 0xffff) c->exit_code = take(in, 8);
    c->exit_info_1 = take(in, 8);
    c->exit_info_2 = take(in, 8);
    c->exit_int_info = take(in, 8);
    c->next_rip = take(in, 8);
    block.save.rip = take(in, 8);
    svm_next_rip = take(in, 1) & 1;
    if (!as_documented) return;
    /* APM Vol 2, IOIO Intercepts: one size; and the next rip, one instruction further. */
    c->next_rip = block.save.rip + 1 + c->next_rip % 15;
    if (c->exit_code == VMEXIT_IOIO) {
        c->exit_info_1 = (c->exit_info_1 & ~(u64)0x70) | 0x10ull << c->exit_info_1 % 3;
        c->exit_info_2 = block.save.rip + 1 + c->exit_info_2 % 15;
    }
}

static u64 bits(u64 value, u32 low, u32 count) { return value >> low & ((1ull << count) - 1); }

/* APM Vol 2, Event Injection, Figure EVENTINJ, which EXITINTINFO shares: type in bits 10:8, error code valid in 11.
 * What an instruction raised is raised again by it; QEMU calls a virtual interrupt an exception. */
static void check_interrupted(const struct vm_event *e) {
    u64 info = block.control.exit_int_info, vector = bits(info, 0, 8), type = bits(info, 8, 3);
    enum event_type want = EVENT_NONE;

    if (type == 0 || (type == 3 && vector >= 32)) want = EVENT_INTERRUPT;
    if (type == 2) want = EVENT_NMI;
    if (type == 3 && vector < 32 && vector != 3 && vector != 4) want = EVENT_EXCEPTION;
    if (!bits(info, 31, 1)) want = EVENT_NONE;
    REQUIRE(e->type == want);
    if (want == EVENT_NONE) return;
    REQUIRE(e->vector == vector && e->has_error == bits(info, 11, 1));
    if (e->has_error) REQUIRE(e->error == bits(info, 32, 32));
}

/* APM Vol 2, IOIO Intercepts. */
static void check_io(const struct vm_exit *exit) {
    u64 info = block.control.exit_info_1;

    REQUIRE(exit->io.port == bits(info, 16, 16) && exit->io.size == bits(info, 4, 3));
    REQUIRE(exit->io.in == bits(info, 0, 1) && exit->io.string == bits(info, 2, 1) && exit->io.rep == bits(info, 3, 1));
    REQUIRE(exit->length == (u32)(block.control.exit_info_2 - block.save.rip));
}

/* Vectors 0 to 31 at 0x40 to 0x5f. APM Vol 2, Vectors: which push an error code; of those only #AC is intercepted. */
static void check_exception(const struct vm_event *e, u64 code) {
    REQUIRE(e->type == EVENT_EXCEPTION && e->vector == code - 0x40);
    REQUIRE(e->has_error == (code == 0x51));
    if (e->has_error) REQUIRE(e->error == (u32)block.control.exit_info_1);
}

static void check(const struct vcpu_hw *hw, const struct vm_exit *exit, bool as_documented) {
    u64 code = (u32)block.control.exit_code;

    REQUIRE(exit->reason < EXIT_REASONS);
    REQUIRE(exit->code == code);
    check_interrupted(&hw->interrupted);
    if (as_documented) REQUIRE(exit->length <= 15);
    if (!svm_next_rip && exit->reason != EXIT_IO) REQUIRE(exit->length == 0);
    switch (exit->reason) {
    case EXIT_IO:
        REQUIRE(code == VMEXIT_IOIO);
        check_io(exit);
        if (as_documented) REQUIRE(exit->io.size == 1 || exit->io.size == 2 || exit->io.size == 4);
        break;
    case EXIT_STAGE2:
        REQUIRE(code == VMEXIT_NPF && exit->length == 0 && exit->stage2.at.v == block.control.exit_info_2);
        /* APM Vol 2, Nested versus Guest Page Faults, Fault Ordering: as in #PF, and bit 33 the guest's own tables. */
        REQUIRE(exit->stage2.walk == bits(block.control.exit_info_1, 33, 1));
        REQUIRE(exit->stage2.access == (bits(block.control.exit_info_1, 4, 1)   ? ACCESS_FETCH
                                        : bits(block.control.exit_info_1, 1, 1) ? ACCESS_WRITE
                                                                                : ACCESS_READ));
        break;
    case EXIT_CR: REQUIRE(code <= VMEXIT_CR15_WRITE && !exit->cr.known); break;
    case EXIT_EXCEPTION: check_exception(&exit->event, code); break;
    case EXIT_INTERRUPT: REQUIRE(exit->vector == 0); break;
    case EXIT_WRMSR: REQUIRE(code == VMEXIT_MSR && block.control.exit_info_1); break;
    case EXIT_RDMSR: REQUIRE(code == VMEXIT_MSR && !block.control.exit_info_1); break;
    case EXIT_TIMER: REQUIRE(false); break;
    default: break;
    }
    if (svm_next_rip && exit->reason != EXIT_IO && exit->reason != EXIT_STAGE2 && code <= VMEXIT_RDPRU &&
        exit->reason != EXIT_UNEXPECTED)
        REQUIRE(exit->length == (u32)(block.control.next_rip - block.save.rip));
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};

    while (in.left) {
        bool as_documented = take(&in, 1) & 1;
        struct vcpu_hw hw = {.block = &block}, same;
        struct vm_exit exit;

        memset(&exit, 0xa5, sizeof(exit));
        fill(&in, as_documented);
        before = block;
        svm_decode_exit(&hw, &exit);
        check(&hw, &exit, as_documented);
        same = (struct vcpu_hw){.block = &block, .interrupted = hw.interrupted};
        REQUIRE(!memcmp(&before, &block, sizeof(block)) && !memcmp(hw.gpr, same.gpr, sizeof(same.gpr)));
    }
    return 0;
}
