/* The log beyond log_line. */
#pragma once

/* For panic: whoever held the locks is stopped. */
void log_break_lock(void);
