/* Core under an arbitrary guest, whatever the processor says about it: exits, registers, code and events through the
 * real run loop and handlers, on the fake machine; two PCI functions are its own. Input: records that each start with
 * an operation. Holds: no panic, nothing that waits for ever, the partition beside it keeps every byte, and stage 2
 * leads to its own memory and to the functions' only. */
#include <string.h>

#include "core/base/bits.h"
#include "core/base/layout.h"
#include "core/base/panic.h"
#include "core/base/x86.h"
#include "drivers/lapic.h"
#include "test/fake/boot.h"
#include "test/fake/pci.h"
#include "test/fuzz/fuzz.h"

static const char config[] =
    "[partition.one]\ncpus = [0, 1]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\nload = 0x100000\n"
    "entry = 0x100000\nrestart = { on = \"always\" }\npci = [\"00:03.0 irq 20\", \"00:04.0\"]\n"
    "[partition.two]\ncpus = [2]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\nload = 0x100000\n"
    "entry = 0x100000\n";

static u8 *others_block, *others_memory; /* copies */

static void *block_of(const struct partition *p) { return (void *)(p->block.v + DIRECT_BASE); }
static void *memory_of(const struct partition *p) { return (void *)(p->pieces[0].base.v + DIRECT_BASE); }

#define BARS  MIB(40) /* of both functions */
#define TABLE (BARS + 0x11000)

static void make_bus(void) {
    struct fake_function *f = fake_pci_add(0x18, 0x1234, 1, 0x020000);

    fake_iommu.present = true;
    fake_pci_bar(f, 0, KIB(16), 0, BARS);
    fake_pci_bar(f, 1, KIB(16), 4, BARS + 0x10000);
    fake_pci_bar(f, 3, 32, 1, 0xc000);
    fake_pci_bar(f, PCI_BARS, KIB(64), 0, BARS + 0x20000);
    fake_pci_msi(f, true, false);
    fake_pci_msix(f, 4, 1, 0x1000);
    fake_pci_flr(f);
    f = fake_pci_add(0x20, 0x1234, 2, 0x010802);
    fake_pci_bar(f, 0, MIB(2), 0, BARS + MIB(2));
    fake_pci_bar(f, PCI_BARS, KIB(64), 0, 0);
    fake_pci_msi(f, false, true);
    fake_pci_pm(f);
}

static void start(void) {
    const struct partition *two;

    hardware_make();
    make_bus();
    REQUIRE(fake_boot(config, 3, MIB(32)) == STOP_SCRIPT);
    two = fake_partition(1);
    others_block = malloc(two->block_bytes);
    others_memory = malloc(MIB(2));
    memcpy(others_block, block_of(two), two->block_bytes);
    memcpy(others_memory, memory_of(two), MIB(2));
}

/* A number of the kind that matters somewhere. */
static u64 number(struct input *in) {
    static const u64 known[] = {0,          1,           0x100000,       0x20fff,  0xfee00000, 0xfec00000, 0xfee00ffc,
                                0xd0000000, 0x100000000, 0x7fffffffffff, ~0ull,    0x830,      0x6e0,      0xc0000080,
                                0x1b,       0xffffffff,  0x3f8,          0x1f0000, 0x80000000, 0x10,       0x9ffff};
    u32 which = (u32)take(in, 1);

    if (which < 0x60) return known[which % ARRAY_SIZE(known)] + (which & 1 ? take(in, 1) : 0);
    return take(in, which < 0xa0 ? 2 : which < 0xd0 ? 4 : 8);
}

/* As the decoders promise it (fuzz_svm_exit, fuzz_vmx_exit). */
static struct vm_exit an_exit(struct input *in) {
    struct vm_exit e = {.reason = (u32)take(in, 1) % EXIT_REASONS, .length = (u32)take(in, 1) % 16};
    u32 bits = (u32)take(in, 1);

    switch (e.reason) {
    case EXIT_IO:
        e.io.port = (u16)number(in);
        e.io.size = (u8)(1u << bits % 3);
        e.io.in = bits & 4;
        e.io.string = bits & 8;
        e.io.rep = bits & 16;
        break;
    case EXIT_STAGE2:
        e.stage2.at = gpa(number(in));
        e.stage2.access = 1u << bits % 3;
        e.stage2.walk = (bits & 0xf0) == 0xf0;
        break;
    case EXIT_CR:
        e.cr.number = bits & 15;
        e.cr.gpr = (u8)take(in, 1) & 15;
        e.cr.write = bits & 16;
        e.cr.clts = (bits & 0x60) == 0x60;
        e.cr.lmsw = (bits & 0xa0) == 0xa0;
        e.cr.known = bits & 0x10;
        break;
    case EXIT_INTERRUPT:
        e.vector = (u8)(bits & 1   ? VECTOR_TIMER
                        : bits & 2 ? VECTOR_UART
                        : bits & 4 ? PASS_FIRST_VECTOR + (bits >> 3)
                                   : VECTOR_KICK + bits % 15);
        break;
    case EXIT_EXCEPTION:
        e.event = (struct vm_event){bits & 1 ? EVENT_EXCEPTION : EVENT_SOFT_EXCEPTION, bits >> 3, bits & 2, bits, 1};
        break;
    default: break;
    }
    return e;
}

static void state(struct input *in, struct fake_vcpu *f) {
    u32 which = (u32)take(in, 1);
    u64 value = number(in);

    switch (which % 8) {
    case 0: f->reg[REG_RFLAGS] = value | RFLAGS_FIXED; break;
    case 1: f->reg[REG_RFLAGS] |= RFLAGS_IF; break;
    case 2: f->reg[REG_EFER] = value & (EFER_SCE | EFER_LME | EFER_LMA | EFER_NXE); break;
    case 3: f->reg[REG_CR4] = value; break;
    case 4: f->reg[REG_CR3] = value; break;
    case 5: f->seg[which / 8 % VSEG_COUNT] = (struct segment){8, (u16)value, true, 0xffffffff, value}; break;
    case 6: f->reg[REG_CPL] = value & 3; break;
    default: f->intr_blocked = value & 1, f->nmi_blocked = value & 2; break;
    }
}

static void code(struct input *in, struct vcpu *v) {
    u64 at = fake_of(&v->hw)->reg[REG_RIP] & 0x1fffff;
    u32 count = (u32)take(in, 1) % 16;
    u8 *to = gmem_ptr(&v->partition->memory, gpa(at), 16, true);

    for (u32 i = 0; i < count; i++) {
        u8 byte = (u8)take(in, 1);

        if (to) to[i] = byte;
    }
}

/* A partition that has powered itself off is there again. */
static void revive(struct partition *p) {
    p->over = false;
    p->stopped = 0;
    p->ending = END_NONE;
    for (u32 i = 0; i < p->vcpu_count; i++) p->vcpus[i]->requests = 0;
}

static void play(struct vcpu *v, const struct vm_exit *exits, u32 count) {
    enum stop why = fake_play(v, exits, count);

    REQUIRE(!panic_in_progress());
    REQUIRE(why != STOP_SPIN && why != STOP_NONE);
    if (why == STOP_HALT || why == STOP_POWER_OFF) {
        REQUIRE(v->partition->over);
        revive(v->partition);
        partition_end(v->partition, END_RESET);
        REQUIRE(fake_play(v, NULL, 0) != STOP_SPIN);
    }
}

/* Where the guest's address leads: its own memory, or BARs without the page of the MSI-X table. */
static void check_stage2(u64 at) {
    struct partition *p = fake_partition(0);
    struct pt_lookup found = pt_lookup(&p->pci->stage2, at);

    if (!found.leaf_level || found.at.v - p->pieces[0].base.v < p->pieces[0].bytes) return;
    REQUIRE(found.at.v - BARS < MIB(4) && found.at.v - TABLE >= PAGE_4K);
    REQUIRE(at >= GUEST_PCI_HOLE && at < GUEST_ECAM_BASE);
}

/* Configuration space, a BAR's place, or anywhere. */
static void bus(struct input *in, struct vcpu *v, bool write) {
    u32 how = (u32)take(in, 1), size = 1u << how % 3, offset = (u32)take(in, 2);
    const struct passthrough *t = v->partition->pci;
    u64 at = GUEST_ECAM_BASE + 0x8000 + (how & 4 ? 0x8000 : 0) + (offset & 0x1ff);

    if (how & 8) at = (how & 16 ? t->functions[0].placed[how >> 5 & 1] : t->guest[0].home[1]) + offset % 0x4000;
    if ((how & 0xf8) == 0x80) at = number(in);
    fake_on_core(v->core);
    if (write)
        partition_memory_write(v, at, size, (u32)number(in));
    else
        (void)partition_memory_read(v, at, size);
    for (u32 i = 0; i < t->count; i++)
        for (u32 bar = 0; bar <= PCI_BARS; bar++) {
            check_stage2(t->functions[i].placed[bar]);
            check_stage2(t->functions[i].wanted[bar] + 0x1000);
        }
    check_stage2(at);
}

static void step(struct input *in) {
    u32 what = (u32)take(in, 1);
    struct vcpu *v = fake_vcpu(what >> 7);
    struct vm_exit exit;

    switch (what & 7) {
    case 0: v->hw.gpr[take(in, 1) & 15] = number(in); break;
    case 1: state(in, fake_of(&v->hw)); break;
    case 2: code(in, v); break;
    case 3: fake_of(&v->hw)->reg[REG_RIP] = number(in); break;
    case 4:
        fake_hw.tsc += take(in, 4) & 0xffffff;
        fake_hw.keys = what & 8 ? "a\x1d"
                                  "b\n"
                                : NULL;
        fake_hw.uart_blocked = what & 16;
        fake_cpu.wake = what & 32;
        fake_cpu.posts = what & 64;
        fake_script.posted_taken = what & 128;
        break;
    case 5:
        fake_script.cut = (struct vm_event){.type = what >> 3 & 7, .vector = (u8)take(in, 1)};
        if (fake_script.cut.type > EVENT_SOFT_EXCEPTION) fake_script.cut.type = EVENT_NMI;
        if (fake_script.cut.type == EVENT_EXCEPTION) fake_script.cut.vector &= 31;
        break;
    case 6: bus(in, v, what & 8); break;
    default:
        exit = an_exit(in);
        play(v, &exit, 1);
        break;
    }
}

int LLVMFuzzerTestOneInput(const u8 *data, size_t size) {
    struct input in = {data, size};

    if (!others_block) start();
    fake_hw.uart_blocked = fake_cpu.wake = fake_cpu.posts = false;
    fake_hw.keys = NULL;
    hardware_forget_console();
    partition_end(fake_partition(0), END_RESET);
    play(fake_vcpu(0), NULL, 0);
    for (u32 steps = 0; in.left && steps < 200; steps++) step(&in);
    fake_script.cut.type = EVENT_NONE;
    REQUIRE(!memcmp(others_memory, memory_of(fake_partition(1)), MIB(2)));
    REQUIRE(!memcmp(others_block, block_of(fake_partition(1)), fake_partition(1)->block_bytes));
    return 0;
}
