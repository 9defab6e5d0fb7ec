/* SPDX-License-Identifier: Apache-2.0 */
/* Structs to JSON, by the tables of fields.c. */
#include <inttypes.h>

#include "base/base.h"
#include "fields.h"

/* The length of the UTF-8 character at `p`, 0 if there is none. */
static size_t character(const unsigned char *p)
{
    size_t len = p[0] < 0x80 ? 1 : p[0] >= 0xc2 && p[0] < 0xe0 ? 2 : (p[0] & 0xf0) == 0xe0 ? 3
                 : p[0] >= 0xf0 && p[0] < 0xf5 ? 4 : 0;
    for (size_t i = 1; i < len; i++)
        if ((p[i] & 0xc0) != 0x80)
            return 0;
    return len;
}

json_t *fields_text(const char *text)
{
    json_t *json = json_string(text);
    if (json)
        return json;
    o3_auto(free) char *fixed = o3_strdup(text);
    for (unsigned char *p = (unsigned char *)fixed; *p;) {
        size_t len = character(p);
        if (!len)
            *p = '?';
        p += len ? len : 1;
    }
    if (!(json = json_string(fixed))) { /* what is left: surrogates, overlong forms */
        for (char *p = fixed; *p; p++)
            if (*p & 0x80)
                *p = '?';
        json = json_string(fixed);
    }
    return json;
}

static json_t *integer_or_null(int64_t value, bool missing)
{
    return missing ? json_null() : json_integer((json_int_t)value);
}

static json_t *write_peaks(const o3_peaks *peaks)
{
    json_t *json = json_object(), *runner = json_object();
    for (int i = 0; i < peaks->count; i++) {
        const o3_peak *peak = &peaks->pools[i];
        o3_auto(free) char *name = o3_strdup(peak->pool);
        json_t *key = fields_text(name);
        json_object_set_new(json, json_string_value(key), integer_or_null(peak->bytes, peak->bytes < 0));
        json_object_set_new(runner, json_string_value(key),
                            integer_or_null(peak->runner_bytes, peak->runner_bytes < 0));
        json_decref(key);
    }
    json_object_set_new(json, "runner", runner);
    json_object_set_new(json, "temperature_c", isfinite(peaks->temperature_c) ? json_real(peaks->temperature_c)
                                                                              : json_null());
    json_object_set_new(json, "cpu_frac", isfinite(peaks->cpu_frac) ? json_real(peaks->cpu_frac) : json_null());
    return json;
}

static json_t *write_notes(const o3_notes *notes)
{
    json_t *json = json_array();
    for (int i = 0; i < notes->count; i++)
        json_array_append_new(json, fields_text(notes->text[i]));
    return json;
}

static json_t *write_presets(const o3_result *result)
{
    json_t *json = json_object();
    for (int i = 0; i < result->preset_count; i++) {
        json_t *key = fields_text(result->presets[i].name);
        json_object_set_new(json, json_string_value(key), fields_write(fields_preset, &result->presets[i]));
        json_decref(key);
    }
    return json;
}

static json_t *write_array(const field *row, const char *base)
{
    json_t *json = json_array();
    int count;
    memcpy(&count, base + row->count, sizeof(count));
    for (int i = 0; i < count; i++)
        json_array_append_new(json, fields_write(row->part, base + row->offset + (size_t)i * row->size));
    return json;
}

static json_t *write_small(const field *row, const char *at)
{
    int32_t i32 = 0;
    int64_t i64 = 0;
    if (row->type == FIELD_I64 || row->type == FIELD_SEED)
        memcpy(&i64, at, sizeof(i64));
    else
        memcpy(&i32, at, sizeof(i32));
    switch (row->type) {
    case FIELD_COUNT:
        return json_integer(i32);
    case FIELD_I32:
        return integer_or_null(i32, i32 < 0);
    case FIELD_I64:
        return integer_or_null(i64, i64 < 0);
    case FIELD_KNOB:
        return integer_or_null(i32, i32 == O3_UNSET);
    case FIELD_SWITCH:
        return i32 == O3_UNSET ? json_null() : json_boolean(i32);
    case FIELD_STEP:
        return json_string(o3_step_reason_name((o3_step_reason)i32));
    case FIELD_RACE:
        return json_string(o3_race_verdict_name((o3_race_verdict)i32));
    case FIELD_OUTCOME:
        return json_string(o3_outcome_name((o3_outcome)i32));
    case FIELD_KIND:
        return json_string(o3_sample_kind_name((o3_sample_kind)i32));
    case FIELD_VENDOR:
        return json_string(fields_vendors[i32]);
    default:
        return json_sprintf("%" PRIu64, (uint64_t)i64);
    }
}

static json_t *write_one(const field *row, const char *base)
{
    const char *at = base + row->offset;
    double real;
    bool flag;
    switch (row->type) {
    case FIELD_TEXT:
        return *at ? fields_text(at) : json_null();
    case FIELD_BOOL:
        memcpy(&flag, at, sizeof(flag));
        return json_boolean(flag);
    case FIELD_REAL:
        memcpy(&real, at, sizeof(real));
        return isfinite(real) ? json_real(real) : json_null();
    case FIELD_PART:
        return fields_write(row->part, at);
    case FIELD_ARRAY:
        return write_array(row, base);
    case FIELD_PEAKS:
        return write_peaks((const o3_peaks *)(const void *)at);
    case FIELD_NOTES:
        return write_notes((const o3_notes *)(const void *)at);
    case FIELD_PRESETS:
        return write_presets((const o3_result *)(const void *)base);
    case FIELD_SCHEMA:
        return json_integer(O3_SCHEMA);
    case FIELD_PROFILE:
        return json_null();
    default:
        return write_small(row, at);
    }
}

json_t *fields_write(const field *table, const void *base)
{
    json_t *json = json_object();
    for (const field *row = table; row->name; row++)
        json_object_set_new(json, row->name, write_one(row, base));
    return json;
}

/* "K=V\n..." as an array, a space separated list too; null where nothing could be read. */
static json_t *split(const char *text, const char *separators)
{
    json_t *json = json_array();
    o3_auto(free) char *copy = o3_strdup(text);
    char *rest = NULL;
    for (char *word = strtok_r(copy, separators, &rest); word; word = strtok_r(NULL, separators, &rest))
        json_array_append_new(json, fields_text(word));
    return json;
}

json_t *o3_profile_to_json(const o3_profile *profile)
{
    if (!profile)
        return json_null();
    json_t *json = fields_write(fields_profile, profile);
    json_object_set_new(json_object_get(json, "cpu"), "isa", split(profile->isa, " "));
    json_object_set_new(json_object_get(json, "process"), "env",
                        profile->engine_env_known ? split(profile->engine_env, "\n") : json_null());
    json_t *aside = json_array();
    for (int i = profile->gpu_count; i < profile->gpus_seen; i++)
        json_array_append_new(aside, fields_write(fields_gpu, &profile->gpus[i]));
    json_object_set_new(json, "gpus_aside", aside);
    for (int i = 0; i < profile->gpu_count; i++) {
        int64_t total = profile->pools[profile->gpus[i].pool].total_bytes;
        json_object_set_new(json_array_get(json_object_get(json, "gpus"), (size_t)i), "memory_bytes",
                            integer_or_null(total, total < 0));
    }
    return json;
}

json_t *o3_result_to_json(const o3_result *result, const o3_profile *profile)
{
    json_t *json = fields_write(fields_result, result);
    json_object_set_new(json, "profile", o3_profile_to_json(profile));
    /* A baseline that nobody filled is zeroed in memory; in the document it is missing, not 0. */
    if (!result->baseline.measured && result->baseline.knobs.num_ctx == 0)
        json_object_set_new(json, "baseline", fields_write(fields_preset, &o3_preset_none));
    return json;
}

json_t *o3_trial_to_json(const o3_trial *trial)
{
    return fields_write(fields_trial, trial);
}

/* Shortest decimal text that reads back as the same double: jansson writes 17 digits, 0.85 as 0.84999999999999998. */
static void shorten(o3_buf *buf, const char *digits, size_t len)
{
    char text[64], tried[64];
    o3_format(text, sizeof(text), "%.*s", (int)len, digits);
    double value = strtod(text, NULL);
    for (int precision = 6; precision < 17 && strpbrk(text, ".eE"); precision++) {
        O3_FORMAT(tried, "%.*g", precision, value);
        if (strtod(tried, NULL) == value) {
            O3_FORMAT(text, "%s%s", tried, strpbrk(tried, ".e") ? "" : ".0");
            break;
        }
    }
    o3_buf_str(buf, text);
}

char *o3_json_text(const json_t *json)
{
    o3_auto(free) char *raw = json_dumps(json, JSON_INDENT(2) | JSON_ENCODE_ANY);
    if (!raw)
        return o3_strdup("null");
    o3_buf buf = O3_BUF(64u << 20);
    for (const char *p = raw; *p;) {
        size_t len;
        if (*p == '"') {
            for (len = 1; p[len] != '"'; len++)
                len += p[len] == '\\';
            o3_buf_add(&buf, p, ++len);
        } else if ((len = strspn(p, "+-.0123456789eE")) && (*p == '-' || (*p >= '0' && *p <= '9'))) {
            shorten(&buf, p, len);
        } else {
            len = strcspn(p, "\"-0123456789");
            o3_buf_add(&buf, p, len);
        }
        p += len;
    }
    return buf.data ? buf.data : o3_strdup("null");
}
