/* SPDX-License-Identifier: Apache-2.0 */
/* Heat is no shortage: it passes. The model was unloaded with the stop; here is the wait until the machine is cool, and
 * the step to a batch that computes in shorter bursts. */
#include "tune_impl.h"

#define NOT_COOL "not cool"     /* said in the reason, and read again when a run goes on */
#define HEAT_LEFT_FRAC 0.25    /* of the time left, for one pause: what does not cool by then is hot for other reasons */
#define HEAT_LOOK_NS (500 * O3_NS_PER_MS) /* sensors are read twice a second */
#define HEAT_SAY_S 10          /* between two lines */

static void add_reason(o3_trial *trial, const char *text)
{
    size_t len = strlen(trial->reason);
    o3_format(trial->reason + len, sizeof(trial->reason) - len, "; %s", text);
}

/* The token was set in the pause: heat goes on waiting; what is wrong besides ends the pause, and the next load. */
static o3_status interrupted(session *s, o3_trial *trial, bool *ret_over, o3_err *err)
{
    char reading[O3_TEXT_MAX] = "the sensors gave no reading any more";
    if (o3_cancel_get(s->world->cancel) == O3_CANCEL_USER)
        return o3_fail(err, O3_E_CANCELLED, "interrupted");
    o3_monitor_stop stop = s->blind ? O3_STOP_STALE : monitor_stop_reason(s->monitor, reading, sizeof(reading));
    *ret_over = stop != O3_STOP_TEMPERATURE;
    if (*ret_over)
        add_reason(trial, reading);
    o3_cancel_clear(s->world->cancel, O3_CANCEL_SAFETY);
    if (!s->blind)
        monitor_rearm(s->monitor);
    return O3_OK;
}

static void say_pause(session *s, const char *hot, double waited_s, double *next_s)
{
    if (waited_s < *next_s)
        return;
    *next_s = waited_s + HEAT_SAY_S;
    tune_say(s, O3_EVENT_PROGRESS, "Paused: %s", hot);
}

o3_status heat_pause(session *s, o3_trial *trial, o3_err *err)
{
    double began_s = tune_elapsed_s(s), most_s = fmax(0, HEAT_LEFT_FRAC * tune_left_s(s)), waited_s = 0, next_s = 0;
    char hot[O3_TEXT_MAX], text[O3_TEXT_MAX], stage[O3_TEXT_MAX], waited[32];
    bool over = false;
    O3_COPY(stage, s->stage);
    while (!over && (s->still_hot = monitor_hot(s->monitor, hot, sizeof(hot))) && waited_s < most_s) {
        say_pause(s, hot, waited_s, &next_s);
        bool set = o3_wait(s->world->cancel, HEAT_LOOK_NS);
        s->probe.on_wait(s); /* are the sensors still read? */
        o3_status status = set || s->blind ? interrupted(s, trial, &over, err) : O3_OK;
        if (status)
            return status;
        waited_s = tune_elapsed_s(s) - began_s;
    }
    tune_say(s, O3_EVENT_PROGRESS, "%s", stage);
    o3_fmt_duration(waited, sizeof(waited), waited_s);
    O3_FORMAT(text, "%s after %s", s->still_hot ? NOT_COOL : "cool again", waited);
    add_reason(trial, text);
    return O3_OK;
}

void heat_recall(session *s, const o3_trial *trial)
{
    if (trial->outcome == O3_OUTCOME_TOO_HOT)
        s->still_hot = strstr(trial->reason, NOT_COOL) != NULL;
}

bool heat_milder(session *s, const o3_trial *trial, visit_plan *plan)
{
    int32_t half = trial->asked.num_batch / 2;
    if (s->still_hot || !plan->milder || trial->asked.num_batch == O3_UNSET || half < TUNE_BATCH_LEAST)
        return false;
    O3_COPY(s->heat, trial->reason); /* of a resumed run's trial too */
    plan->knobs.num_batch = s->cool_batch = half;
    if (plan->search)
        search_ceiling_batch(plan->search, half);
    o3_note(&s->result->notes, "num_batch %d in place of %d from here on: with %d tokens of context the trial was %s", half,
            trial->asked.num_batch, trial->asked.num_ctx, trial->reason);
    return true;
}

int32_t heat_batch(const session *s, int32_t num_batch)
{
    return s->cool_batch != O3_UNSET && num_batch > s->cool_batch ? s->cool_batch : num_batch;
}

void heat_say(session *s, const o3_preset *row)
{
    if (s->cool_batch != O3_UNSET && row->knobs.num_batch == s->cool_batch)
        o3_note(&s->result->notes, "%s: num_batch %d, because larger ones made this machine too hot (%s)", row->name,
                s->cool_batch, s->heat);
}
