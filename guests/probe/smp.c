#include "guests/probe/probe.h"
const struct check smp_checks[] = {{0}};
