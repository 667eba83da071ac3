/* Error codes. Functions that can fail return 0 or one of these negated. Layer 0. */
#pragma once

#define ERROR_LIST(X)                                                                                                  \
    X(E_INVAL, "malformed")             /* an argument or input is malformed */                                        \
    X(E_NOMEM, "out of memory")         /* the frame pool or arena is used up */                                       \
    X(E_OVERLAP, "range already taken") /* the range is already taken */                                               \
    X(E_RANGE, "out of range")          /* outside what the object covers */                                           \
    X(E_NOENT, "not found")             /* no such table, module or entry */                                           \
    X(E_UNSUPPORTED, "not supported")   /* legal, but this machine or this code lacks it */                            \
    X(E_FAULT, "guest fault")           /* the guest earned an exception; the out parameter tells which */             \
    X(E_TRUNCATED, "cut short")         /* more input bytes are needed */                                              \
    X(E_CHECKSUM, "wrong checksum")     /* a table's checksum does not match */                                        \
    X(E_TIMEOUT, "no answer in time")   /* hardware did not answer in time */

#define ERROR_ID(id, name) id,
enum error { E_NONE, ERROR_LIST(ERROR_ID) E_COUNT };

/* A short lower-case phrase for a code from enum error (sign ignored), never NULL. */
const char *error_name(int code);
