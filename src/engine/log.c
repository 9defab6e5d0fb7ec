/* SPDX-License-Identifier: Apache-2.0 */
/* Ollama's log, line by line. The runner's lines are llama.cpp's own words (0.30 and later) or Ollama's load request
 * (before); what a release does not say stays unknown. */
#include "engine_impl.h"

#define MIB 1048576.0

static void forget_load(o3_log_facts *f)
{
    int loads = f->loads;
    *f = (o3_log_facts){.loads = loads, .model_bytes = NAN, .kv_bytes = NAN, .compute_bytes = NAN, .host_bytes = NAN,
                        .layers = -1, .layers_offloaded = -1, .slots = -1, .prompt_cache_bytes = -1,
                        .fit_target_bytes = -1};
}

static void add_to(double *sum, double bytes)
{
    *sum = isnan(*sum) ? bytes : *sum + bytes;
}

/* "load_tensors:   CPU model buffer size =    92.10 MiB": the device is the word before the kind. */
static void take_buffer(o3_log_facts *f, const char *line)
{
    const struct {
        const char *words;
        double *sum;
    } kinds[] = {{" model buffer size", &f->model_bytes},
                 {" KV buffer size", &f->kv_bytes},
                 {" RS buffer size", &f->kv_bytes},
                 {" compute buffer size", &f->compute_bytes}};
    for (int i = 0; i < O3_COUNT(kinds); i++) {
        const char *at = strstr(line, kinds[i].words), *equals = at ? strchr(at, '=') : NULL;
        double mib = equals ? strtod(equals + 1, NULL) : -1;
        const char *device = at;
        if (!at || !(mib >= 0 && mib < 1e9))
            continue;
        while (device > line && device[-1] != ' ' && device[-1] != ':')
            device--;
        add_to(kinds[i].sum, mib * MIB);
        bool host = !strncmp(device, "CPU", 3) || strstr(device, "_Host ") || strstr(device, "_Mapped ");
        add_to(&f->host_bytes, host ? mib * MIB : 0);
    }
}

/* The word behind `key`, up to a blank or one of "\"),}". */
static bool word_after(const char *line, const char *key, char *dst, size_t size)
{
    const char *at = strstr(line, key);
    if (!at)
        return false;
    at += strlen(key);
    at += strspn(at, " =");
    o3_format(dst, size, "%.*s", (int)strcspn(at, " \"),}\r"), at);
    for (char *c = dst; *c; c++) /* Ollama writes Enabled, llama.cpp enabled */
        *c = (char)(*c >= 'A' && *c <= 'Z' ? *c + 32 : *c);
    return true;
}

static void take_number(const char *line, const char *key, int *ret)
{
    char word[16];
    if (word_after(line, key, word, sizeof(word)) && *word >= '0' && *word <= '9')
        *ret = atoi(word);
}

static void take_placement(o3_log_facts *f, const char *line)
{
    int some, all;
    long long mib;
    const char *at = strstr(line, "offloaded ");
    if (at && sscanf(at, "offloaded %d/%d layers", &some, &all) == 2) {
        f->layers_offloaded = some;
        f->layers = all;
    }
    at = strstr(line, "_fit_impl: will leave ") ? strstr(line, ">= ") : NULL;
    if (at && sscanf(at, ">= %lld MiB", &mib) == 1)
        f->fit_target_bytes = mib * 1048576;
    at = strstr(line, "prompt cache is enabled, size limit: ");
    if (at && sscanf(at, "prompt cache is enabled, size limit: %lld MiB", &mib) == 1)
        f->prompt_cache_bytes = mib * 1048576;
    if (strstr(line, "prompt cache is disabled"))
        f->prompt_cache_bytes = 0;
}

static void take_line(o3_log_facts *f, const char *line, char *error, char *last, size_t size)
{
    if (strstr(line, "llama_model_loader: loaded meta data") || strstr(line, "Operation:commit"))
        forget_load(f);
    f->loads += strstr(line, "llama_model_loader: loaded meta data") != NULL;
    take_buffer(f, line);
    take_placement(f, line);
    if (strstr(line, "llama_kv_cache"))
        word_after(line, ", K (", f->kv_type, sizeof(f->kv_type));
    word_after(line, "KvCacheType:", f->kv_type, sizeof(f->kv_type));
    word_after(line, " flash_attn ", f->flash, sizeof(f->flash));
    word_after(line, "Flash Attention was auto, set to ", f->flash, sizeof(f->flash));
    word_after(line, "FlashAttention:", f->flash, sizeof(f->flash));
    take_number(line, "n_seq_max ", &f->slots);
    take_number(line, " Parallel:", &f->slots);
    if (line[strspn(line, " \t\r")])
        o3_copy(last, size, line);
    if (strstr(line, "level=ERROR") || !strncmp(line, "Error: ", 7))
        o3_copy(error, size, line);
}

void o3_log_read(const char *text, o3_log_facts *ret_facts)
{
    char line[4096], error[O3_TEXT_MAX] = "", last[O3_TEXT_MAX] = "";
    *ret_facts = (o3_log_facts){0};
    forget_load(ret_facts);
    while (*text) {
        size_t len = strcspn(text, "\n");
        O3_FORMAT(line, "%.*s", (int)len, text);
        take_line(ret_facts, line, error, last, sizeof(last));
        text += len + (text[len] == '\n');
    }
    O3_COPY(ret_facts->error, *error ? error : last);
    for (char *c = ret_facts->error; *c; c++)
        *c = (unsigned char)*c < ' ' ? ' ' : *c;
}
