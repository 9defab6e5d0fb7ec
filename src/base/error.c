/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include "base.h"

static const struct {
    int exit_status;
    const char *text;
} table[] = {
#define ROW(code, exit_value, words) [code] = {.exit_status = (exit_value), .text = (words)},
    O3_STATUS_MAP(ROW)
#undef ROW
};

int o3_status_exit(o3_status status)
{
    return (unsigned)status < (unsigned)O3_COUNT(table) ? table[status].exit_status : 1;
}

const char *o3_status_text(o3_status status)
{
    return (unsigned)status < (unsigned)O3_COUNT(table) ? table[status].text : "unknown status";
}

o3_status o3_fail(o3_err *err, o3_status status, const char *fmt, ...)
{
    if (err) {
        va_list args;
        va_start(args, fmt);
        /* Formatted beside, because an argument may be err->message itself. */
        char text[sizeof(err->message)];
        vsnprintf(text, sizeof(text), fmt, args);
        va_end(args);
        err->status = status;
        O3_COPY(err->message, text);
    }
    return status;
}

o3_status o3_fail_in(o3_err *err, o3_status status, const char *fmt, ...)
{
    if (!err)
        return status;
    char text[sizeof(err->message)];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    char old[sizeof(err->message)];
    O3_COPY(old, err->message);
    O3_FORMAT(err->message, "%.*s: %.*s", 300, text, (int)sizeof(old) - 310, old);
    return err->status ? err->status : status;
}

void o3_note(o3_notes *notes, const char *fmt, ...)
{
    if (!notes)
        return;
    char text[O3_TEXT_MAX];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    for (int i = 0; i < notes->count; i++)
        if (!strcmp(notes->text[i], text))
            return;
    if (notes->count < O3_NOTES_MAX)
        O3_COPY(notes->text[notes->count++], text);
}
