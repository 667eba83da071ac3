#include "core/base/errors.h"

const char *error_name(int code) {
    switch (code < 0 ? -code : code) {
    case 0: return "no error";
    case E_INVAL: return "malformed";
    case E_NOMEM: return "out of memory";
    case E_OVERLAP: return "range already taken";
    case E_RANGE: return "out of range";
    case E_NOENT: return "not found";
    case E_UNSUPPORTED: return "not supported";
    case E_FAULT: return "guest fault";
    case E_TRUNCATED: return "cut short";
    case E_CHECKSUM: return "wrong checksum";
    case E_TIMEOUT: return "no answer in time";
    default: return "unknown error";
    }
}
