/* SPDX-License-Identifier: Apache-2.0 */
/* Predictions as JSON (docs/schema/predict.schema.json). */
#include "base/base.h"
#include "fields.h"

static json_t *real(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *bytes(double value)
{
    return isfinite(value) && value >= 0 ? json_integer((json_int_t)(value + 0.5)) : json_null();
}

static json_t *known(int64_t value)
{
    return value >= 0 ? json_integer(value) : json_null();
}

static json_t *text(const char *value)
{
    return *value ? fields_text(value) : json_null();
}

static json_t *range(const o3_range *r)
{
    return json_pack("{s:o, s:o, s:o}", "low", real(r->low), "mid", real(r->mid), "high", real(r->high));
}

static json_t *byte_range(const o3_range *r)
{
    return json_pack("{s:o, s:o, s:o}", "low", bytes(r->low), "mid", bytes(r->mid), "high", bytes(r->high));
}

static json_t *notes_json(const o3_notes *notes)
{
    json_t *json = json_array();
    for (int i = 0; i < notes->count; i++)
        json_array_append_new(json, fields_text(notes->text[i]));
    return json;
}

static json_t *setting_json(const o3_setting *s)
{
    static const char *const eras[] = {[O3_ERA_A] = "before 0.30", [O3_ERA_MIDDLE] = "0.30.0 to 0.30.4",
                                       [O3_ERA_C] = "0.30.5 and later"};
    json_t *json = json_object();
    for (const o3_knob_field *f = o3_knob_fields; f->name; f++) {
        int32_t value = o3_knob_get(&s->knobs, f);
        json_object_set_new(json, f->name, value == O3_UNSET ? json_null()
                                           : f->boolean ? json_boolean(value) : json_integer(value));
    }
    json_object_set_new(json, "parallel", json_integer(s->parallel));
    json_object_set_new(json, "kv_type", json_string(s->kv_type->name));
    json_object_set_new(json, "flash_attention", json_boolean(s->flash_attention));
    json_object_set_new(json, "releases", json_string(eras[s->era]));
    return json;
}

static json_t *pool_json(const o3_pool_estimate *p)
{
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:i, s:o}", "name", fields_text(p->name), "weights_bytes",
                     bytes(p->weights_bytes), "kv_bytes", bytes(p->kv_bytes), "state_bytes", bytes(p->state_bytes),
                     "compute_bytes", bytes(p->compute_bytes), "output_bytes", bytes(p->output_bytes), "overhead_bytes",
                     byte_range(&p->overhead_bytes), "total_bytes", byte_range(&p->total_bytes), "layers", p->layers,
                     "room_bytes", p->room_bytes == INT64_MAX ? json_null() : json_integer(p->room_bytes));
}

static json_t *memory_json(const o3_outlook *o)
{
    const o3_estimate *e = &o->estimate;
    json_t *pools = json_array();
    for (int i = 0; i < e->pool_count; i++)
        json_array_append_new(pools, pool_json(&e->pools[i]));
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o, s:o}", "pools", pools, "weights_bytes",
                     bytes(e->weights_bytes.mid), "kv_bytes", bytes(e->kv_bytes.mid), "state_bytes",
                     bytes(e->state_bytes.mid), "output_bytes", bytes(e->output_bytes.mid), "compute_bytes",
                     byte_range(&e->compute_bytes), "overhead_bytes", byte_range(&e->overhead_bytes), "total_bytes",
                     byte_range(&e->total_bytes), "size_bytes", byte_range(&o->size_bytes));
}

static json_t *speed_json(const o3_speed *s)
{
    return json_pack("{s:I, s:I, s:o, s:o, s:o}", "num_ctx", (json_int_t)s->num_ctx, "depth_tokens",
                     (json_int_t)s->depth_tokens, "prefill_per_s", range(&s->prefill_per_s), "decode_per_s",
                     range(&s->decode_per_s), "ttft_ms", range(&s->ttft_ms));
}

static json_t *rows_json(const o3_outlook *o)
{
    json_t *json = json_array();
    for (int i = 0; i < o->row_count; i++) {
        const o3_outlook_row *row = &o->rows[i];
        json_array_append_new(json, json_pack("{s:I, s:o, s:f, s:b}", "num_ctx", (json_int_t)row->num_ctx, "total_bytes",
                                              byte_range(&row->total_bytes), "spilled_frac", row->spilled_frac, "fits",
                                              (int)row->fits));
    }
    return json;
}

static json_t *speeds_json(const o3_outlook *o)
{
    json_t *json = json_array();
    for (int i = 0; i < o->row_count; i++) {
        json_array_append_new(json, speed_json(&o->rows[i].half));
        json_array_append_new(json, speed_json(&o->rows[i].full));
    }
    return json;
}

json_t *o3_outlook_to_json(const o3_outlook *o)
{
    const o3_model *m = o->model;
    const o3_estimate *e = &o->estimate;
    json_t *json = json_object();
    const struct {
        const char *name;
        json_t *value;
    } members[] = {
        {"schema", json_integer(O3_SCHEMA)},
        {"model", fields_text(m->name)},
        {"digest", text(m->digest)},
        {"architecture", text(m->architecture)},
        {"quantization", text(m->quantization)},
        {"parameters", known(m->parameters)},
        {"trained_tokens", known(m->trained_tokens)},
        {"engine_version", text(o->engine_version)},
        {"setting", setting_json(&e->setting)},
        {"fits", json_boolean(o->fits)},
        {"memory", memory_json(o)},
        {"ceiling_tokens", known(o->ceiling_tokens)},
        {"ceiling_at_rest_tokens", known(o->ceiling_at_rest_tokens)},
        {"limited_by", o->ceiling_tokens < 0 ? json_null()
                       : o->limiting >= 0 ? fields_text(o->profile->pools[o->limiting].name) : json_string("training")},
        {"contexts", rows_json(o)},
        {"speed", speeds_json(o)},
        {"spilled_frac", real(e->spilled_frac)},
        {"on_device_decode_per_s", isfinite(o->on_device_decode_per_s.mid) ? range(&o->on_device_decode_per_s)
                                                                          : json_null()},
        {"prompt_cache_bytes_per_token", known(e->prompt_cache_bytes_per_token)},
        {"optimize_s", real(o->optimize_s)},
        {"origin", text(e->origin)},
        {"notes", notes_json(&o->notes)},
    };
    for (int i = 0; i < O3_COUNT(members); i++)
        json_object_set_new(json, members[i].name, members[i].value);
    return json;
}

static json_t *line_json(const o3_outlook_line *l)
{
    bool can = !*l->why_not;
    return json_pack("{s:o, s:o, s:o, s:o, s:o, s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "model", fields_text(l->name), "digest",
                     text(l->digest), "size_bytes", known(l->size_bytes), "parameters", known(l->parameters),
                     "trained_tokens", known(l->trained_tokens), "runs", can && l->ceiling_tokens != 0,
                     "ceiling_tokens", can ? known(l->ceiling_tokens) : json_null(), "ceiling_at_rest_tokens",
                     can ? known(l->ceiling_at_rest_tokens) : json_null(), "total_bytes",
                     can ? byte_range(&l->total_bytes) : json_null(), "spilled_frac",
                     can ? real(l->spilled_frac) : json_null(), "speed", can ? speed_json(&l->speed) : json_null(),
                     "why_not", text(l->why_not));
}

json_t *o3_outlook_table_to_json(const o3_outlook_line *lines, int count)
{
    json_t *list = json_array();
    for (int i = 0; i < count; i++)
        json_array_append_new(list, line_json(&lines[i]));
    return json_pack("{s:i, s:o}", "schema", O3_SCHEMA, "models", list);
}
