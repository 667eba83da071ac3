/* See vpvclock.h. Guest TSC and guest time differ by a constant and a factor, so the structure is written when the
 * guest names it, and again when the guest has moved its TSC; nothing happens in between. */
#include "core/vdev/vpvclock.h"

#include "core/base/bits.h"
#include "core/base/errors.h"

#define ENABLE      1ull
#define NS_IN_S     1000000000ull
#define FLAG_STABLE 1u /* one time on all vCPUs: it is the hypervisor's own, and every TSC's */

struct time_info {
    u32 version, pad;
    u64 tsc_timestamp, system_time;
    u32 mul; /* nanoseconds = (ticks << shift) * mul >> 32 */
    s8 shift;
    u8 flags, pad2[2];
} __attribute__((packed, aligned(4)));
_Static_assert(sizeof(struct time_info) == 32, "KVM-specific MSRs, pvclock_vcpu_time_info");

struct wall_info {
    u32 version, seconds, ns;
};

static void barrier(void) { __atomic_thread_fence(__ATOMIC_SEQ_CST); }

/* Other vCPUs may read meanwhile: an odd version tells them to read again. */
static void fill(struct vpvclock *c, volatile struct time_info *t, u64 hz, u64 tsc0) {
    s8 shift = 0;

    for (; hz <= NS_IN_S; hz <<= 1) shift++;
    for (; hz > 2 * NS_IN_S + 1; hz >>= 1) shift--; /* the half is more than NS_IN_S, or mul would not fit */
    t->version = c->version + 1;
    barrier();
    t->tsc_timestamp = tsc0;
    t->system_time = 0;
    t->mul = (u32)((NS_IN_S << 32) / hz);
    t->shift = shift;
    t->flags = FLAG_STABLE;
    barrier();
    t->version = c->version += 2;
}

int vpvclock_write(struct vpvclock *c, const struct gmem *mem, u32 msr, u64 value, u64 hz, u64 tsc0, u64 seconds) {
    bool wall = msr == MSR_PVCLOCK_WALL;
    u64 at = wall ? value : value & ~ENABLE;
    void *to;

    if (wall || (value & ENABLE)) {
        to = gmem_ptr(mem, gpa(at), wall ? sizeof(struct wall_info) : sizeof(struct time_info), true);
        if (!to || at % 4) return -E_FAULT;
        if (wall)
            *(struct wall_info *)to = (struct wall_info){2, (u32)seconds, 0};
        else
            fill(c, to, hz, tsc0);
    }
    *(wall ? &c->wall : &c->time) = value;
    return 0;
}
