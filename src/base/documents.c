/* SPDX-License-Identifier: Apache-2.0 */
/* Names and small accessors of the documents in trial.h and result.h. */
#include "base.h"
#include "o3/result.h"

/* Fails to compile when the field is no int32_t. */
#define KNOB(field, is_boolean)                                                                    \
    {.name = #field,                                                                               \
     .offset = offsetof(o3_knobs, field) * sizeof(char[_Generic(&((o3_knobs *)0)->field, int32_t *: 1)]), \
     .boolean = (is_boolean)}

const o3_knob_field o3_knob_fields[] = {
    KNOB(num_ctx, false), KNOB(num_batch, false), KNOB(num_gpu, false), KNOB(num_thread, false), KNOB(use_mmap, true),
    {.name = NULL},
};

int32_t o3_knob_get(const o3_knobs *knobs, const o3_knob_field *field)
{
    int32_t value;
    memcpy(&value, (const char *)knobs + field->offset, sizeof(value));
    return value;
}

void o3_knob_set(o3_knobs *knobs, const o3_knob_field *field, int32_t value)
{
    memcpy((char *)knobs + field->offset, &value, sizeof(value));
}

bool o3_knobs_equal(const o3_knobs *a, const o3_knobs *b)
{
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++)
        if (o3_knob_get(a, field) != o3_knob_get(b, field))
            return false;
    return true;
}

bool o3_knobs_hold(const o3_knobs *asked, const o3_knobs *in_force)
{
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) {
        int32_t value = o3_knob_get(asked, field);
        if (value != O3_UNSET && value != o3_knob_get(in_force, field))
            return false;
    }
    return true;
}

void o3_knobs_text(const o3_knobs *knobs, const o3_knobs *other, char *dst, size_t dst_size)
{
    dst[0] = '\0';
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) {
        int32_t value = o3_knob_get(knobs, field);
        size_t len = strlen(dst);
        if ((other && value == o3_knob_get(other, field)) || (!other && value == O3_UNSET))
            continue;
        o3_format(dst + len, dst_size - len, "%s%s ", len ? ", " : "", field->name);
        len = strlen(dst);
        if (value == O3_UNSET || field->boolean)
            o3_copy(dst + len, dst_size - len, value == O3_UNSET ? "unset" : value ? "true" : "false");
        else
            o3_format(dst + len, dst_size - len, "%d", value);
    }
}

static const struct {
    const char *name, *text;
} outcomes[] = {
#define ROW(code, outcome_name, words) [code] = {.name = (outcome_name), .text = (words)},
    O3_OUTCOME_MAP(ROW)
#undef ROW
};

static const char *const sample_kinds[] = {
    [O3_SAMPLE_PREFILL] = "prefill",
    [O3_SAMPLE_RUNG] = "rung",
    [O3_SAMPLE_DECODE] = "decode",
};

static const char *const race_verdicts[] = {
    [O3_RACE_NOT_RUN] = "not-run",     [O3_RACE_DEFAULT] = "default",   [O3_RACE_UNDECIDED] = "undecided",
    [O3_RACE_WINNER] = "winner",       [O3_RACE_FALLBACK] = "fallback",
};

const char *o3_race_verdict_name(o3_race_verdict verdict)
{
    return race_verdicts[verdict];
}

static const char *const step_reasons[] = {
    [O3_STEP_NONE] = "none",
    [O3_STEP_TRAINED] = "trained",
    [O3_STEP_PREDICTED] = "predicted",
    [O3_STEP_MEASURED] = "measured",
    [O3_STEP_BUDGET] = "budget",
};

const char *o3_outcome_name(o3_outcome outcome)
{
    return (unsigned)outcome < (unsigned)O3_COUNT(outcomes) ? outcomes[outcome].name : "unknown";
}

const char *o3_outcome_text(o3_outcome outcome)
{
    return (unsigned)outcome < (unsigned)O3_COUNT(outcomes) ? outcomes[outcome].text : "ended in an unknown way";
}

bool o3_outcome_parse(const char *name, o3_outcome *ret_outcome)
{
    for (int i = 0; i < O3_COUNT(outcomes); i++) {
        if (!strcmp(outcomes[i].name, name)) {
            *ret_outcome = (o3_outcome)i;
            return true;
        }
    }
    return false;
}

const char *o3_sample_kind_name(o3_sample_kind kind)
{
    return (unsigned)kind < (unsigned)O3_COUNT(sample_kinds) ? sample_kinds[kind] : "unknown";
}

bool o3_sample_kind_parse(const char *name, o3_sample_kind *ret_kind)
{
    for (int i = 0; i < O3_COUNT(sample_kinds); i++) {
        if (!strcmp(sample_kinds[i], name)) {
            *ret_kind = (o3_sample_kind)i;
            return true;
        }
    }
    return false;
}

const char *o3_step_reason_name(o3_step_reason reason)
{
    return (unsigned)reason < (unsigned)O3_COUNT(step_reasons) ? step_reasons[reason] : "unknown";
}

const o3_preset *o3_result_preset(const o3_result *result, const char *name)
{
    for (int i = 0; i < result->preset_count; i++)
        if (!strcmp(result->presets[i].name, name))
            return &result->presets[i];
    return NULL;
}

#define NO_MEASURE {.mean = NAN, .low = NAN, .high = NAN, .cv = NAN, .depth_tokens = -1}
const o3_preset o3_preset_none = {
    .knobs = {O3_UNSET, O3_UNSET, O3_UNSET, O3_UNSET, O3_UNSET},
    .decode_per_s = NO_MEASURE,
    .decode_equal_per_s = NO_MEASURE,
    .prefill_per_s = NO_MEASURE,
    .ttft_ms = NO_MEASURE,
    .peaks = {.temperature_c = NAN, .cpu_frac = NAN},
    .score = {NAN, NAN, NAN, NAN, NAN, NAN, NAN},
    .success_frac = NAN,
    .success_low = NAN,
    .success_high = NAN,
};

const o3_server_row o3_server_row_none = {
    .predicted_tokens = -1,
    .window_tokens = -1,
    .compared_num_ctx = -1,
    .decode_per_s = NO_MEASURE,
    .prefill_per_s = NO_MEASURE,
    .decode_ratio = {NAN, NAN, NAN},
    .prefill_ratio = {NAN, NAN, NAN},
};
