/* SPDX-License-Identifier: Apache-2.0 */
/* The format table and its three formats. A knob that is unset is not written: the server's own choice stays. */
#include <ctype.h>
#include <jansson.h>

#include "base/base.h"
#include "o3/export.h"

#define EXPORT_MAX (1u << 20)

void o3_preset_model_name(const char *model, const char *preset, char ret_name[O3_NAME_MAX])
{
    char suffix[80];
    const char *slash = strrchr(model, '/');
    bool tagged = strchr(slash ? slash : model, ':');
    O3_COPY(suffix, preset);
    for (char *p = suffix; *p; p++) /* what a tag of Ollama may hold */
        if (!isalnum((unsigned char)*p) && *p != '.')
            *p = '-';
    o3_format(ret_name, O3_NAME_MAX, "%s%so3-%s", model, tagged ? "-" : ":", suffix);
}

static const char *or_unknown(const char *text)
{
    return *text ? text : "unknown";
}

/* One line of text: names come from a server and may hold anything. */
static void add_plain(o3_buf *buf, const char *text)
{
    for (; *text; text++) {
        char c = (unsigned char)*text < 0x20 || *text == 0x7f ? '?' : *text;
        o3_buf_add(buf, &c, 1);
    }
}

static void add_comment(o3_buf *buf, const char *text)
{
    o3_buf_str(buf, "# ");
    add_plain(buf, text);
    o3_buf_str(buf, "\n");
}

static void add_knob_value(o3_buf *buf, const o3_knob_field *field, int32_t value)
{
    if (field->boolean)
        o3_buf_str(buf, value ? "true" : "false");
    else
        o3_buf_printf(buf, "%d", value);
}

static void plain_number(char *dst, size_t size, double value)
{
    o3_format(dst, size, fabs(value) >= 1000 ? "%.0f" : "%.4g", value);
}

static void measure_words(char *dst, size_t size, const char *what, const char *unit, const o3_measure *m)
{
    char spread[96] = "", depth[48] = "", low[32], high[32], mean[32];
    dst[0] = '\0';
    if (!isfinite(m->mean))
        return;
    plain_number(mean, sizeof(mean), m->mean);
    plain_number(low, sizeof(low), m->low);
    plain_number(high, sizeof(high), m->high);
    if (m->n > 0 && isfinite(m->low) && isfinite(m->high))
        O3_FORMAT(spread, " (95 %% interval %s to %s, n %d)", low, high, m->n);
    else if (m->n > 0)
        O3_FORMAT(spread, " (n %d)", m->n);
    else if (isfinite(m->low) && isfinite(m->high))
        O3_FORMAT(spread, " (predicted, %s to %s)", low, high);
    else
        O3_COPY(spread, " (predicted)");
    if (m->depth_tokens >= 0)
        O3_FORMAT(depth, " at %lld tokens", (long long)m->depth_tokens);
    o3_format(dst, size, "%s %s %s%s%s", what, mean, unit, depth, spread);
}

/* What stands behind the numbers, as comment lines. */
static void add_evidence(o3_buf *buf, const char *indent, const o3_result *result, const o3_preset *preset)
{
    char line[512];
    const struct {
        const char *what, *unit;
        const o3_measure *measure;
    } rows[] = {
        {"decode", "tokens/s", &preset->decode_per_s},
        {"prefill", "tokens/s", &preset->prefill_per_s},
        {"time to first token", "ms", &preset->ttft_ms},
    };
    o3_buf_str(buf, indent);
    if (preset->proven && preset->knobs.num_ctx == result->ceiling.proven_tokens && result->ceiling.filled_tokens > 0)
        O3_FORMAT(line, "window proven: %lld prompt tokens evaluated whole, %d fill%s",
                  (long long)result->ceiling.filled_tokens, result->ceiling.proofs,
                  result->ceiling.proofs == 1 ? "" : "s");
    else
        O3_COPY(line, preset->proven     ? "window proven: filled and evaluated whole"
                      : preset->measured ? "measured; its whole window was not filled"
                                         : "PREDICTED: nothing of it was measured");
    add_comment(buf, line);
    for (int i = 0; i < O3_COUNT(rows); i++) {
        measure_words(line, sizeof(line), rows[i].what, rows[i].unit, rows[i].measure);
        if (!*line)
            continue;
        o3_buf_str(buf, indent);
        add_comment(buf, line);
    }
}

static void add_origin(o3_buf *buf, const o3_result *result)
{
    char line[O3_NAME_MAX + 256];
    O3_FORMAT(line, "made by o3 " O3_VERSION " for %s on this machine with Ollama %s", result->model,
              or_unknown(result->engine_version));
    add_comment(buf, line);
    O3_FORMAT(line, "run %s, finished %s%s", or_unknown(result->run_id), or_unknown(result->finished_at),
              result->complete ? "" : ", best so far (not complete)");
    add_comment(buf, line);
}

static char *write_modelfile(const o3_result *result, const o3_preset *preset)
{
    o3_buf buf = O3_BUF(EXPORT_MAX);
    char name[O3_NAME_MAX], line[O3_NAME_MAX + 96];
    o3_preset_model_name(result->model, preset->name, name);
    add_origin(&buf, result);
    O3_FORMAT(line, "preset %s", preset->name);
    add_comment(&buf, line);
    add_evidence(&buf, "", result, preset);
    O3_FORMAT(line, "use: ollama create %s -f THIS_FILE", name);
    add_comment(&buf, line);
    o3_buf_str(&buf, "FROM ");
    add_plain(&buf, result->model);
    o3_buf_str(&buf, "\n");
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) {
        int32_t value = o3_knob_get(&preset->knobs, field);
        if (value == O3_UNSET)
            continue;
        o3_buf_printf(&buf, "PARAMETER %s ", field->name);
        add_knob_value(&buf, field, value);
        o3_buf_str(&buf, "\n");
    }
    return O3_TAKE(buf.data);
}

/* JSON's escapes are YAML's escapes in double quotes. */
static void add_quoted(o3_buf *buf, const char *text)
{
    o3_buf_str(buf, "\"");
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\')
            o3_buf_printf(buf, "\\%c", *p);
        else if ((unsigned char)*p < 0x20 || *p == 0x7f)
            o3_buf_printf(buf, "\\x%02x", (unsigned)(unsigned char)*p);
        else
            o3_buf_add(buf, p, 1);
    }
    o3_buf_str(buf, "\"");
}

static void add_yaml_text(o3_buf *buf, const char *key, const char *text)
{
    o3_buf_printf(buf, "%s: ", key);
    if (*text)
        add_quoted(buf, text);
    else
        o3_buf_str(buf, "null");
    o3_buf_str(buf, "\n");
}

static void add_yaml_preset(o3_buf *buf, const o3_result *result, const o3_preset *preset)
{
    o3_buf_str(buf, "  ");
    add_quoted(buf, preset->name);
    o3_buf_str(buf, ":\n");
    add_evidence(buf, "    ", result, preset);
    add_yaml_text(buf, "    description", preset->description);
    o3_buf_printf(buf, "    measured: %s\n    proven: %s\n    options:", preset->measured ? "true" : "false",
                  preset->proven ? "true" : "false");
    bool any = false;
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) {
        int32_t value = o3_knob_get(&preset->knobs, field);
        if (value == O3_UNSET)
            continue;
        o3_buf_printf(buf, "\n      %s: ", field->name);
        add_knob_value(buf, field, value);
        any = true;
    }
    o3_buf_str(buf, any ? "\n" : " {}\n");
}

static char *write_yaml(const o3_result *result, const o3_preset *preset)
{
    o3_buf buf = O3_BUF(EXPORT_MAX);
    add_origin(&buf, result);
    add_comment(&buf, "options: send them with each request, as \"options\" of /api/generate and /api/chat");
    add_yaml_text(&buf, "model", result->model);
    add_yaml_text(&buf, "digest", result->digest);
    add_yaml_text(&buf, "engine_version", result->engine_version);
    add_yaml_text(&buf, "run_id", result->run_id);
    add_yaml_text(&buf, "finished_at", result->finished_at);
    o3_buf_str(&buf, "presets:\n");
    for (int i = 0; i < result->preset_count; i++)
        if (!preset || preset == &result->presets[i])
            add_yaml_preset(&buf, result, &result->presets[i]);
    return O3_TAKE(buf.data);
}

static json_t *text_or_null(const char *text)
{
    json_t *json = *text ? json_string(text) : NULL;
    return json ? json : json_null();
}

static json_t *number_or_null(double value)
{
    return isfinite(value) ? json_real(value) : json_null();
}

static json_t *preset_json(const o3_preset *preset)
{
    json_t *json = json_object(), *options = json_object();
    for (const o3_knob_field *field = o3_knob_fields; field->name; field++) {
        int32_t value = o3_knob_get(&preset->knobs, field);
        if (value != O3_UNSET)
            json_object_set_new(options, field->name, field->boolean ? json_boolean(value) : json_integer(value));
    }
    json_object_set_new(json, "description", text_or_null(preset->description));
    json_object_set_new(json, "measured", json_boolean(preset->measured));
    json_object_set_new(json, "proven", json_boolean(preset->proven));
    json_object_set_new(json, "options", options);
    json_object_set_new(json, "decode_per_s", number_or_null(preset->decode_per_s.mean));
    json_object_set_new(json, "prefill_per_s", number_or_null(preset->prefill_per_s.mean));
    json_object_set_new(json, "ttft_ms", number_or_null(preset->ttft_ms.mean));
    return json;
}

static char *write_json(const o3_result *result, const o3_preset *preset)
{
    json_t *json = json_object(), *presets = json_object();
    json_object_set_new(json, "schema", json_integer(1));
    json_object_set_new(json, "model", text_or_null(result->model));
    json_object_set_new(json, "digest", text_or_null(result->digest));
    json_object_set_new(json, "engine_version", text_or_null(result->engine_version));
    json_object_set_new(json, "run_id", text_or_null(result->run_id));
    json_object_set_new(json, "finished_at", text_or_null(result->finished_at));
    for (int i = 0; i < result->preset_count; i++)
        if (!preset || preset == &result->presets[i])
            json_object_set_new(presets, result->presets[i].name, preset_json(&result->presets[i]));
    json_object_set_new(json, "presets", presets);
    o3_auto(free) char *text = json_dumps(json, JSON_INDENT(2) | JSON_REAL_PRECISION(6));
    json_decref(json);
    o3_buf buf = O3_BUF(EXPORT_MAX);
    o3_buf_printf(&buf, "%s\n", text ? text : "{}");
    return O3_TAKE(buf.data);
}

const o3_exporter o3_exporters[] = {
    {.name = "yaml", .help = "presets with their options and evidence, for people and scripts", .write = write_yaml},
    {.name = "json", .help = "the same for programs: .presets.NAME.options goes into a request", .write = write_json},
    {.name = "modelfile", .help = "one preset as a Modelfile for `ollama create`", .one_preset = true,
     .write = write_modelfile},
    {.name = NULL},
};

const o3_exporter *o3_exporter_find(const char *name)
{
    for (const o3_exporter *exporter = o3_exporters; exporter->name; exporter++)
        if (!strcmp(exporter->name, name))
            return exporter;
    return NULL;
}
