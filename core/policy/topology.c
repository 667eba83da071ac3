#include "core/policy/topology.h"

#include "core/base/bits.h"

#define LEVEL_SMT     1u
#define FEATURE_HTT   BIT(28) /* leaf 1, EDX: there is more than one logical processor */
#define FEATURE_TOPO  BIT(22) /* leaf 80000001H, ECX: leaf 8000001EH is there */
#define SMT_BITS_MOST 8u      /* of any processor; more is not believed */

static u32 bits_for(u32 count) {
    u32 bits = 0;

    while (bits < 32 && (u64)1 << bits < count) bits++;
    return bits;
}

static u32 read_bits(void (*host)(void *ctx, u32 leaf, u32 sub, struct cpuid_regs *out), void *ctx) {
    struct cpuid_regs r, extended;

    host(ctx, 0, 0, &r);
    host(ctx, 0x80000000, 0, &extended);
    for (u32 leaf = 0x1f; leaf >= 0xb; leaf -= 0x14) {
        struct cpuid_regs level;

        if (r.eax < leaf) continue;
        host(ctx, leaf, 0, &level);
        if (level.ebx && (level.ecx >> 8 & 0xff) == LEVEL_SMT) return level.eax & 0x1f;
    }
    if (extended.eax >= 0x8000001e) {
        struct cpuid_regs feature, unit;

        host(ctx, 0x80000001, 0, &feature);
        host(ctx, 0x8000001e, 0, &unit);
        if (feature.ecx & FEATURE_TOPO) return bits_for((unit.ebx >> 8 & 0xff) + 1);
    }
    if (r.eax >= 4) {
        struct cpuid_regs one, caches;

        host(ctx, 1, 0, &one);
        host(ctx, 4, 0, &caches);
        if ((one.edx & FEATURE_HTT) && caches.eax) {
            u32 package = bits_for(one.ebx >> 16 & 0xff), cores = bits_for((caches.eax >> 26) + 1);

            return package > cores ? package - cores : 0;
        }
    }
    return 0;
}

u32 topology_smt_bits(void (*host)(void *ctx, u32 leaf, u32 sub, struct cpuid_regs *out), void *ctx) {
    u32 bits = read_bits(host, ctx);

    return bits <= SMT_BITS_MOST ? bits : 0;
}
