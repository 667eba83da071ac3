#include "core/hostspace.h"

#include "core/base/bits.h"
#include "core/base/cpu.h"
#include "core/base/errors.h"
#include "core/base/layout.h"
#include "core/base/panic.h"
#include "core/base/string.h"
#include "core/base/x86.h"
#include "core/local.h"
#include "core/machine.h"
#include "drivers/lapic.h"

#define MAX_SHARES 64

struct share {
    u64 at, bytes;
    bool write, devices;
    enum memory_type memtype;
};

static struct boot_info *info __attribute__((section(".late")));
static struct share shares[MAX_SHARES] __attribute__((section(".late")));
static u32 share_count __attribute__((section(".late")));
static u32 max_leaf __attribute__((section(".late")));
static struct pt boot_space __attribute__((section(".late")));

void *hostspace_take(u64 bytes) {
    hpa_t at;

    bytes = align_up(bytes, PAGE_4K);
    if (frames_alloc(info->frames, bytes, PAGE_4K, 0, GIB(4), &at))
        refuse("too little memory: %llu KiB more are needed below 4 GiB|give the machine more memory or the partitions "
               "less",
               (unsigned long long)bytes >> 10);
    memset((void *)(at.v + DIRECT_BASE), 0, bytes);
    return (void *)(at.v + DIRECT_BASE);
}

hpa_t hostspace_pa(const void *taken) { return hpa((u64)taken - DIRECT_BASE); }

static int alloc_table(void *ctx, hpa_t *page) {
    (void)ctx;
    *page = hostspace_pa(hostspace_take(PAGE_4K));
    return 0;
}
static u64 *table_virt(void *ctx, hpa_t page) {
    (void)ctx;
    return (u64 *)(page.v + DIRECT_BASE);
}
const struct pt_mem hostspace_mem = {.alloc = alloc_table, .virt = table_virt};

static void map(struct pt *pt, u64 va, hpa_t at, u64 bytes, u32 rights, enum memory_type memtype) {
    int error = pt_map(pt, va, at, bytes, rights, memtype);

    if (error) panic("host tables: cannot map 0x%llx: %s", (unsigned long long)va, error_name(error));
}

/* Page by page where something is mapped already: two may share a page. */
static void map_direct(struct pt *pt, u64 at, u64 bytes, u32 rights, enum memory_type memtype) {
    u64 base = align_down(at, PAGE_4K), end = align_up(at + bytes, PAGE_4K);

    if (end < base || end > DIRECT_BYTES)
        refuse("a device's registers lie at 0x%llx, above 127 TiB|let the firmware place devices lower",
               (unsigned long long)at);

    if (pt_map(pt, base + DIRECT_BASE, hpa(base), end - base, rights, memtype) == 0) return;
    for (; base < end; base += PAGE_4K)
        if (!pt_lookup(pt, base + DIRECT_BASE).leaf_level)
            map(pt, base + DIRECT_BASE, hpa(base), PAGE_4K, rights, memtype);
}

static void map_image_part(struct pt *pt, const u8 *from, const u8 *to, u32 rights) {
    u64 offset = (u64)from - IMAGE_BASE;

    if (to > from) map(pt, (u64)from, hpa(info->image.v + offset), (u64)(to - from), rights, MEM_WB);
}

/* W^X: text is read and executed, everything else never executed. In the final spaces boot's code is not there, and
 * `.late` is not written any more. */
static void map_image(struct pt *pt, bool boot) {
    map_image_part(pt, boot ? image_start : init_end, text_end, RIGHT_READ | RIGHT_EXEC);
    map_image_part(pt, text_end, rodata_end, RIGHT_READ);
    map_image_part(pt, rodata_end, late_end, boot ? RIGHT_READ | RIGHT_WRITE : RIGHT_READ);
    map_image_part(pt, late_end, image_end, RIGHT_READ | RIGHT_WRITE);
}

static void init(struct pt *pt) {
    if (pt_init(pt, &pt_host, &hostspace_mem, max_leaf)) panic("host tables: no root page");
}

void hostspace_boot(struct boot_info *boot) {
    u64 top = align_up(max_u64(boot->memory_top, GIB(4)), PAGE_1G);

    info = boot;
    max_leaf = cpuid_has_leaf(0x80000001) && (cpuid(0x80000001, 0).edx & BIT(26)) ? 3 : 2;
    init(&boot_space);
    map_image(&boot_space, true);
    map(&boot_space, DIRECT_BASE, hpa(0), top, RIGHT_READ | RIGHT_WRITE, MEM_WB);
    for (u32 i = 0; i < CONSOLE_WINDOWS; i++) {
        const struct boot_window *w = &info->console[i];

        if (!w->bytes) continue;
        map_direct(&boot_space, w->at, w->bytes, RIGHT_READ | RIGHT_WRITE, MEM_UC);
        if (i == CONSOLE_UART || info->options.console.screen) /* else the screen is left before the guests start */
            shares[share_count++] = (struct share){w->at, w->bytes, true, false, MEM_UC};
    }
    write_cr3(boot_space.root.v);
}

void hostspace_share(const void *at, u64 bytes, bool write) {
    ASSERT(share_count < MAX_SHARES);
    shares[share_count++] = (struct share){hostspace_pa(at).v, bytes, write, false, MEM_WB};
}

void hostspace_share_devices(u64 at, u64 bytes, enum memory_type memtype) {
    struct share *last = share_count ? &shares[share_count - 1] : NULL;

    if (last && last->devices && last->memtype == memtype && last->at + align_up(last->bytes, PAGE_4K) == at) {
        last->bytes = at + bytes - last->at;
    } else {
        ASSERT(share_count < MAX_SHARES);
        shares[share_count++] = (struct share){at, bytes, true, true, memtype};
    }
    hostspace_reach(at, bytes, memtype);
}

void hostspace_reach(u64 at, u64 bytes, enum memory_type memtype) {
    map_direct(&boot_space, at, bytes, RIGHT_READ | RIGHT_WRITE, memtype);
}

static void map_for_devices(void *ctx, u64 at, u64 bytes, enum memory_type memtype) {
    map_direct(ctx, at, bytes, RIGHT_READ | RIGHT_WRITE, memtype);
}

static void map_partition(struct pt *pt, struct partition *p) {
    const u32 rw = RIGHT_READ | RIGHT_WRITE;

    map_direct(pt, p->block.v, p->block_bytes, rw, MEM_WB);
    for (u32 i = 0; i < p->piece_count; i++) map_direct(pt, p->pieces[i].base.v, p->pieces[i].bytes, rw, MEM_WB);
    passthrough_pages(p, map_for_devices, pt);
    for (u32 i = 0; i < machine.config->partition_count; i++) /* of those that it controls */
        if (config_controls(machine.config, partition_number(p), i))
            map_direct(pt, hostspace_pa(machine.controls[i]).v, CONTROL_BYTES(machine.config->partitions[i].cpu_count),
                       rw, MEM_WB);
    /* The pristine images, for a restart. GRUB puts each module on pages of its own. */
    for (u32 i = 0; i < p->image_count; i++)
        if (p->images[i].bytes && !pt_lookup(pt, (u64)p->images[i].data).leaf_level) /* a module may be named twice */
            map_direct(pt, (u64)p->images[i].data - DIRECT_BASE, p->images[i].bytes, RIGHT_READ, MEM_WB);
}

static void map_local(struct pt *pt, u8 *pages) {
    const u32 rw = RIGHT_READ | RIGHT_WRITE;
    u64 pa = hostspace_pa(pages).v;

    map(pt, LOCAL_BASE, hpa(pa), LOCAL_DATA_PAGES * PAGE_4K, rw, MEM_WB);
    pa += LOCAL_DATA_PAGES * PAGE_4K;
    map(pt, LOCAL_BASE + LOCAL_STACK_PAGE * PAGE_4K, hpa(pa), LOCAL_STACK_PAGES * PAGE_4K, rw, MEM_WB);
    pa += LOCAL_STACK_PAGES * PAGE_4K;
    map(pt, LOCAL_BASE + LOCAL_FAULT_PAGE * PAGE_4K, hpa(pa), PAGE_4K, rw, MEM_WB);
    pa += PAGE_4K;
    map(pt, LOCAL_BASE + LOCAL_VENDOR_PAGE * PAGE_4K, hpa(pa), PAGE_4K, rw, MEM_WB);
}

u64 hostspace_core(struct partition *p, void **local, hpa_t *vendor_page) {
    const u32 rw = RIGHT_READ | RIGHT_WRITE;
    const u64 local_pages = LOCAL_DATA_PAGES + LOCAL_STACK_PAGES + 2;
    struct pt pt;
    u8 *pages = hostspace_take(local_pages * PAGE_4K);

    init(&pt);
    map_image(&pt, false);
    map_local(&pt, pages);
    map(&pt, lapic_address() + DIRECT_BASE, hpa(lapic_address()), PAGE_4K, rw, MEM_UC);
    for (u32 i = 0; i < info->acpi->ioapic_count; i++) {
        map_direct(&pt, info->acpi->ioapics[i].address, PAGE_4K, rw, MEM_UC);
    }
    for (u32 i = 0; i < share_count; i++)
        /* With an IOMMU any partition's core may reroute the console's line, which goes through it. */
        if (!shares[i].devices || (p && (p->pci || info->acpi->iommu)))
            map_direct(&pt, shares[i].at, shares[i].bytes, shares[i].write ? rw : RIGHT_READ, shares[i].memtype);
    if (p) map_partition(&pt, p);
    *local = pages;
    *vendor_page = hpa(hostspace_pa(pages).v + (local_pages - 1) * PAGE_4K);
    return pt.root.v;
}
