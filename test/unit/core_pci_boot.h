/* Machines that boot with functions given by the partition file, each in a process of its own: what is there, and how
 * a test looks at what came of it. */
#pragma once

#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>
#include <cmocka.h>

#include "core/base/bits.h"
#include "core/base/layout.h"
#include "core/hostspace.h"
#include "core/pass_impl.h"
#include "test/fake/child.h"
#include "test/fake/pci.h"

/* Eight lines each; what is given begins in line 8. */
#define PARTITION(name, core, more)                                                                                    \
    "[partition." name "]\ncpus = [" core "]\nmemory = \"2M\"\nkernel = \"guest\"\nformat = \"flat\"\n"                \
    "load = 0x100000\nentry = 0x100000\n" more "\n"
#define ONE(more) PARTITION("one", "1", more)
#define TWO(more) PARTITION("two", "0", more)
#define RAM(at)   (MIB(40) + (at))
#define LARGE_ONE                                                                                                      \
    "[partition.one]\ncpus = [1]\nmemory = \"8M\"\nkernel = \"guest\"\nformat = \"flat\"\nload = 0x100000\n"           \
    "entry = 0x100000\npci = [\"00:03.0\"]\n"

#define NIC   0x18u /* 00:03.0: FLR */
#define DISK  0x20u /* 00:04.0: by its power state */
#define LEFT  0x28u /* 00:05.0 and 1: one device */
#define RIGHT 0x29u
#define PORT  0xe0u  /* 00:1c.0: the bridge above bus 1 */
#define FIRST 0x100u /* 01:00.0 and 1: by their bus only */
#define OTHER 0x101u

#define MUST(truth)                                                                                                    \
    do {                                                                                                               \
        if (!(truth)) {                                                                                                \
            fprintf(stderr, "%s:%d: %s\n", __FILE__, __LINE__, #truth);                                                \
            _exit(99);                                                                                                 \
        }                                                                                                              \
    } while (0)

struct boot {
    const char *config;
    void (*before)(void), (*after)(void); /* in the child: another machine; once it runs */
    bool no_iommu;
    u32 cores; /* 0: 2 */
    u64 ram;   /* bytes that are free; 0: 32 MiB */
};

static struct fake_function *add(u32 id, u16 device, u64 base) {
    struct fake_function *f = fake_pci_add(id, 0x1234, device, 0x020000);

    fake_pci_bar(f, 0, PAGE_4K, 0, base);
    return f;
}

static void make_bus(void) {
    fake_pci_add(0, 0x8086, 0x29c0, 0x060000);
    fake_pci_flr(add(NIC, 1, RAM(0)));
    fake_pci_msix(fake_pci_at(NIC), 2, 0, 0x800);
    fake_pci_pm(add(DISK, 2, RAM(0x1000)));
    fake_pci_flr(add(LEFT, 3, RAM(0x2000)));
    fake_pci_flr(add(RIGHT, 3, RAM(0x3000)));
    fake_pci_bridge(fake_pci_add(PORT, 0x8086, 0x3420, 0x060400), 1, 1);
    add(FIRST, 4, RAM(0x4000));
    add(OTHER, 4, RAM(0x5000));
}

static void in_child(const void *what, int out) {
    const struct boot *b = what;
    enum stop why;

    hardware_make();
    fake_iommu.present = !b->no_iommu;
    make_bus();
    if (b->before) b->before();
    why = fake_boot(b->config, b->cores ? b->cores : 2, b->ram ? b->ram : MIB(32));
    if (why == STOP_SCRIPT && b->after) b->after();
    child_end(out, why);
}

static void boot(struct boot b) { child_run(in_child, &b); }
#define BOOT(text, ...) boot((struct boot){.config = (text), __VA_ARGS__})

static void assert_said(const char *text) {
    if (!strstr(console, text)) fail_msg("no `%s` in: %s", text, console);
}

static inline void assert_boots(void) {
    if (outcome != STOP_SCRIPT || strstr(console, "start:") || strstr(console, "not started"))
        fail_msg("it did not start: %s", console);
}

static inline void no_remapping(void) { fake_iommu.no_remapping = true; }
