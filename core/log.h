/* The log beyond log_line. */
#pragma once

#include "core/base/types.h"

/* Moves of what log_later has left what the UART takes at once, and returns true if something is left. Any core. */
bool log_pump(void) must_check;
