#include "core/build.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/log.h"
#include "core/base/panic.h"
#include "core/base/string.h"
#include "core/base/layout.h"
#include "core/hostspace.h"
#include "core/policy/msr.h"

/* Cuts the partition's block into its parts: each 64-byte aligned, vendor pages page aligned. */
struct cutter {
    u8 *at; /* NULL on the first pass, which only adds up */
    u64 used;
};

static void *cut(struct cutter *c, u64 bytes, u64 align) {
    u64 start = align_up(c->used, align);

    c->used = start + bytes;
    return c->at ? c->at + start : NULL;
}

#define CUT(cutter, pointer, count, align)                                                                             \
    do {                                                                                                               \
        void *cut_ = cut(cutter, (count) * sizeof(*(pointer)), align);                                                 \
        if (cut_) (pointer) = cut_;                                                                                    \
    } while (0)

static hpa_t pa_of(const void *p) { return p ? hostspace_pa(p) : hpa(0); }

static bool is_controlled(u32 index) {
    for (u32 i = 0; i < machine.config->partition_count; i++)
        if (config_controls(machine.config, i, index)) return true;
    return false;
}

/* On pages of its own if others see it. */
static struct control *cut_control(struct cutter *c, const struct config_partition *config, bool controlled) {
    u64 bytes = CONTROL_BYTES(config->cpu_count);

    return cut(c, controlled ? align_up(bytes, PAGE_4K) : bytes, controlled ? PAGE_4K : 64);
}

static void cut_vcpu(struct cutter *c, struct partition *p, u32 index) {
    struct vcpu *v = cut(c, sizeof(*v), 64);
    void *block = cut(c, machine.vendor->block_bytes, PAGE_4K);

    if (!v) return;
    p->vcpus[index] = v;
    p->lapics[index] = &v->lapic;
    p->apic_ids[index] = index;
    v->hw.block = block;
    v->hw.block_pa = pa_of(block);
}

/* Lays out everything that belongs to a partition. Run twice: to measure, then to cut. */
static struct partition *lay_out(struct cutter *c, const struct config_partition *config, u32 max_pieces) {
    static struct partition scratch; /* stands in on the measuring pass */
    struct partition *p = cut(c, sizeof(*p), 64);
    void *tx, *rx;

    if (!p) p = &scratch;
    CUT(c, p->vcpus, config->cpu_count, 64);
    CUT(c, p->lapics, config->cpu_count, 64);
    CUT(c, p->apic_ids, config->cpu_count, 64);
    CUT(c, p->images, 2 + config->module_count, 64);
    CUT(c, p->pieces, max_pieces + 1, 64);
    CUT(c, p->regions, 2 * max_pieces + 5, 64);
    tx = cut(c, CONSOLE_RING_BYTES, 64);
    rx = cut(c, CONSOLE_RING_BYTES / 8, 64);
    p->controlled = is_controlled((u32)(config - machine.config->partitions));
    p->control = cut_control(c, config, p->controlled);
    p->hw.io_bitmap = cut(c, machine.vendor->io_bitmap_bytes, PAGE_4K);
    p->hw.msr_bitmap = cut(c, machine.vendor->msr_bitmap_bytes, PAGE_4K);
    p->hw.io_bitmap_pa = pa_of(p->hw.io_bitmap);
    p->hw.msr_bitmap_pa = pa_of(p->hw.msr_bitmap);
    for (u32 i = 0; i < config->cpu_count; i++) cut_vcpu(c, p, i);
    if (tx) {
        ring_init(&p->console_tx, tx, CONSOLE_RING_BYTES);
        ring_init(&p->console_rx, rx, CONSOLE_RING_BYTES / 8);
    }
    return p;
}

/* Memory for a firmware image. Returns how many regions it adds: none if its size is one that is refused when it is
 * loaded. */
static int place_rom(struct partition *p, u32 regions) {
    u64 bytes = p->images->bytes;
    struct piece *piece = &p->pieces[p->piece_count];

    if (bytes < PAGE_4K || bytes > GUEST_ROM_MAX) return 0;
    if (numa_place(&machine.boot->numa, machine.boot->frames, config_home_node(p->config, &machine.boot->numa), bytes,
                   piece, 1) != 1)
        refuse(
            "too little memory for the firmware of partition %s: it wants %llu KiB in one piece|give the machine more "
            "memory or the partitions less",
            p->config->name, (unsigned long long)bytes >> 10);
    region_add_firmware(p->regions, regions, piece->base, align_down(bytes, PAGE_4K));
    p->piece_count++;
    return 1;
}

/* On a machine with nodes: whether memory is near the cores. */
static void log_nodes(const struct partition *p) {
    const struct numa *numa = &machine.boot->numa;
    const struct config_partition *c = p->config;
    u32 home = config_home_node(c, numa);
    u64 near = numa_bytes_on(numa, home, p->pieces, p->piece_count);

    if (home == NODE_NONE) return;
    log_line("%s: %llu of %llu MiB lie on node %u, where its cores are%s", c->name, (unsigned long long)near >> 20,
             (unsigned long long)c->memory >> 20, home, near < c->memory ? "; WARNING: the rest is farther away" : "");
    for (u32 i = 0; i < c->cpu_count; i++)
        if (numa_node_of_core(numa, c->cpus[i].base) != home) {
            log_line("%s: WARNING: core %u is not on node %u", c->name, (u32)c->cpus[i].base, home);
            return;
        }
}

static int place_on_node(struct partition *p, u32 max_pieces) {
    const struct numa *numa = &machine.boot->numa;
    const struct config_partition *c = p->config;
    int n;

    if (!c->node_at.line)
        return numa_place(numa, machine.boot->frames, config_home_node(c, numa), c->memory, p->pieces, max_pieces);
    n = frames_place_on(machine.boot->frames, numa->ranges, numa->range_count, c->node, c->memory, p->pieces,
                        max_pieces);
    if (n < 0)
        refuse("too little memory on node %u for partition %s: it wants %llu MiB|lower `memory`, or leave `node` out: "
               "then "
               "other nodes help",
               c->node, c->name, (unsigned long long)c->memory >> 20);
    return n;
}

static void place(struct partition *p, u32 max_pieces) {
    const struct config_partition *c = p->config;
    const struct region *last;
    int n;

    if (c->fixed) {
        if (!frames_is_free(machine.boot->frames, c->address, c->memory) ||
            frames_reserve(machine.boot->frames, c->address, c->memory))
            refuse("partition %s: memory at 0x%llx is not free on this machine|choose another address, or leave "
                   "`address` out",
                   c->name, (unsigned long long)c->address);
        p->pieces[0] = (struct piece){hpa(c->address), c->memory};
        n = 1;
    } else {
        n = place_on_node(p, max_pieces);
    }
    if (n < 0)
        refuse("too little memory for partition %s: it wants %llu MiB, %llu MiB are free|give the machine more memory "
               "or lower `memory`",
               c->name, (unsigned long long)c->memory >> 20,
               (unsigned long long)frames_free_bytes(machine.boot->frames) >> 20);
    p->piece_count = (u32)n;
    log_nodes(p);
    n = region_list_build(p->pieces, p->piece_count, c->memory, p->regions, 2 * max_pieces + 4);
    if (n < 0) panic("partition %s: region list: %s", c->name, error_name(n));
    last = &p->regions[n - 1];
    p->code = (struct code_window){(const u8 *)(last->hpa.v + DIRECT_BASE), last->gpa.v, last->bytes};
    if (c->format == IMAGE_FIRMWARE) n += place_rom(p, (u32)n);
    p->memory = (struct gmem){p->regions, (u32)n, DIRECT_BASE, false};
}

static void map_stage2(struct partition *p) {
    struct pt pt;

    /* Tables of a partition with devices change later: they lie in its own block. */
    if (pt_init(&pt, machine.vendor->stage2, p->pci ? &p->pci->pool_mem : &hostspace_mem, machine.caps.max_leaf))
        panic("partition %s: no stage-2 root", p->config->name);
    for (u32 i = 0; i < p->memory.count; i++) {
        const struct region *r = &p->regions[i];
        int error = pt_map(&pt, r->gpa.v, r->hpa, r->bytes, r->rights, r->memtype);

        if (error)
            panic("partition %s: stage 2 at 0x%llx: %s", p->config->name, (unsigned long long)r->gpa.v,
                  error_name(error));
    }
    p->hw.stage2_root = pt.root;
    p->stage2_pages = pt.pages;
    pt_count_leaves(&pt, p->leaves);
    if (p->pci) p->pci->stage2 = pt;
}

static void open_bitmaps(struct partition *p) {
    const struct vendor_ops *ops = machine.vendor;

    for (u32 i = 0; i < p->config->port_count; i++)
        for (u64 k = 0; k < p->config->ports[i].bytes; k++)
            ops->allow_port(&p->hw, (u16)(p->config->ports[i].base + k));
    for (u32 i = 0; i < msr_table_count; i++) {
        const struct msr_entry *e = &msr_table[i];
        bool read = e->read == MSR_DIRECT, write = e->write == MSR_DIRECT;

        for (u32 msr = e->first; (read || write) && msr <= e->last; msr++) ops->allow_msr(&p->hw, msr, read, write);
    }
}

static void host_cpuid(void *ctx, u32 leaf, u32 sub, struct cpuid_regs *out) {
    struct cpuid_result r = cpuid(leaf, sub);

    (void)ctx;
    *out = (struct cpuid_regs){r.eax, r.ebx, r.ecx, r.edx};
}

u64 build_xcr0(void) { return policy_xcr0(host_cpuid, NULL); }

static void make_vcpu(struct partition *p, u32 index) {
    struct vcpu *v = p->vcpus[index];
    const struct cpuid_request request = {
        .host = host_cpuid,
        .apic_id = index,
        .vcpu = index,
        .vcpu_count = p->vcpu_count,
        .tsc_hz = machine.tsc_hz,
        .xcr0_allowed = machine.xcr0,
        .no_rdtscp = machine.caps.no_rdtscp,
        .no_invpcid = machine.caps.no_invpcid,
        .la57 = machine.caps.la57,
    };

    v->partition = p;
    v->index = index;
    v->core = (u32)p->config->cpus[index].base;
    v->exits = p->control->exits[index];
    v->host_apic = machine.boot->cores[v->core].apic_id;
    v->hw.partition = &p->hw;
    v->hw.asid = 1; /* the only guest that ever runs on its core */
    if (cpuid_table_build(&v->cpuid, &request)) panic("partition %s: cpuid table is too small", p->config->name);
    v->reserved = BIT(52) - BIT(min_u64(v->cpuid.ext[8].regs.eax & 0xff, 52));
}

const struct boot_module *build_find_module(const char *name) {
    for (u32 i = 0; i < machine.boot->module_count; i++)
        if (str_equal(machine.boot->modules[i].name, name)) return &machine.boot->modules[i];
    return NULL;
}

static void take_image(struct partition *p, const char *name) {
    const struct boot_module *m = build_find_module(name);

    p->images[p->image_count++] = (struct image_module){name, (const void *)(m->at.v + DIRECT_BASE), m->bytes};
}

struct partition *build_partition(const struct config_partition *c, struct console_input *input) {
    /* A free range gives at most a 1 GiB part with two ends; nodes cut it further. */
    const u32 max_pieces = 3 * (machine.boot->frames->count + machine.boot->numa.range_count);
    struct cutter measure = {0}, real = {0};
    struct partition *p;
    char why[200];

    lay_out(&measure, c, max_pieces);
    real.at = hostspace_take(measure.used);
    p = lay_out(&real, c, max_pieces);
    p->block = hostspace_pa(real.at);
    p->block_bytes = align_up(measure.used, PAGE_4K);
    p->config = c;
    p->vcpu_count = c->cpu_count;
    p->console.name = c->name;
    p->console.ring = &p->console_tx;
    p->input = input;
    input->source = &p->console;
    input->ring = &p->console_rx;
    input->ctx = p;
    take_image(p, c->kernel);
    if (c->initrd) take_image(p, c->initrd);
    for (u32 i = 0; i < c->module_count; i++) take_image(p, c->modules[i]);
    place(p, max_pieces);
    machine.vendor->partition_init(&p->hw);
    if (passthrough_build(p, why, sizeof(why))) {
        log_line(LOG_ERROR "%s: does not start: %s", c->name, why);
        p->over = true;
    }
    machine.controls[c - machine.config->partitions] = p->control;
    map_stage2(p);
    open_bitmaps(p);
    for (u32 i = 0; i < p->vcpu_count; i++) make_vcpu(p, i);
    for (u32 i = 0; i < p->memory.count; i++)
        log_line(LOG_DEBUG "%s: guest 0x%llx is 0x%llx, %llu KiB", c->name, (unsigned long long)p->regions[i].gpa.v,
                 (unsigned long long)p->regions[i].hpa.v, (unsigned long long)p->regions[i].bytes >> 10);
    input->apic_id = p->vcpus[0]->host_apic;
    p->wall_clock = machine.boot->wall_clock;
    log_line("%s: %u vcpus, %llu MiB in %u pieces, pages %llu x 1 GiB, %llu x 2 MiB, %llu x 4 KiB; %u KiB of "
             "hypervisor memory and %u KiB of tables",
             c->name, p->vcpu_count, (unsigned long long)c->memory >> 20, p->piece_count,
             (unsigned long long)p->leaves[3], (unsigned long long)p->leaves[2], (unsigned long long)p->leaves[1],
             (u32)(p->block_bytes >> 10), p->stage2_pages * 4);
    return p;
}
