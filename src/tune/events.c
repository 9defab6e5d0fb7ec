/* SPDX-License-Identifier: Apache-2.0 */
#include <stdarg.h>

#include "tune_impl.h"

void tune_event(const session *s, o3_event event)
{
    if (s->world->on_event)
        s->world->on_event(s->world->ctx, &event);
}

void tune_say(session *s, o3_event_kind kind, const char *fmt, ...)
{
    char text[O3_TEXT_MAX];
    va_list args;
    if (!s->world->on_event)
        return;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    if (kind == O3_EVENT_STAGE || kind == O3_EVENT_PROGRESS)
        O3_COPY(s->stage, text);
    tune_event(s, (o3_event){.kind = kind, .text = text, .done_frac = NAN, .left_s = NAN});
}

double tune_elapsed_s(const session *s)
{
    return (double)(o3_now_ns() - s->started_ns) / 1e9;
}

double tune_left_s(const session *s)
{
    return TUNE_BUDGET_FRAC * s->budget_s - tune_elapsed_s(s);
}

void tune_expect(session *s, const visit_plan *visit, int row)
{
    if (s->world->on_event) /* else nobody is told, and it costs some hundred predictions */
        s->expected_s = tune_elapsed_s(s) + (visit ? cost_visit_s(s, visit) : 0) +
                        (row < 0 ? 0 : presets_rest_s(s, row));
}

void tune_progress(session *s)
{
    double elapsed = tune_elapsed_s(s);
    double left = fmin(s->expected_s, s->budget_s) - elapsed; /* fmin also passes over an unknown expectation */
    if (isnan(s->expected_s) || left < 0)
        left = NAN; /* longer than expected: better no number than a wrong one */
    tune_event(s, (o3_event){.kind = O3_EVENT_PROGRESS, .text = s->stage, .done_frac = elapsed / (elapsed + left),
                             .left_s = left});
}
