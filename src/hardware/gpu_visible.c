/* SPDX-License-Identifier: Apache-2.0 */
/* Which GPUs the engine uses, by its environment and by its own rules (Ollama 0.30 and later): integrated ones are
 * left out unless they are NVIDIA's or Strix Halo's, OLLAMA_IGPU_ENABLE says otherwise; *_VISIBLE_DEVICES hide some. */
#include <ctype.h>

#include "hardware/gpu.h"

#define STRIX_HALO 0x1586

/* The value of a variable in "K=V\n" lines; false if it is not set. */
static bool env_get(const char *env, const char *name, char *dst, size_t dst_size)
{
    size_t len = strlen(name);
    for (const char *line = env; *line; line += strcspn(line, "\n"), line += *line == '\n') {
        if (strncmp(line, name, len) || line[len] != '=')
            continue;
        size_t value = strcspn(line + len + 1, "\n");
        o3_format(dst, dst_size, "%.*s", (int)(value < dst_size ? value : dst_size - 1), line + len + 1);
        return true;
    }
    return false;
}

static bool is_number(const char *text)
{
    for (const char *c = text; *c; c++)
        if (!isdigit((unsigned char)*c))
            return false;
    return *text != '\0';
}

/* Is this entry of a list meant for that GPU? By a beginning of its UUID, or by its place among the visible ones. */
static bool names(const char *entry, const o3_gpu *gpu, int index)
{
    return is_number(entry) ? strtol(entry, NULL, 10) == index : *gpu->uuid && !strncasecmp(gpu->uuid, entry, strlen(entry));
}

/* CUDA and HIP take entries up to the first that names nothing ("-1" ends a list by that). */
static void hide(gpu_list *list, o3_gpu_vendor vendor, const char *variable, const char *value)
{
    bool shown[O3_GPUS_MAX] = {false};
    char text[256], *rest = NULL;
    O3_COPY(text, value);
    for (char *entry = strtok_r(text, ", ", &rest); entry; entry = strtok_r(NULL, ", ", &rest)) {
        int index = 0, found = -1;
        for (int i = 0; i < list->count && found < 0; i++) {
            const o3_gpu *gpu = &list->at[i].gpu;
            if (gpu->vendor == vendor && !*gpu->aside && names(entry, gpu, index++))
                found = i;
        }
        if (found < 0)
            break;
        shown[found] = true;
    }
    for (int i = 0; i < list->count; i++) {
        o3_gpu *gpu = &list->at[i].gpu;
        if (gpu->vendor == vendor && !*gpu->aside && !shown[i])
            O3_FORMAT(gpu->aside, "the server does not see it: %s=%.64s", variable, value);
    }
}

static const struct {
    o3_gpu_vendor vendor;
    const char *variable;
    const char *all; /* a value that hides nothing, of the one variable that has such */
} filters[] = {
    {O3_GPU_NVIDIA, "NVIDIA_VISIBLE_DEVICES", "all"},
    {O3_GPU_NVIDIA, "CUDA_VISIBLE_DEVICES", NULL},
    {O3_GPU_AMD, "ROCR_VISIBLE_DEVICES", NULL}, /* before HIP's, which counts what is left */
    {O3_GPU_AMD, "HIP_VISIBLE_DEVICES", NULL},
};

static bool different_models(const gpu_list *list, o3_gpu_vendor vendor)
{
    const char *first = NULL;
    for (int i = 0; i < list->count; i++) {
        if (list->at[i].gpu.vendor != vendor || *list->at[i].gpu.aside)
            continue;
        if (first && strcmp(first, list->at[i].gpu.name))
            return true;
        first = list->at[i].gpu.name;
    }
    return false;
}

/* The container toolkit's variable: empty and "void" mean as if it were not set. Inside the container it is in force
 * already: no more GPUs are there than it names. */
static bool hides_nothing(const gpu_list *list, o3_gpu_vendor vendor, const char *all, const char *value)
{
    int entries = 1, there = 0;
    for (const char *c = value; *c; c++)
        entries += *c == ',';
    for (int i = 0; i < list->count; i++)
        there += list->at[i].gpu.vendor == vendor && !*list->at[i].gpu.aside;
    return !*value || !strcmp(value, "void") || !strcmp(value, all) || (strcmp(value, "none") && there <= entries);
}

static void apply_filters(gpu_list *list, const char *env)
{
    char value[256];
    for (int i = 0; i < O3_COUNT(filters); i++) {
        if (!env_get(env, filters[i].variable, value, sizeof(value)))
            continue;
        if (filters[i].all && hides_nothing(list, filters[i].vendor, filters[i].all, value))
            continue;
        if (is_number(value) && different_models(list, filters[i].vendor))
            o3_note(&list->notes, "%s=%s counts in the driver's order; O3 takes the order of the PCI addresses",
                    filters[i].variable, value);
        hide(list, filters[i].vendor, filters[i].variable, value);
    }
    if (env_get(env, "GGML_VK_VISIBLE_DEVICES", value, sizeof(value)))
        o3_note(&list->notes, "GGML_VK_VISIBLE_DEVICES=%.64s is set: which GPUs it leaves cannot be told here", value);
}

static bool engine_takes_integrated(const gpu_found *found)
{
    return found->gpu.vendor == O3_GPU_NVIDIA || found->device_id == STRIX_HALO;
}

static void apply_integrated(gpu_list *list, const char *env)
{
    char value[32];
    bool set = env_get(env, "OLLAMA_IGPU_ENABLE", value, sizeof(value)) && *value;
    bool on = set && (!strcmp(value, "1") || !strcasecmp(value, "true"));
    for (int i = 0; i < list->count; i++) {
        o3_gpu *gpu = &list->at[i].gpu;
        if (!gpu->integrated || *gpu->aside || (set ? on : engine_takes_integrated(&list->at[i])))
            continue;
        if (set)
            O3_FORMAT(gpu->aside, "integrated, and the server has OLLAMA_IGPU_ENABLE=%s", value);
        else
            O3_COPY(gpu->aside, "Ollama leaves integrated GPUs of this kind out; OLLAMA_IGPU_ENABLE=1 admits it");
    }
}

/* A CUDA process uses one instance: the first, unless CUDA_VISIBLE_DEVICES names another. */
static void apply_instances(gpu_list *list)
{
    bool taken = false;
    for (int i = 0; i < list->count; i++) {
        o3_gpu *gpu = &list->at[i].gpu;
        if (!*gpu->part || *gpu->aside)
            continue;
        if (taken)
            O3_COPY(gpu->aside, "a CUDA program uses one MIG instance; CUDA_VISIBLE_DEVICES with its UUID chooses it");
        taken = true;
    }
}

void gpu_apply_rules(gpu_list *list, const char *env)
{
    char value[32];
    apply_integrated(list, env);
    apply_filters(list, env);
    apply_instances(list);
    if (!env_get(env, "OLLAMA_VULKAN", value, sizeof(value)) || (strcmp(value, "0") && strcasecmp(value, "false")))
        return;
    for (int i = 0; i < list->count; i++)
        if (list->at[i].gpu.vendor == O3_GPU_INTEL && !*list->at[i].gpu.aside)
            O3_COPY(list->at[i].gpu.aside, "Ollama drives it by Vulkan, and the server has OLLAMA_VULKAN=0");
}
