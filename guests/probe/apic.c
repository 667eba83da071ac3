#include "guests/probe/probe.h"
const struct check apic_checks[] = {{0}};
