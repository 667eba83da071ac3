#include "guests/probe/probe.h"
const struct check pic_checks[] = {{0}};
