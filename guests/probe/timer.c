#include "guests/probe/probe.h"
const struct check timer_checks[] = {{0}};
