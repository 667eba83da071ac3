/* What belongs to one core and is mapped on that core only, at the same address on each. */
#pragma once

#include "core/base/layout.h"
#include "core/base/types.h"
#include "drivers/descriptors.h"

struct vcpu;

struct local {
    struct core_descriptors descriptors;
    u32 core;
    struct vcpu *vcpu; /* NULL on a core that no partition has */
    hpa_t vendor_page_pa;
};
_Static_assert(sizeof(struct local) <= LOCAL_DATA_PAGES * PAGE_4K, "layout.h");

#define this_core ((struct local *)LOCAL_BASE)
