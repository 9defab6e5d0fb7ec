/* SPDX-License-Identifier: Apache-2.0 */
/* Verbose /api/show: the per-layer arrays that the plain answer leaves out come with vocabularies of tens of MB. Those
 * are cut out of the stream byte by byte, before anything is parsed or kept. */
#include "engine_impl.h"

#define THIN_MAX (32u << 20)
static const char cut[] = "tokenizer."; /* keys whose arrays are of no use here */

arrays_filter arrays_filter_new(size_t max_bytes)
{
    return (arrays_filter){.out = O3_BUF(max_bytes)};
}

/* Inside a string: escapes, its end, and whether its beginning is that of a key to cut. */
static void in_string(arrays_filter *f, char c)
{
    if (f->escaped) {
        f->escaped = false;
        f->matched = -1; /* an escape is in none of the keys */
    } else if (c == '\\') {
        f->escaped = true;
    } else if (c == '"') {
        f->string = false;
    } else if (f->matched >= 0 && cut[f->matched]) {
        f->matched = c == cut[f->matched] ? f->matched + 1 : -1;
    }
}

/* Outside of strings: what may follow a key, until its value shows whether it is an array. */
static void in_structure(arrays_filter *f, char c)
{
    bool blank = c == ' ' || c == '\t' || c == '\n' || c == '\r';
    if (c == '"') {
        f->string = true;
        f->matched = 0;
        f->after_key = false;
    } else if (c == ':') {
        f->after_key = f->matched >= 0 && !cut[f->matched];
    } else if (c == '[' && f->after_key) {
        f->depth = 1;
        f->after_key = false;
    } else if (!blank) {
        f->after_key = false;
        f->matched = -1;
    }
}

bool arrays_filter_add(arrays_filter *f, const char *bytes, size_t len)
{
    size_t from = 0; /* first byte of the run that is passed on */
    for (size_t i = 0; i < len; i++) {
        bool cutting = f->depth > 0;
        if (f->string) {
            in_string(f, bytes[i]);
        } else if (!cutting) {
            in_structure(f, bytes[i]);
            if (f->depth) { /* the array begins here */
                o3_buf_add(&f->out, bytes + from, i - from);
                o3_buf_str(&f->out, "null");
            }
        } else if (bytes[i] == '"') {
            f->string = true;
            f->matched = -1;
        } else if (bytes[i] == '[' || bytes[i] == ']') {
            f->depth = bytes[i] == '[' ? f->depth + 1 : f->depth - 1;
        }
        if (f->depth || cutting)
            from = i + 1;
    }
    if (from < len)
        o3_buf_add(&f->out, bytes + from, len - from);
    return !f->out.overflow;
}

static bool on_bytes(void *ctx, int64_t now_ns, const char *bytes, size_t len)
{
    (void)now_ns;
    return arrays_filter_add(ctx, bytes, len);
}

o3_status ollama_show_arrays(o3_engine *engine, const char *model, json_t **ret_show, o3_err *err)
{
    arrays_filter filter = arrays_filter_new(THIN_MAX);
    json_t *show = NULL;
    o3_status status = ollama_show(engine, model, true, on_bytes, &filter, &show, err);
    if (!status && filter.out.overflow)
        status = o3_fail(err, O3_E_PROTOCOL, "%s answers /api/show of %s with more than %u MB even without its "
                         "vocabulary; check --host", engine->where, model, THIN_MAX >> 20);
    if (!status) {
        show = json_loadb(o3_buf_text(&filter.out), filter.out.len, 0, NULL);
        if (!json_is_object(show)) {
            json_decref(show);
            status = o3_fail(err, O3_E_PROTOCOL, "%s answers /api/show without an object; check --host", engine->where);
        } else {
            *ret_show = show;
        }
    }
    o3_buf_release(&filter.out);
    return status;
}
