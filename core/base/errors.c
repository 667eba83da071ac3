#include "core/base/errors.h"

#define ERROR_NAME(id, name) name,

const char *error_name(int code) {
    static const char *const names[E_COUNT] = {"no error", ERROR_LIST(ERROR_NAME)};
    unsigned index = code < 0 ? 0u - (unsigned)code : (unsigned)code;

    return index < E_COUNT ? names[index] : "unknown error";
}
