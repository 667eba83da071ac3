/* The log beyond log_line. */
#pragma once

/* One line as it stands. Any core. */
void log_text(const char *text);
/* For panic: whoever held the locks is stopped. */
void log_break_lock(void);
