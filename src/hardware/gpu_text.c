/* SPDX-License-Identifier: Apache-2.0 */
/* What nvidia-smi, rocm-smi and amd-smi print: the last resort, for GPUs that neither library nor files describe.
 * `rocm-smi --showmemuse` tells no bytes in any release; --showmeminfo does. */
#include <jansson.h>

#include "hardware/gpu.h"

#define MIB 1048576.0
#define BYTES_MAX 9e15
#define TIMEOUT_MS 2000
#define OUTPUT_MAX 262144
#define PERIOD_MS 2000

static int64_t bytes_of(double value, double scale)
{
    return value >= 0 && value * scale < BYTES_MAX ? (int64_t)(value * scale) : -1;
}

/* By address, else by the program's own name for it ("card0"), else the only one of the vendor that nobody told. */
static gpu_found *entry(gpu_list *list, o3_gpu_vendor vendor, const char *pci, const char *label)
{
    char address[20] = "";
    gpu_found *untold = NULL, *found = NULL;
    int count = 0;
    if (pci && gpu_pci_normal(pci, address))
        found = gpu_by_pci(list, address);
    for (int i = 0; i < list->count && !found; i++) {
        if (list->at[i].gpu.vendor != vendor)
            continue;
        if (!strcmp(list->at[i].label, label))
            return &list->at[i];
        untold = list->at[i].told ? untold : &list->at[i];
        count++;
    }
    if (!found && !*address && count == 1 && untold && !*untold->label)
        found = untold;
    if (!found)
        found = gpu_add(list, vendor, address);
    if (found)
        O3_COPY(found->label, label);
    return found;
}

static void nvidia_row(void *ctx, const char *const *cells)
{
    enum { INDEX, BUS, DRIVER, TOTAL, USED, TEMPERATURE, UUID, NAME };
    char label[24];
    if (!cells[BUS] || !gpu_pci_normal(cells[BUS], label))
        return;
    O3_FORMAT(label, "nvidia%.16s", cells[INDEX]);
    gpu_found *found = entry(ctx, O3_GPU_NVIDIA, cells[BUS], label);
    if (!found || found->told)
        return;
    o3_gpu *gpu = &found->gpu;
    found->told = true;
    found->total_bytes = bytes_of(gpu_number(cells[TOTAL], "MiB"), MIB);
    found->used_bytes = bytes_of(gpu_number(cells[USED], "MiB"), MIB);
    found->has_sensor = !isnan(gpu_number(cells[TEMPERATURE], ""));
    bool shares = cells[TOTAL] && (strstr(cells[TOTAL], "N/A") || strstr(cells[TOTAL], "Not Supported"));
    gpu->integrated = gpu->unified = found->host_memory = shares || found->total_bytes == 0;
    if (cells[DRIVER])
        O3_FORMAT(gpu->driver, "nvidia %s", cells[DRIVER]);
    if (cells[NAME])
        O3_COPY(gpu->name, cells[NAME]);
    if (cells[UUID])
        O3_COPY(gpu->uuid, cells[UUID]);
}

void gpu_nvidia_smi_parse(gpu_list *list, const char *text)
{
    static const char *const columns[] = {"index", "pci.bus_id", "driver_version", "memory.total", "memory.used",
                                          "temperature.gpu", "uuid", "name"};
    gpu_csv(text, columns, O3_COUNT(columns), nvidia_row, list);
}

/* One GPU's values, by table or by object; an absent one is NULL. */
enum { DEVICE, VRAM, VRAM_USED, GTT, GTT_USED, GPU_GTT, GPU_GTT_USED, EDGE, BUS, SERIES, SERIES_OLD, DEVICE_NAME, MODEL,
       MODEL_OLD, DEVICE_ID, UNIQUE, ROCM_COLUMNS };
static const char *const rocm_columns[ROCM_COLUMNS] = {
    "device", "VRAM Total Memory (B)", "VRAM Total Used Memory (B)", "GTT Total Memory (B)", "GTT Total Used Memory (B)",
    "GPU GTT Total Memory (B)", "GPU GTT Total Used Memory (B)", "Temperature (Sensor edge) (C)", "PCI Bus",
    "Card Series", "Card series", "Device Name", "Card Model", "Card model", "Device ID", "Unique ID"};

/* Several tables may tell of one device: what is there already stays. */
static void fill(int64_t *value, const char *cell, const char *unit, double scale)
{
    int64_t bytes = bytes_of(gpu_number(cell, unit), scale);
    *value = *value < 0 ? bytes : *value;
}

static const char *first_of(const char *const *cells, int from, int to)
{
    for (int i = from; i <= to; i++)
        if (cells[i] && *cells[i] && strcmp(cells[i], "N/A") && strncmp(cells[i], "0x", 2))
            return cells[i];
    return NULL;
}

static void rocm_row(void *ctx, const char *const *cells)
{
    const char *model = cells[MODEL] ? cells[MODEL] : cells[MODEL_OLD], *name;
    if (!cells[DEVICE] || strncmp(cells[DEVICE], "card", 4))
        return; /* a row about the system, a message */
    gpu_found *found = entry(ctx, O3_GPU_AMD, cells[BUS], cells[DEVICE]);
    if (!found || found->told)
        return;
    fill(&found->vram_bytes, cells[VRAM], "", 1);
    fill(&found->vram_used_bytes, cells[VRAM_USED], "", 1);
    fill(&found->gtt_bytes, cells[cells[GTT] ? GTT : GPU_GTT], "", 1);
    fill(&found->gtt_used_bytes, cells[cells[GTT_USED] ? GTT_USED : GPU_GTT_USED], "", 1);
    found->has_sensor |= !isnan(gpu_number(cells[EDGE], ""));
    model = model && !strncmp(model, "0x", 2) ? model : cells[DEVICE_ID];
    if (!found->device_id && model && !strncmp(model, "0x", 2))
        found->device_id = (unsigned)strtoul(model, NULL, 16) & 0xffff;
    name = first_of(cells, SERIES, DEVICE_NAME);
    if (name && !*found->gpu.name)
        O3_COPY(found->gpu.name, name);
    if (cells[UNIQUE] && !strncmp(cells[UNIQUE], "0x", 2))
        O3_FORMAT(found->gpu.uuid, "GPU-%.40s", cells[UNIQUE] + 2);
}

/* {"card0": {"VRAM Total Memory (B)": "123", ...}} */
static void rocm_json(gpu_list *list, const json_t *json)
{
    const char *device, *cells[ROCM_COLUMNS];
    json_t *values;
    json_object_foreach((json_t *)json, device, values) {
        for (int i = 0; i < ROCM_COLUMNS; i++)
            cells[i] = i == DEVICE ? device : json_string_value(json_object_get(values, rocm_columns[i]));
        rocm_row(list, cells);
    }
}

static json_t *json_of(const char *text)
{
    const char *begin = text + strspn(text, " \t\r\n");
    return *begin == '{' || *begin == '[' ? json_loads(begin, JSON_DISABLE_EOF_CHECK, NULL) : NULL;
}

static void settle(gpu_list *list)
{
    for (int i = 0; i < list->count; i++) {
        gpu_found *found = &list->at[i];
        if (found->gpu.vendor != O3_GPU_AMD || found->told || found->vram_bytes < 0)
            continue;
        found->told = true;
        gpu_set_memory(found, false, list->ram_bytes);
    }
}

void gpu_rocm_smi_parse(gpu_list *list, const char *text)
{
    json_t *json = json_of(text);
    if (json)
        rocm_json(list, json);
    else
        gpu_csv(text, rocm_columns, ROCM_COLUMNS, rocm_row, list);
    json_decref(json);
    settle(list);
}

enum { AMD_GPU, AMD_BDF, AMD_VRAM, AMD_VRAM_USED, AMD_GTT, AMD_GTT_USED, AMD_COLUMNS };
static const char *const amd_columns[AMD_COLUMNS] = {"gpu", "gpu_bdf", "total_vram", "used_vram", "total_gtt", "used_gtt"};

static void amd_row(void *ctx, const char *const *cells)
{
    char label[24];
    if (!cells[AMD_GPU] || isnan(gpu_number(cells[AMD_GPU], "")))
        return;
    O3_FORMAT(label, "amd%.12s", cells[AMD_GPU]);
    gpu_found *found = entry(ctx, O3_GPU_AMD, cells[AMD_BDF], label);
    if (!found || found->told)
        return;
    fill(&found->vram_bytes, cells[AMD_VRAM], "MB", MIB); /* they mean MiB */
    fill(&found->vram_used_bytes, cells[AMD_VRAM_USED], "MB", MIB);
    fill(&found->gtt_bytes, cells[AMD_GTT], "MB", MIB);
    fill(&found->gtt_used_bytes, cells[AMD_GTT_USED], "MB", MIB);
}

/* A list up to release 6, since 7 {"gpu_data": list}; values {"value": 16368, "unit": "MB"}, or "N/A" anywhere. */
static void amd_json(gpu_list *list, const json_t *json)
{
    const json_t *rows = json_is_object(json) ? json_object_get(json, "gpu_data") : json, *row;
    size_t i;
    json_array_foreach((json_t *)rows, i, row) {
        char texts[AMD_COLUMNS][32];
        const char *cells[AMD_COLUMNS] = {NULL};
        for (int c = 0; c < AMD_COLUMNS; c++) {
            const json_t *value = json_object_get(c == AMD_GPU ? row : json_object_get(row, "mem_usage"), amd_columns[c]);
            value = json_is_object(value) ? json_object_get(value, "value") : value;
            if (!json_is_number(value))
                continue;
            O3_FORMAT(texts[c], "%.0f", json_number_value(value));
            cells[c] = texts[c];
        }
        amd_row(list, cells);
    }
}

void gpu_amd_smi_parse(gpu_list *list, const char *text)
{
    json_t *json = json_of(text);
    if (json)
        amd_json(list, json);
    else
        gpu_csv(text, amd_columns, AMD_COLUMNS, amd_row, list);
    json_decref(json);
    settle(list);
}

/* The programs: what to run, in order, and who reads it. */
#define ARGUMENTS_MAX 8
#define RUNS_MAX 2
typedef struct vendor_program {
    const char *runs[RUNS_MAX][ARGUMENTS_MAX];
    void (*parse)(gpu_list *list, const char *text);
} vendor_program;

static const vendor_program nvidia_smi = {
    {{"nvidia-smi",
      "--query-gpu=index,pci.bus_id,driver_version,memory.total,memory.used,temperature.gpu,uuid,name",
      "--format=csv"}},
    gpu_nvidia_smi_parse};
static const vendor_program rocm_smi = {
    {{"rocm-smi", "--showbus", "--showproductname", "--showtemp", "--showmeminfo", "vram", "--csv"},
     {"rocm-smi", "--showmeminfo", "gtt", "--csv"}},
    gpu_rocm_smi_parse};
static const vendor_program amd_smi = {{{"amd-smi", "list", "--csv"}, {"amd-smi", "metric", "-m", "--csv"}}, gpu_amd_smi_parse};

static void ask(gpu_list *list, const vendor_program *program)
{
    o3_auto(buf) o3_buf all = O3_BUF(RUNS_MAX * (OUTPUT_MAX + 1));
    for (int i = 0; i < RUNS_MAX && program->runs[i][0]; i++) {
        o3_auto(free) char *text = gpu_command(program->runs[i], TIMEOUT_MS, OUTPUT_MAX);
        o3_buf_str(&all, text ? text : "");
        o3_buf_str(&all, "\n");
    }
    program->parse(list, o3_buf_text(&all));
}

/* Only where a GPU is there that nobody could tell of. */
static void find(gpu_list *list, o3_gpu_vendor vendor, const vendor_program *program)
{
    for (int i = 0; i < list->count; i++) {
        if (list->at[i].gpu.vendor != vendor || list->at[i].told || list->at[i].gpu.asleep)
            continue;
        ask(list, program);
        return;
    }
}

typedef struct text_watch {
    const vendor_program *program;
    o3_gpu gpu;
    gpu_list list;
} text_watch;

static void *watch_open(const vendor_program *program, const o3_gpu *gpu)
{
    text_watch *w = *gpu->pci ? o3_alloc(1, sizeof(*w)) : NULL;
    if (w)
        *w = (text_watch){.program = program, .gpu = *gpu};
    return w;
}

static void watch_read(void *at, int what, int pid, gpu_reading *ret_reading)
{
    text_watch *w = at;
    (void)pid;
    if (!(what & GPU_READ_MEMORY))
        return;
    w->list = (gpu_list){.root = "/", .ram_bytes = -1};
    ret_reading->used_bytes = -1;
    gpu_found *found = gpu_add(&w->list, w->gpu.vendor, w->gpu.pci);
    ask(&w->list, w->program);
    found = gpu_by_pci(&w->list, w->gpu.pci);
    if (found && found->told)
        ret_reading->used_bytes = found->used_bytes;
}

static void watch_close(void *at)
{
    free(at);
}

/* A source of its own for each program, so that the list of sources shows their order. */
#define TEXT_SOURCE(id, text, maker)                                                                            \
    static void find_##id(gpu_list *list)                                                                       \
    {                                                                                                           \
        find(list, maker, &id);                                                                                 \
    }                                                                                                           \
    static void *open_##id(const char *root, const o3_gpu *gpu)                                                 \
    {                                                                                                           \
        (void)root;                                                                                             \
        return watch_open(&id, gpu);                                                                            \
    }                                                                                                           \
    const gpu_source gpu_##id = {.name = text, .vendor = maker, .live = true, .period_ms = PERIOD_MS,           \
                                 .find = find_##id, .open = open_##id, .read = watch_read, .close = watch_close};
TEXT_SOURCE(nvidia_smi, "nvidia-smi", O3_GPU_NVIDIA)
TEXT_SOURCE(rocm_smi, "rocm-smi", O3_GPU_AMD)
TEXT_SOURCE(amd_smi, "amd-smi", O3_GPU_AMD)
