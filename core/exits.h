/* One handler for each exit reason, called by vcpu_loop on the vCPU's core. */
#pragma once

#include "core/base/vendor.h"
#include "core/vcpu.h"

extern void (*const exit_handlers[EXIT_REASONS])(struct vcpu *v, const struct vm_exit *exit);
/* A crash report of this vCPU in the log, and the end of its partition. why: one line, lower case. */
void exit_crash(struct vcpu *v, const struct vm_exit *exit, const char *why);
