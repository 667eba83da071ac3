/* Error codes. Functions that can fail return 0 or one of these negated. Layer 0. */
#pragma once

enum error {
    E_INVAL = 1,   /* an argument or input is malformed */
    E_NOMEM,       /* the frame pool or arena is used up */
    E_OVERLAP,     /* the range is already taken */
    E_RANGE,       /* outside what the object covers */
    E_NOENT,       /* no such table, module or entry */
    E_UNSUPPORTED, /* legal, but this machine or this code lacks it */
    E_FAULT,       /* the guest earned an exception; the out parameter tells which */
    E_TRUNCATED,   /* more input bytes are needed */
    E_CHECKSUM,    /* a table's checksum does not match */
    E_TIMEOUT,     /* hardware did not answer in time */
};

/* A short lower-case phrase for a code from enum error (sign ignored), never NULL. */
const char *error_name(int code);
