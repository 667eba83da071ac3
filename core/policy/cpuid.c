/* The CPUID table of one vCPU. An allow-list: each leaf starts from zero and takes from the machine
 * only the bits named here, so that a feature of a later CPU is absent until somebody has thought
 * about its state, its MSRs and its exits.
 * Sources: SDM Vol 2A, CPUID; APM Vol 3, appendix E. Boot core, before start; cpuid_answer (in
 * cpuid_answer.c) on the vCPU's core. */
#include "core/policy/cpuid.h"

#include "core/base/bits.h"
#include "core/base/errors.h"
#include "core/base/string.h"
#include "core/policy/cpuid_bits.h"

#define EXT 0x80000000u
#define HYP 0x40000000u
#define KVM 0x40000100u

/* What the guest may ask. Leaves 0xb, 0x15 and 0x16 are made here, so they exist on any machine:
 * with them Linux needs no calibration on Intel. */
#define MAX_BASIC     0x16u
#define MAX_EXT_AMD   (EXT + CPUID_EXT - 1)
#define MAX_EXT_INTEL (EXT + 8)
#define MAX_HYP       (HYP + 0x10)

#define CACHE_LEVELS 8u /* subleaves of leaf 4 and 0x8000001d looked at, at most */

struct build {
    struct cpuid_table *t;
    const struct cpuid_request *rq;
    u32 host_basic, host_ext;
    bool amd, caches_amd;
    u32 core_bits; /* bits of an APIC id that tell cores apart; ids are 0 ... vcpu_count - 1 */
    u32 subs;      /* used entries of t->sub */
    bool full;
};

/* The machine's answer; zeros for a leaf that it does not have (Intel would repeat the last one).
 */
static struct cpuid_regs host(const struct build *b, u32 leaf, u32 sub) {
    struct cpuid_regs r = {0};

    if (leaf < EXT ? leaf <= b->host_basic : leaf <= b->host_ext) b->rq->host(b->rq->ctx, leaf, sub, &r);
    return r;
}

static u32 when(bool condition, u32 bits) { return condition ? bits : 0; }

/* Appends a subleaf to the entry; the subleaves of one entry are added in order, nothing between.
 */
static void add_sub(struct build *b, struct cpuid_entry *e, struct cpuid_regs r) {
    if (b->subs == CPUID_SUBS) {
        b->full = true;
        return;
    }
    if (e->subs == 0) e->first = (u16)b->subs;
    e->flags |= CPUID_SUBLEAVES;
    e->subs++;
    b->t->sub[b->subs++] = r;
}

static void feature_leaves(struct build *b) {
    const struct cpuid_request *rq = b->rq;
    bool xsave = rq->xcr0_allowed != 0, avx = (rq->xcr0_allowed & XCR0_AVX) != 0;
    struct cpuid_regs r = host(b, 1, 0);
    u32 ids = (u32)min_u64(BIT(b->core_bits), 255);

    b->t->basic[1].regs = (struct cpuid_regs){
        .eax = r.eax,
        .ebx = (r.ebx & L1_EBX_CLFLUSH) | ids << 16 | (rq->apic_id & 0xff) << 24,
        .ecx = (r.ecx & (L1_ECX_PLAIN | when(xsave, L1_ECX_XSAVE) | when(avx, L1_ECX_AVX))) | L1_ECX_ALWAYS,
        .edx = (r.edx & L1_EDX_PLAIN) | when(rq->vcpu_count > 1, L1_EDX_HTT),
    };
    b->t->basic[1].flags = CPUID_OSXSAVE;
    r = host(b, 2, 0);
    b->t->basic[2].regs = r;
    /* The LAPIC timer is emulated and never stops: ARAT, whatever the machine's own does. */
    b->t->basic[6].regs.eax = L6_EAX_ARAT;
}

static bool has_la57(const struct build *b) { return b->rq->la57 && host(b, 7, 0).ecx & L7_ECX_LA57; }

static void leaf_7(struct build *b) {
    u64 xcr0 = b->rq->xcr0_allowed;
    bool avx = (xcr0 & XCR0_AVX) != 0, avx512 = (xcr0 & XCR0_AVX512) == XCR0_AVX512;
    struct cpuid_regs r = host(b, 7, 0);

    r.ebx &= ~when(b->rq->no_invpcid, L7_EBX_INVPCID);
    r.ecx &= ~when(b->rq->no_rdtscp, L7_ECX_RDPID);
    /* EAX 0: subleaf 1 and above are not offered. */
    add_sub(b, &b->t->basic[7],
            (struct cpuid_regs){
                .ebx = (r.ebx & (L7_EBX_PLAIN | when(avx, L7_EBX_AVX) | when(avx512, L7_EBX_AVX512))) | L7_EBX_ALWAYS,
                .ecx = r.ecx & (L7_ECX_PLAIN | when(has_la57(b), L7_ECX_LA57) | when(avx, L7_ECX_AVX) |
                                when(avx512, L7_ECX_AVX512)),
                .edx = r.edx & (L7_EDX_PLAIN | when(avx512, L7_EDX_AVX512)),
            });
}

/* Leaves 4 (Intel) and 0x8000001d (AMD) have one form. EAX[25:14] becomes 0: no cache is shared, a
 * partition's cores need not be neighbours on the machine. */
static void cache_leaf(struct build *b, u32 leaf, struct cpuid_entry *e, u32 cores_field) {
    for (u32 i = 0; i < CACHE_LEVELS; i++) {
        struct cpuid_regs r = host(b, leaf, i);

        if ((r.eax & 0x1f) == 0) /* type: no more caches */
            return;
        r.eax = (r.eax & 0x3fff) | cores_field << 26;
        add_sub(b, e, r);
    }
}

/* Extended topology: one package of single-threaded cores. */
static void leaf_b(struct build *b) {
    u32 id = b->rq->apic_id;

    add_sub(b, &b->t->basic[0xb], (struct cpuid_regs){0, 1, L_B_SMT << 8, id});
    add_sub(b, &b->t->basic[0xb], (struct cpuid_regs){b->core_bits, b->rq->vcpu_count, L_B_CORE << 8 | 1, id});
}

/* XSAVE areas. Sizes of the enabled state are patched at the exit; here they are for all that is
 * allowed. No XSAVES: no supervisor state is offered (IA32_XSS does not exist). */
static void leaf_d(struct build *b) {
    struct cpuid_entry *e = &b->t->basic[0xd];
    u64 allowed = b->rq->xcr0_allowed;
    u32 size = XSAVE_LEGACY_BYTES;
    struct cpuid_regs parts[XCR0_PARTS] = {{0}};

    if (!allowed || b->host_basic < 0xd) return;
    for (u32 i = 2; i < XCR0_PARTS; i++) {
        if (!(allowed & BIT(i))) continue;
        parts[i] = host(b, 0xd, i);
        parts[i].ecx &= LD_ECX_ALIGN;
        parts[i].edx = 0;
        size = (u32)max_u64(size, (u64)parts[i].eax + parts[i].ebx);
    }
    add_sub(b, e, (struct cpuid_regs){(u32)allowed, size, size, 0});
    add_sub(b, e, (struct cpuid_regs){host(b, 0xd, 1).eax & LD1_EAX_PLAIN, 0, 0, 0});
    for (u32 i = 2; i < XCR0_PARTS && allowed >> i; i++) add_sub(b, e, parts[i]);
    e->flags |= CPUID_XSAVE_NOW;
}

/* The crystal is the TSC, which is also the input clock of the emulated LAPIC timer: Linux takes
 * the crystal for that. A TSC above 4.29 GHz does not fit the field; then the guest calibrates. */
static void clock_leaves(struct build *b) {
    u64 hz = b->rq->tsc_hz;

    if (hz <= 0xffffffff) b->t->basic[0x15].regs = (struct cpuid_regs){1, 1, (u32)hz, 0};
    b->t->basic[0x16].regs.eax = (u32)((hz + 500000) / 1000000);
    b->t->basic[0x16].regs.ebx = b->t->basic[0x16].regs.eax;
}

static struct cpuid_regs *ext(struct build *b, u32 leaf) { return &b->t->ext[leaf - EXT].regs; }

static void ext_features(struct build *b) {
    bool avx = (b->rq->xcr0_allowed & XCR0_AVX) != 0;
    struct cpuid_regs r = host(b, EXT + 1, 0);

    r.edx &= ~when(b->rq->no_rdtscp, E1_EDX_RDTSCP);
    *ext(b, EXT + 1) = (struct cpuid_regs){
        .eax = r.eax,
        .ecx = (r.ecx & (E1_ECX_PLAIN | when(avx, E1_ECX_AVX))) |
               when(b->amd && b->rq->vcpu_count > 1, E1_ECX_CMP_LEGACY) | when(b->caches_amd, E1_ECX_TOPOEXT),
        .edx = r.edx & (E1_EDX_PLAIN | when(b->amd, E1_EDX_AMD_COPY)),
    };
    if (b->amd) b->t->ext[1].flags = CPUID_APIC;
}

static void ext_leaves(struct build *b) {
    struct cpuid_regs r;
    u32 cores = b->rq->vcpu_count;

    ext_features(b);
    for (u32 leaf = EXT + 2; leaf <= EXT + 6; leaf++) /* brand string, AMD's caches and TLBs */
        *ext(b, leaf) = host(b, leaf, 0);
    ext(b, EXT + 7)->edx = host(b, EXT + 7, 0).edx & E7_EDX_INVARIANT_TSC;
    r = host(b, EXT + 8, 0);
    /* Stage 2 has four levels: physical addresses of 48 bits, whatever the machine has beyond. */
    ext(b, EXT + 8)->eax = (u32)min_u64(r.eax & 0xff, 48) | (has_la57(b) ? 57u : 48u) << 8;
    if (!b->amd) return;
    ext(b, EXT + 8)->ebx = r.ebx & E8_EBX_PLAIN;
    ext(b, EXT + 8)->ecx = (u32)min_u64(cores - 1, 255) | b->core_bits << 12;
    *ext(b, EXT + 0x19) = host(b, EXT + 0x19, 0); /* TLBs for 1 GiB pages */
    ext(b, EXT + 0x1a)->eax = host(b, EXT + 0x1a, 0).eax & E1A_EAX_PLAIN;
    ext(b, EXT + 0x21)->eax = host(b, EXT + 0x21, 0).eax & E21_EAX_PLAIN;
    if (!b->caches_amd) return;
    cache_leaf(b, EXT + 0x1d, &b->t->ext[0x1d], 0);
    /* One thread per core, one node: APM Vol 3, Function 8000_001Eh. */
    *ext(b, EXT + 0x1e) = (struct cpuid_regs){b->rq->apic_id, b->rq->vcpu & 0xff, 0, 0};
}

/* A hypervisor's first leaf: its last, and its name in EBX, ECX and EDX. */
static struct cpuid_regs hyp_leaf(u32 last, const char *name) {
    struct cpuid_regs r = {.eax = last};

    memcpy((u8 *)&r + sizeof(r.eax), name, 12);
    return r;
}

static void hyp_leaves(struct build *b) {
    u32 khz = (u32)(b->rq->tsc_hz / 1000);

    b->t->hyp[0].regs = hyp_leaf(MAX_HYP, "MullionMulli");
    /* TSC and LAPIC timer input, as other hypervisors give them in this leaf. */
    b->t->hyp[0x10].regs = (struct cpuid_regs){khz, khz, 0, 0};
    /* Where nobody reads leaf 15H, Linux takes the frequency of KVM's clock (Documentation/virt/kvm, KVM CPUID bits).
     * On others it would only get before the TSC as a clock. */
    if (!b->amd && b->rq->tsc_hz <= 0xffffffff) return;
    b->t->kvm[0].regs = hyp_leaf(KVM + 1, "KVMKVMKVM\0\0");
    b->t->kvm[1].regs.eax = KVM_CLOCKSOURCE2 | KVM_CLOCKSOURCE_STABLE;
}

static bool vendor_is(struct cpuid_regs r, const char *name) {
    return memcmp(&r.ebx, name, 4) == 0 && memcmp(&r.edx, name + 4, 4) == 0 && memcmp(&r.ecx, name + 8, 4) == 0;
}

/* Leaves 0: how far each class goes, and the maker's name. */
static void first_leaves(struct build *b) {
    struct cpuid_regs r;

    b->rq->host(b->rq->ctx, 0, 0, &r);
    b->host_basic = r.eax;
    b->amd = vendor_is(r, "AuthenticAMD") || vendor_is(r, "HygonGenuine");
    r.eax = MAX_BASIC;
    b->t->basic[0].regs = r;
    b->rq->host(b->rq->ctx, EXT, 0, &r);
    b->host_ext = r.eax < EXT ? EXT : r.eax;
    b->caches_amd = b->amd && b->host_ext >= EXT + 0x1e && host(b, EXT + 1, 0).ecx & E1_ECX_TOPOEXT;
    r.eax = b->amd ? (u32)min_u64(b->host_ext, MAX_EXT_AMD) : MAX_EXT_INTEL;
    r.eax = (u32)max_u64(r.eax, EXT + 8);
    b->t->ext[0].regs = r;
    b->t->max_basic = MAX_BASIC;
    b->t->amd = b->amd;
    b->t->max_ext = r.eax;
    b->t->max_hyp = MAX_HYP;
}

u64 policy_xcr0(void (*host_cpuid)(void *ctx, u32 leaf, u32 sub, struct cpuid_regs *out), void *ctx) {
    struct cpuid_regs r;
    u64 machine;

    host_cpuid(ctx, 0, 0, &r);
    if (r.eax < 0xd) return 0;
    host_cpuid(ctx, 1, 0, &r);
    if (!(r.ecx & L1_ECX_XSAVE)) return 0;
    host_cpuid(ctx, 0xd, 0, &r);
    machine = r.eax & (XCR0_X87 | XCR0_SSE | XCR0_AVX | XCR0_AVX512);
    /* The three parts of AVX-512 are enabled together, and only over AVX. SDM Vol 1, Enabling the
     * XSAVE Feature Set. */
    if ((machine & (XCR0_AVX512 | XCR0_AVX)) != (XCR0_AVX512 | XCR0_AVX)) machine &= ~XCR0_AVX512;
    return machine;
}

int cpuid_table_build(struct cpuid_table *table, const struct cpuid_request *request) {
    struct build b = {.t = table, .rq = request};

    memset(table, 0, sizeof(*table));
    while (BIT(b.core_bits) < request->vcpu_count) b.core_bits++;
    first_leaves(&b);
    feature_leaves(&b);
    cache_leaf(&b, 4, &table->basic[4], (u32)min_u64(BIT(b.core_bits) - 1, 63));
    leaf_7(&b);
    leaf_b(&b);
    leaf_d(&b);
    clock_leaves(&b);
    ext_leaves(&b);
    hyp_leaves(&b);
    return b.full ? -E_NOMEM : 0;
}
