/* SPDX-License-Identifier: Apache-2.0 */
/* What a server is set to, as far as memory and speed depend on it: by its version and its environment. */
#include "predict_impl.h"

#define FIT_TARGET_MIB 1024 /* llama-server's default of LLAMA_ARG_FIT_TARGET */
#define SLOTS_MAX 256
#define THREADS_MAX 4096

const o3_kv_type o3_kv_types[] = {
    {"f16", 2, 1, false},     {"bf16", 2, 1, false},   {"f32", 4, 1, false},     {"q8_0", 34, 32, true},
    {"q5_1", 24, 32, true},   {"q5_0", 22, 32, true},  {"q4_1", 20, 32, true},   {"q4_0", 18, 32, true},
    {"iq4_nl", 18, 32, true}, {NULL, 0, 0, false},
};

const o3_kv_type *o3_kv_type_find(const char *name)
{
    if (!*name)
        return &o3_kv_types[0];
    for (const o3_kv_type *type = o3_kv_types; type->name; type++)
        if (!strcasecmp(type->name, name))
            return type;
    return NULL;
}

o3_era o3_era_of(const char *engine_version)
{
    int major, minor, patch = 0;
    if (sscanf(engine_version + (*engine_version == 'v'), "%d.%d.%d", &major, &minor, &patch) < 2 ||
        (major == 0 && minor == 0)) /* a plain go build calls itself 0.0.0 */
        return O3_ERA_C;
    if (major == 0 && minor < 30)
        return O3_ERA_A;
    return major == 0 && minor == 30 && patch < 5 ? O3_ERA_MIDDLE : O3_ERA_C;
}

/* The value of `name` ("X=") in "K=V\n" lines, quotes and blanks trimmed as Ollama does; "" if it is not there. */
static void value_of(const char *env, const char *name, char *dst, size_t size)
{
    size_t len = strlen(name);
    *dst = 0;
    for (const char *line = env; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, name, len))
            continue;
        const char *begin = line + len, *end = line + strcspn(line, "\n");
        while (begin < end && strchr(" \"'", *begin))
            begin++;
        while (end > begin && strchr(" \"'", end[-1]))
            end--;
        o3_format(dst, size, "%.*s", (int)(end - begin), begin);
    }
}

/* Ollama: unset is automatic (on wherever the device can), what it cannot read counts as true. */
static bool flash_of(const char *text)
{
    static const char *const off[] = {"0", "f", "F", "false", "FALSE", "False"};
    for (int i = 0; i < O3_COUNT(off); i++)
        if (!strcmp(text, off[i]))
            return false;
    return true;
}

void o3_setting_of(o3_setting *ret_setting, const char *engine_version, const char *engine_env, o3_notes *notes)
{
    char text[64];
    o3_setting *s = ret_setting;
    *s = (o3_setting){.knobs = O3_KNOBS_DEFAULT, .parallel = 1, .era = o3_era_of(engine_version)};
    value_of(engine_env, "OLLAMA_NUM_PARALLEL=", text, sizeof(text));
    long slots = strtol(text, NULL, 10);
    if (slots > 1 && slots <= SLOTS_MAX)
        s->parallel = (int)slots;
    value_of(engine_env, "OLLAMA_FLASH_ATTENTION=", text, sizeof(text));
    s->flash_attention = flash_of(text);
    s->flash_auto = !*text;
    value_of(engine_env, "OLLAMA_KV_CACHE_TYPE=", text, sizeof(text));
    s->kv_type = o3_kv_type_find(text);
    if (!s->kv_type) {
        s->kv_type = o3_kv_type_find("f16");
        o3_note(notes, "OLLAMA_KV_CACHE_TYPE=%s is no type of llama.cpp, so every load will fail; use f16, q8_0 or q4_0",
                text);
    }
    if (s->kv_type->quantized && !s->flash_attention)
        o3_note(notes, "OLLAMA_KV_CACHE_TYPE=%s needs flash attention, which OLLAMA_FLASH_ATTENTION switches off: loads "
                "will fail", s->kv_type->name);
    value_of(engine_env, "LLAMA_ARG_KV_UNIFIED=", text, sizeof(text));
    s->kv_unified = s->era != O3_ERA_A && *text && flash_of(text);
    value_of(engine_env, "LLAMA_ARG_THREADS=", text, sizeof(text));
    long threads = strtol(text, NULL, 10);
    s->threads = s->era != O3_ERA_A && threads > 0 && threads <= THREADS_MAX ? (int)threads : 0;
    value_of(engine_env, "LLAMA_ARG_FIT_TARGET=", text, sizeof(text));
    long target = strtol(text, NULL, 10);
    s->fit_target_bytes = (target > 0 && target < (1 << 24) ? target : FIT_TARGET_MIB) * 1048576L;
}

/* llama.cpp has room for 8 graph nodes a tensor; with the rotation of a quantised cache these have more, from so many
 * separate slots on (b10488). */
static const struct {
    const char *architecture;
    int slots;
} aborts[] = {{"phi3", 2}, {"granitemoe", 1}};

/* Releases before 0.30 drop a cache type that they cannot use; later ones hand it to the engine, which refuses. */
static void check_kv_type(o3_setting *s, const o3_model *model, o3_notes *notes)
{
    const o3_kv_type *type = s->kv_type;
    const o3_layer *l = predict_attention_layer(model);
    bool dropped = s->era == O3_ERA_A && type->quantized && strcmp(type->name, "q8_0") && strcmp(type->name, "q4_0");
    if (s->era == O3_ERA_A && type->quantized && !predict_own_engine(model, s, NULL))
        dropped = dropped || s->flash_auto;
    if (dropped || (s->era == O3_ERA_A && type->quantized && !s->flash_attention)) {
        s->kv_type = o3_kv_type_find("f16");
        o3_note(notes, "this release of Ollama ignores OLLAMA_KV_CACHE_TYPE=%s for %s and keeps f16; it takes q8_0 and q4_0 "
                "with OLLAMA_FLASH_ATTENTION=1", type->name, model->architecture);
    } else if (type->quantized && l && (l->key_dim % type->values || l->value_dim % type->values)) {
        o3_note(notes, "heads of %d values cannot be kept as %s (blocks of %d), so every load will fail; use f16",
                l->key_dim, type->name, type->values);
    } else if (predict_rotation(model, s) > 0) {
        for (int i = 0; i < O3_COUNT(aborts); i++)
            if (!strcmp(aborts[i].architecture, model->architecture) && (s->kv_unified ? 1 : s->parallel) >= aborts[i].slots)
                o3_note(notes, "the engine aborts while it loads %s with a quantised KV cache%s; use %sOLLAMA_KV_CACHE_TYPE=f16",
                        model->architecture, aborts[i].slots > 1 ? " and several slots" : "",
                        aborts[i].slots > 1 ? "OLLAMA_NUM_PARALLEL=1 or " : "");
    }
}

void o3_setting_for(o3_setting *setting, const o3_model *model, o3_notes *notes)
{
    bool flash;
    if (model->one_slot && setting->parallel > 1) {
        o3_note(notes, "Ollama gives %s models one slot, whatever OLLAMA_NUM_PARALLEL says", model->architecture);
        setting->parallel = 1;
    }
    if (predict_own_engine(model, setting, &flash) && setting->flash_auto)
        setting->flash_attention = flash;
    check_kv_type(setting, model, notes);
}

o3_setting o3_setting_at(const o3_setting *setting, int64_t num_ctx)
{
    o3_setting at = *setting;
    at.knobs.num_ctx = (int32_t)num_ctx;
    return at;
}

int64_t predict_batch(const o3_setting *setting)
{
    int64_t total = (int64_t)setting->knobs.num_ctx * setting->parallel;
    if (setting->knobs.num_batch != O3_UNSET)
        return setting->knobs.num_batch;
    if (setting->era == O3_ERA_A)
        return 512;
    return total <= 4096 ? 512 : total <= 32768 ? 1024 : 2048; /* server/sched.go of 0.30 and later, no GPU */
}
