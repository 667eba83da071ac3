/* The exit decoder of SVM over arbitrary control blocks. Input: a byte that says whether the fields are arbitrary or of
 * the form that the manual gives them, the exit code, then the fields. Holds: a reason that exists; what the reason
 * needs is filled and in range; nothing but *exit and hw->interrupted is changed. */
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

static void check_event(const struct vm_event *e) { REQUIRE(e->type <= EVENT_SOFT_EXCEPTION); }

static void check(const struct vcpu_hw *hw, const struct vm_exit *exit, bool as_documented) {
    u64 code = (u32)block.control.exit_code;

    REQUIRE(exit->reason < EXIT_REASONS);
    REQUIRE(exit->code == code);
    check_event(&hw->interrupted);
    /* An instruction that raises its event anew is not delivered for it. */
    REQUIRE(hw->interrupted.type != EVENT_SOFT_INTERRUPT && hw->interrupted.type != EVENT_SOFT_EXCEPTION);
    if (!(block.control.exit_int_info & EVENT_VALID)) REQUIRE(hw->interrupted.type == EVENT_NONE);
    if (as_documented) REQUIRE(exit->length <= 15);
    if (!svm_next_rip && exit->reason != EXIT_IO) REQUIRE(exit->length == 0);
    switch (exit->reason) {
    case EXIT_IO:
        REQUIRE(code == VMEXIT_IOIO && exit->io.port == (u16)(block.control.exit_info_1 >> 16));
        if (as_documented) REQUIRE(exit->io.size == 1 || exit->io.size == 2 || exit->io.size == 4);
        break;
    case EXIT_STAGE2:
        REQUIRE(code == VMEXIT_NPF && exit->length == 0 && exit->stage2.at.v == block.control.exit_info_2);
        REQUIRE(exit->stage2.access == ACCESS_READ || exit->stage2.access == ACCESS_WRITE ||
                exit->stage2.access == ACCESS_FETCH);
        break;
    case EXIT_CR: REQUIRE(code <= VMEXIT_CR15_WRITE && !exit->cr.known); break;
    case EXIT_EXCEPTION: REQUIRE(exit->event.type == EVENT_EXCEPTION && exit->event.vector < 32); break;
    case EXIT_INTERRUPT: REQUIRE(exit->vector == 0); break;
    case EXIT_WRMSR: REQUIRE(code == VMEXIT_MSR && block.control.exit_info_1); break;
    case EXIT_RDMSR: REQUIRE(code == VMEXIT_MSR && !block.control.exit_info_1); break;
    case EXIT_TIMER: REQUIRE(false); break;
    default: break;
    }
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
