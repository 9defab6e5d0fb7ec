/* SPDX-License-Identifier: Apache-2.0 */
/* What only a data sheet tells: names, and the bandwidth of chips whose driver does not tell the bus width. */
#include "hardware/gpu.h"

#define GIB (INT64_C(1) << 30)

static const struct sheet {
    o3_gpu_vendor vendor;
    unsigned device_id;
    int64_t from_bytes; /* several cards share a number: this row is for those with at least so much memory */
    const char *name;
    double gigabytes_per_s, fp16_teraflops; /* NaN: depends on the memory that was put beside it, or not told */
    bool apu;
} sheets[] = {
    {O3_GPU_AMD, 0x744c, 23 * GIB, "AMD Radeon RX 7900 XTX", 960, 122.8, false},
    {O3_GPU_AMD, 0x7448, 0, "AMD Radeon Pro W7900", 864, 122.6, false},
    {O3_GPU_AMD, 0x7550, 0, "AMD Radeon RX 9070 series", 640, NAN, false},
    {O3_GPU_AMD, 0x73df, 11 * GIB, "AMD Radeon RX 6700 XT", 384, NAN, false},
    {O3_GPU_AMD, 0x740f, 0, "AMD Instinct MI210", 1638, 181, false},
    {O3_GPU_AMD, 0x74a1, 0, "AMD Instinct MI300X", 5300, 1307, false},
    {O3_GPU_AMD, 0x1586, 0, "AMD Radeon 8050S / 8060S (Strix Halo)", 256, 59.4, true},
    {O3_GPU_AMD, 0x150e, 0, "AMD Radeon 880M / 890M (Strix Point)", NAN, NAN, true},
    {O3_GPU_AMD, 0x1114, 0, "AMD Radeon 840M / 860M (Krackan Point)", NAN, NAN, true},
    {O3_GPU_AMD, 0x15bf, 0, "AMD Radeon 780M (Phoenix)", NAN, NAN, true},
    {O3_GPU_AMD, 0x15c8, 0, "AMD Radeon 740M (Phoenix 2)", NAN, NAN, true},
    {O3_GPU_AMD, 0x1900, 0, "AMD Radeon 780M (Hawk Point)", NAN, NAN, true},
    {O3_GPU_AMD, 0x1901, 0, "AMD Radeon 740M (Hawk Point)", NAN, NAN, true},
    {O3_GPU_AMD, 0x1681, 0, "AMD Radeon 660M / 680M (Rembrandt)", NAN, NAN, true},
    {O3_GPU_AMD, 0x164e, 0, "AMD Radeon Graphics (Raphael)", NAN, NAN, true},
    {O3_GPU_AMD, 0x13c0, 0, "AMD Radeon Graphics (Granite Ridge)", NAN, NAN, true},
    {O3_GPU_AMD, 0x1506, 0, "AMD Radeon 610M (Mendocino)", NAN, NAN, true},
    {O3_GPU_AMD, 0x1638, 0, "AMD Radeon Graphics (Cezanne)", NAN, NAN, true},
    {O3_GPU_AMD, 0x15e7, 0, "AMD Radeon Graphics (Barcelo)", NAN, NAN, true},
    {O3_GPU_AMD, 0x164c, 0, "AMD Radeon Graphics (Lucienne)", NAN, NAN, true},
    {O3_GPU_AMD, 0x1636, 0, "AMD Radeon Graphics (Renoir)", NAN, NAN, true},
    {O3_GPU_AMD, 0x15d8, 0, "AMD Radeon Vega (Picasso)", NAN, NAN, true},
    {O3_GPU_AMD, 0x15dd, 0, "AMD Radeon Vega (Raven Ridge)", NAN, NAN, true},
    {O3_GPU_AMD, 0x163f, 0, "AMD Custom GPU 0405 (Van Gogh)", NAN, NAN, true},
    {O3_GPU_AMD, 0x13fe, 0, "AMD BC-250", NAN, NAN, true},
    {O3_GPU_INTEL, 0x56a0, 0, "Intel Arc A770", NAN, NAN, false},
    {O3_GPU_INTEL, 0x56a1, 0, "Intel Arc A750", 512, NAN, false},
    {O3_GPU_INTEL, 0x56a5, 0, "Intel Arc A380", 186, NAN, false},
    {O3_GPU_INTEL, 0xe20b, 0, "Intel Arc B580", 456, NAN, false},
    {O3_GPU_INTEL, 0xe20c, 0, "Intel Arc B570", 380, NAN, false},
};

/* NVIDIA's drivers tell bus width and clock of cards, not of chips with shared memory. */
static const struct {
    const char *part;
    double gigabytes_per_s;
} by_name[] = {{"GB10", 273}, {"Orin", 204.8}};

static const char *const vendors[] = {[O3_GPU_OTHER] = "GPU",         [O3_GPU_NVIDIA] = "NVIDIA GPU",
                                      [O3_GPU_AMD] = "AMD GPU",       [O3_GPU_INTEL] = "Intel GPU",
                                      [O3_GPU_APPLE] = "Apple GPU",   [O3_GPU_SOFTWARE] = "software GPU"};

static const struct sheet *sheet_of(const gpu_found *found)
{
    for (int i = 0; i < O3_COUNT(sheets); i++)
        if (sheets[i].vendor == found->gpu.vendor && sheets[i].device_id == found->device_id &&
            found->total_bytes >= sheets[i].from_bytes - (sheets[i].from_bytes == 0))
            return &sheets[i];
    return NULL;
}

bool gpu_is_apu(unsigned device_id)
{
    for (int i = 0; i < O3_COUNT(sheets); i++)
        if (sheets[i].vendor == O3_GPU_AMD && sheets[i].device_id == device_id)
            return sheets[i].apu;
    return false;
}

void gpu_from_sheet(gpu_found *found)
{
    o3_gpu *gpu = &found->gpu;
    const struct sheet *sheet = sheet_of(found);
    if (sheet && !*gpu->name)
        O3_COPY(gpu->name, sheet->name);
    if (!*gpu->name && found->device_id)
        O3_FORMAT(gpu->name, "%s (device %04x)", vendors[gpu->vendor], found->device_id);
    if (!*gpu->name)
        O3_COPY(gpu->name, vendors[gpu->vendor]);
    if (sheet && isnan(gpu->bandwidth_bytes_per_s))
        gpu->bandwidth_bytes_per_s = sheet->gigabytes_per_s * 1e9;
    if (sheet && isnan(gpu->fp16_flops))
        gpu->fp16_flops = sheet->fp16_teraflops * 1e12;
    for (int i = 0; i < O3_COUNT(by_name) && gpu->vendor == O3_GPU_NVIDIA; i++)
        if (isnan(gpu->bandwidth_bytes_per_s) && strstr(gpu->name, by_name[i].part))
            gpu->bandwidth_bytes_per_s = by_name[i].gigabytes_per_s * 1e9;
}
