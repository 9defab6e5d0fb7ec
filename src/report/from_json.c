/* SPDX-License-Identifier: Apache-2.0 */
/* JSON that O3 wrote back to a result, by the tables of fields.c. A member that an older O3 did not know is missing,
 * which is a value; one of another type or size is an error that names it. */
#include "base/base.h"
#include "fields.h"

typedef struct place {
    const struct place *up;
    const char *name;
} place;

static o3_status misfit(const place *at, const char *expected, o3_err *err)
{
    char path[256] = "";
    for (; at; at = at->up) {
        char tail[256];
        O3_COPY(tail, path);
        O3_FORMAT(path, "%.100s%s%.150s", at->name, *tail ? "." : "", tail);
    }
    return o3_fail(err, O3_E_PROTOCOL, "the stored result does not fit: %s is not %s", path, expected);
}

static o3_status read_table(const field *table, char *base, const json_t *json, const place *up, o3_err *err);

static o3_status read_text(const field *row, char *at, const json_t *json, const place *here, o3_err *err)
{
    if (!json_is_string(json) && !json_is_null(json))
        return misfit(here, "a text", err);
    const char *text = json_is_string(json) ? json_string_value(json) : "";
    if (strlen(text) >= row->size)
        return misfit(here, "a text of that length", err);
    o3_copy(at, row->size, text);
    return O3_OK;
}

static o3_status read_integer(const field *row, char *at, const json_t *json, const place *here, o3_err *err)
{
    bool knob = row->type == FIELD_KNOB || row->type == FIELD_SWITCH;
    int64_t value = knob ? O3_UNSET : row->type == FIELD_COUNT ? 0 : -1;
    if (row->type == FIELD_SWITCH && json_is_boolean(json))
        value = json_is_true(json);
    else if (row->type != FIELD_SWITCH && json_is_integer(json))
        value = json_integer_value(json);
    else if (!json_is_null(json))
        return misfit(here, row->type == FIELD_SWITCH ? "true, false or null" : "a whole number", err);
    if (row->type == FIELD_I64) {
        memcpy(at, &value, sizeof(value));
        return O3_OK;
    }
    if (value < INT32_MIN || value > INT32_MAX)
        return misfit(here, "a number of that size", err);
    int32_t small = (int32_t)value;
    memcpy(at, &small, sizeof(small));
    return O3_OK;
}

static const char *step_name(int step)
{
    return o3_step_reason_name((o3_step_reason)step);
}

static const char *race_name(int verdict)
{
    return o3_race_verdict_name((o3_race_verdict)verdict);
}

/* Missing is the first of them. */
static o3_status read_name(char *at, const json_t *json, const char *(*name_of)(int), int last, const place *here,
                           o3_err *err)
{
    for (int32_t i = 0; i <= last; i++) {
        if (json_is_string(json) ? !strcmp(json_string_value(json), name_of(i)) : json_is_null(json)) {
            memcpy(at, &i, sizeof(i));
            return O3_OK;
        }
    }
    return misfit(here, "a name known to this version", err);
}

static double real_of(const json_t *json)
{
    return json_is_number(json) ? json_number_value(json) : NAN;
}

static o3_status read_peaks(o3_peaks *peaks, const json_t *json, const place *here, o3_err *err)
{
    *peaks = (o3_peaks){.temperature_c = real_of(json_object_get(json, "temperature_c")),
                        .cpu_frac = real_of(json_object_get(json, "cpu_frac"))};
    const json_t *runner = json_object_get(json, "runner");
    const char *name;
    json_t *value;
    json_object_foreach((json_t *)json, name, value)
    {
        if (!strcmp(name, "runner") || !strcmp(name, "temperature_c") || !strcmp(name, "cpu_frac"))
            continue;
        if (peaks->count == O3_POOLS_MAX || (!json_is_integer(value) && !json_is_null(value)))
            return misfit(&(place){here, name}, "the bytes of a pool", err);
        o3_peak *peak = &peaks->pools[peaks->count++];
        const json_t *part = json_object_get(runner, name);
        O3_COPY(peak->pool, name);
        peak->bytes = json_is_integer(value) ? json_integer_value(value) : -1;
        peak->runner_bytes = json_is_integer(part) ? json_integer_value(part) : -1;
    }
    return O3_OK;
}

static o3_status read_notes(o3_notes *notes, const json_t *json, const place *here, o3_err *err)
{
    notes->count = 0;
    if (!json_is_array(json) && !json_is_null(json))
        return misfit(here, "a list", err);
    for (size_t i = 0; i < json_array_size(json); i++) {
        const char *text = json_string_value(json_array_get(json, i));
        if (!text || strlen(text) >= O3_TEXT_MAX || i >= O3_NOTES_MAX)
            return misfit(here, "a list of that many texts", err);
        O3_COPY(notes->text[notes->count++], text);
    }
    return O3_OK;
}

static o3_status read_presets(o3_result *result, const json_t *json, const place *here, o3_err *err)
{
    const char *name;
    json_t *value;
    result->preset_count = 0;
    if (!json_is_object(json))
        return misfit(here, "an object", err);
    json_object_foreach((json_t *)json, name, value)
    {
        place inner = {here, name};
        if (result->preset_count == O3_PRESETS_MAX || strlen(name) >= sizeof(result->presets[0].name))
            return misfit(&inner, "a preset that has room", err);
        o3_preset *preset = &result->presets[result->preset_count++];
        o3_status status = read_table(fields_preset, (char *)preset, value, &inner, err);
        if (status)
            return status;
        O3_COPY(preset->name, name);
    }
    return O3_OK;
}

static o3_status read_array(const field *row, char *base, const json_t *json, const place *here, o3_err *err)
{
    int count = (int)json_array_size(json);
    if ((!json_is_array(json) && !json_is_null(json)) || json_array_size(json) > row->most)
        return misfit(here, "a list of that many", err);
    for (int i = 0; i < count; i++) {
        o3_status status = read_table(row->part, base + row->offset + (size_t)i * row->size,
                                      json_array_get(json, (size_t)i), here, err);
        if (status)
            return status;
    }
    memcpy(base + row->count, &count, sizeof(count));
    return O3_OK;
}

static o3_status read_one(const field *row, char *base, const json_t *json, const place *here, o3_err *err)
{
    char *at = base + row->offset;
    double real;
    bool flag;
    switch (row->type) {
    case FIELD_TEXT:
        return read_text(row, at, json, here, err);
    case FIELD_BOOL:
        if (!json_is_boolean(json) && !json_is_null(json))
            return misfit(here, "true or false", err);
        flag = json_is_true(json);
        memcpy(at, &flag, sizeof(flag));
        return O3_OK;
    case FIELD_REAL:
        if (!json_is_number(json) && !json_is_null(json))
            return misfit(here, "a number", err);
        real = real_of(json);
        memcpy(at, &real, sizeof(real));
        return O3_OK;
    case FIELD_PART:
        return read_table(row->part, at, json, here, err);
    case FIELD_ARRAY:
        return read_array(row, base, json, here, err);
    case FIELD_STEP:
        return read_name(at, json, step_name, O3_STEP_BUDGET, here, err);
    case FIELD_RACE:
        return read_name(at, json, race_name, O3_RACE_FALLBACK, here, err);
    case FIELD_PEAKS:
        return read_peaks((o3_peaks *)(void *)at, json, here, err);
    case FIELD_NOTES:
        return read_notes((o3_notes *)(void *)at, json, here, err);
    case FIELD_PRESETS:
        return read_presets((o3_result *)(void *)base, json, here, err);
    case FIELD_SCHEMA:
        return json_integer_value(json) == O3_SCHEMA ? O3_OK : misfit(here, "the one this version reads (1)", err);
    case FIELD_PROFILE:
        return O3_OK;
    default:
        return read_integer(row, at, json, here, err);
    }
}

static o3_status read_table(const field *table, char *base, const json_t *json, const place *up, o3_err *err)
{
    if (!json_is_object(json) && !json_is_null(json))
        return misfit(up, "an object", err);
    for (const field *row = table; row->name; row++) {
        const json_t *value = json_object_get(json, row->name);
        place here = {up, row->name};
        if (row->required && (!value || json_is_null(value)))
            return misfit(&here, "there", err);
        o3_status status = read_one(row, base, value ? value : json_null(), &here, err);
        if (status)
            return status;
    }
    return O3_OK;
}

o3_status o3_result_from_json(o3_result *ret_result, const json_t *json, o3_err *err)
{
    if (!json_is_object(json))
        return o3_fail(err, O3_E_PROTOCOL, "the stored result is no JSON object");
    o3_auto(free) o3_result *result = o3_alloc(1, sizeof(*result));
    o3_status status = read_table(fields_result, (char *)result, json, NULL, err);
    if (!status)
        *ret_result = *result;
    return status;
}
