/* SPDX-License-Identifier: Apache-2.0 */
/* What vendors' programs print, and amdgpu's blob. The captures of ../shared are read where they are there. */
#include <sys/wait.h>
#include <time.h>

#include "gpu_files.h"
#include "hardware/gpu.h"
#include "hardware/nvml.h"

#define MIB INT64_C(1048576)

static gpu_list *list_new(int64_t ram_bytes)
{
    gpu_list *list = o3_alloc(1, sizeof(*list));
    list->root = "/";
    list->ram_bytes = ram_bytes;
    return list;
}

/* A capture as text; "" if there is no such one. Where there are none at all, the test is skipped. */
static char *capture(const char *name)
{
    const char *top = getenv("O3_SOURCE_ROOT");
    char root[PATH_MAX], *text = o3_alloc(1, 65536);
    O3_FORMAT(root, "%s/../shared/data/hardware-samples", top ? top : ".");
    if (access(root, R_OK)) {
        print_message("# skipped: no captures at ../shared/data/hardware-samples\n");
        free(text);
        skip();
    }
    if (o3_read_text(root, name, text, 65536) < 0)
        text[0] = '\0';
    return text;
}

typedef struct table {
    int rows;
    char text[512];
} table;

static void collect(void *ctx, const char *const *cells)
{
    table *t = ctx;
    size_t len = strlen(t->text);
    t->rows++;
    o3_format(t->text + len, sizeof(t->text) - len, "%s|%s;", cells[0] ? cells[0] : "-", cells[1] ? cells[1] : "-");
}

static void nvidia_captures(void **state)
{
    static const struct {
        const char *name, *gpu, *pci, *driver;
        int64_t total, used;
    } rows[] = {
        {"linux-x86_64__nvidia-geforce-rtx-2080-super__595.71.05__idle", "NVIDIA GeForce RTX 2080 SUPER", "0000:0c:00.0", "595.71.05", 8192, 214},
        {"linux-x86_64__nvidia-geforce-rtx-2080-super__595.71.05__load", "NVIDIA GeForce RTX 2080 SUPER", "0000:0c:00.0", "595.71.05", 8192, 819},
        {"linux-x86_64__nvidia-geforce-rtx-2080-super__610.57.04__idle", "NVIDIA GeForce RTX 2080 SUPER", "0000:0c:00.0", "610.57.04", 8192, 211},
        {"linux-x86_64__nvidia-geforce-rtx-2080-super__610.57.04__load", "NVIDIA GeForce RTX 2080 SUPER", "0000:0c:00.0", "610.57.04", 8192, 815},
        {"linux-x86_64__nvidia-geforce-rtx-4080-super__595.71.05__idle", "NVIDIA GeForce RTX 4080 SUPER", "0000:01:00.0", "595.71.05", 16376, 596},
        {"linux-x86_64__nvidia-geforce-rtx-4080-super__595.71.05__load", "NVIDIA GeForce RTX 4080 SUPER", "0000:01:00.0", "595.71.05", 16376, 1474},
        {"linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01__idle", "NVIDIA H100 80GB HBM3", "0000:00:09.0", "590.48.01", 81559, 0},
        {"linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01__load", "NVIDIA H100 80GB HBM3", "0000:00:09.0", "590.48.01", 81559, 19818},
        {"linux-x86_64__nvidia-h100-mig__590.48.01__idle", "NVIDIA H100 80GB HBM3", "0000:00:09.0", "590.48.01", 81559, 59},
        {"linux-x86_64__nvidia-h100-mig__590.48.01__load", "NVIDIA H100 80GB HBM3", "0000:00:09.0", "590.48.01", 81559, 11125},
        {"linux-x86_64__nvidia-h200__590.48.01__idle", "NVIDIA H200", "0000:83:00.0", "590.48.01", 143771, 0},
        {"linux-x86_64__nvidia-h200__590.48.01__load", "NVIDIA H200", "0000:83:00.0", "590.48.01", 143771, 32362},
        {"windows-x86_64__nvidia-geforce-rtx-2080-super__591.86__idle", "NVIDIA GeForce RTX 2080 SUPER", "0000:0c:00.0", "591.86", 8192, 702},
        {"windows-x86_64__nvidia-geforce-rtx-2080-super__591.86__load", "NVIDIA GeForce RTX 2080 SUPER", "0000:0c:00.0", "591.86", 8192, 1296},
    };
    (void)state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        char name[256], driver[64];
        O3_FORMAT(name, "/nvidia/%s-gpu.csv", rows[i].name);
        o3_auto(free) char *text = capture(name);
        o3_auto(free) gpu_list *list = list_new(-1);
        gpu_nvidia_smi_parse(list, text);
        assert_int_equal(list->count, 1);
        O3_FORMAT(driver, "nvidia %s", rows[i].driver);
        assert_string_equal(list->at[0].gpu.name, rows[i].gpu);
        assert_string_equal(list->at[0].gpu.pci, rows[i].pci);
        assert_string_equal(list->at[0].gpu.driver, driver);
        assert_int_equal(list->at[0].total_bytes, rows[i].total * MIB);
        assert_int_equal(list->at[0].used_bytes, rows[i].used * MIB);
        assert_true(list->at[0].has_sensor && !list->at[0].gpu.unified);
        O3_FORMAT(name, "/nvidia/%s-apps.csv", rows[i].name); /* processes: another table, of which nothing is taken */
        o3_auto(free) char *apps = capture(name);
        gpu_nvidia_smi_parse(list, apps);
        assert_int_equal(list->count, 1);
    }
}

/* used 0 in a row: -1; integrated: what they are made of is in the sheet by the number on the card. */
static void rocm_captures(void **state)
{
    static const struct {
        const char *name;
        int cards;
        const char *gpu; /* of the first card; NULL: no name is told */
        int64_t total, used, last_total, last_used;
        bool unified;
    } rows[] = {
        {"24g-card_showmeminfo-vram.csv", 1, NULL, 25753026560, 1852891136, 25753026560, 1852891136, false},
        {"apu-780m-showmeminfo-gtt-split-tables.csv", 1, "Ryzen 7 7840U", 2147483648 + 17179869184, 257698037 + 1073741824,
         2147483648 + 17179869184, 257698037 + 1073741824, true},
        {"mi100-smi-2.3.0_all.csv", 1, "Arcturus GL-XL [Instinct MI100]", 34342961152, 6762496, 34342961152, 6762496, false},
        {"mi100-smi-2.3.1_all.csv", 1, "Arcturus GL-XL [Instinct MI100]", 34342961152, 6762496, 34342961152, 6762496, false},
        {"mi210x2-smi-2.0_lock-warning.csv", 2, "Instinct MI210", 68702699520, 10960896, 68702699520, 10960896, false},
        {"mi355x-showmeminfo-vram.csv", 2, NULL, 309220868096, 297955328, 309220868096, 1918697472, false},
        {"mi50-smi-old_all.csv", 1, "Vega 20 [Radeon Pro VII/Radeon Instinct MI50 32GB]", 17163091968, 10854400, 17163091968,
         10854400, false},
        {"r9700-rocm5.7.0-ubuntu24_all.csv", 1, NULL, 34359738368, 17179869184, 34359738368, 17179869184, false},
        {"strix-halo+9070xt-rocm7_lowpower-warning.csv", 2, "AMD Radeon 8060S Graphics", -1, -1, 17163091968, 8581545984, true},
        {"rx6700xt-rocm6.1.2_all.json", 1, "Navi 22 [Radeon RX 6700/6700 XT / 6800M]", 12868124672, 1572745216, 12868124672,
         1572745216, false},
        /* No table of bytes: nothing may be made of them. */
        {"showmemuse-rocm6.2-mi.csv", 2, NULL, -1, -1, -1, -1, false},
        {"multi-block-concatenated.csv", 2, NULL, -1, -1, -1, -1, false},
        {"crlf-header-gap-in-card-numbers.csv", 2, "AMD Example GPU", -1, -1, -1, -1, false},
        {"concise-plus-csv-error.txt", 0, NULL, 0, 0, 0, 0, false},
        {"no-driver.txt", 0, NULL, 0, 0, 0, 0, false},
        /* Columns that no rocm-smi ever printed: no table of its. */
        {"ozone-invented-showmemuse.csv", 0, NULL, 0, 0, 0, 0, false},
        {"ozone-invented-showtemp.csv", 0, NULL, 0, 0, 0, 0, false},
        {"ozone-invented-showuse.csv", 0, NULL, 0, 0, 0, 0, false},
    };
    (void)state;
    for (int i = 0; i < O3_COUNT(rows); i++) {
        char name[256];
        O3_FORMAT(name, "/rocm/%s", rows[i].name);
        o3_auto(free) char *text = capture(name);
        o3_auto(free) gpu_list *list = list_new(-1);
        gpu_rocm_smi_parse(list, text);
        print_message("# %s\n", rows[i].name);
        assert_int_equal(list->count, rows[i].cards);
        if (!rows[i].cards)
            continue;
        const gpu_found *first = &list->at[0], *last = &list->at[rows[i].cards - 1];
        assert_string_equal(first->gpu.name, rows[i].gpu ? rows[i].gpu : "");
        assert_int_equal(first->total_bytes, rows[i].total);
        assert_int_equal(first->used_bytes, rows[i].used);
        assert_int_equal(last->total_bytes, rows[i].last_total);
        assert_int_equal(last->used_bytes, rows[i].last_used);
        assert_int_equal(first->gpu.unified, rows[i].unified);
    }
}

static void other_captures(void **state)
{
    (void)state;
    o3_auto(free) char *text = capture("/rocm/amd-smi_metric-m.csv");
    o3_auto(free) gpu_list *list = list_new(-1);
    gpu_amd_smi_parse(list, text);
    assert_int_equal(list->count, 1);
    assert_int_equal(list->at[0].total_bytes, 16368 * MIB);
    assert_int_equal(list->at[0].used_bytes, 905 * MIB);
    assert_false(list->at[0].gpu.integrated);
}

/* xpu-smi's columns move too; and every name that is looked up in NVIDIA's library is one that real drivers export. */
static void names_in_captures(void **state)
{
    static const char *const columns[] = {"DeviceId", "GPU Memory Used (MiB)"}, *const stamped[] = {"Timestamp", "DeviceId"};
    static const char *const symbols[][3] = {
#define NAMES(member, arguments, ...) {__VA_ARGS__},
        NVML_CALLS(NAMES)
#undef NAMES
    };
    table t = {0};
    (void)state;
    o3_auto(free) char *intel = capture("/intel/xpu-smi-dump-max1100x2.csv");
    assert_int_equal(gpu_csv(intel, stamped, 2, collect, &t), 2);
    assert_string_equal(t.text, "21:48:07.398|0;21:48:07.398|1;");
    assert_int_equal(gpu_csv(intel, columns, 2, collect, &t), 0); /* tables begin with the column that is asked for first */
    static const char *const drivers[] = {"/nvidia/linux-x86_64__nvidia-h100-80gb-hbm3__590.48.01.nvml-symbols.txt",
                                          "/nvidia/linux-x86_64__nvidia-geforce-rtx-2080-super__610.57.04.nvml-symbols.txt"};
    for (int d = 0; d < O3_COUNT(drivers); d++) {
        o3_auto(free) char *text = capture(drivers[d]);
        for (int i = 0; i < O3_COUNT(symbols); i++) {
            char line[128];
            O3_FORMAT(line, "%s\n", symbols[i][0]); /* the newest name of each */
            assert_non_null(strstr(text, line));
        }
    }
}

/* The sweep of a machine's files, put back into files. */
static void probe_capture(void **state)
{
    o3_auto(free) char *text = capture("/rocm/drm-probe-apu+9070xt.txt");
    char *rest = NULL;
    sysroot_machine(*state, 8);
    for (char *line = strtok_r(text, "\n", &rest); line; line = strtok_r(NULL, "\n", &rest)) {
        char *value = strrchr(line, ':'), path[256];
        while (strchr(line, ':') && value > line && !strstr(line, "uevent:") && strchr(line, ':') != value)
            value = strchr(line, ':');
        if (strstr(line, "uevent:"))
            value = strstr(line, "uevent:") + 6;
        *value = '\0';
        O3_FORMAT(path, "%s", line);
        if (strstr(path, "uevent") && strncmp(value + 1, "PCI", 3))
            continue; /* one line of it is enough */
        sysroot_text(*state, path, value + 1);
    }
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(p->gpu_count, 2); /* without a word on its mapped memory the first is a small card */
    assert_string_equal(p->gpus[0].pci, "0000:16:00.0");
    assert_int_equal(p->pools[1].total_bytes, 536870912);
    assert_int_equal(p->pools[1].used_bytes, 8388608);
    assert_string_equal(p->gpus[1].pci, "0000:03:00.0");
    assert_int_equal(p->pools[2].total_bytes, 17163091968);
    assert_int_equal(p->pools[2].used_bytes, 4294967296);
    assert_true(p->gpus[1].max_temperature_c == 85);
}

static void tables(void **state)
{
    static const char *const columns[] = {"device", "Used (B)"};
    table t = {0};
    (void)state;
    assert_int_equal(gpu_csv("WARNING: device is low\n\ndevice,X,Used (B)\r\ncard0, 1 , 5\r\ncard3,2\n\n"
                             "device,Used (B)\ncard0,7\n\"system\", \"a\", \"b\"", columns, 2, collect, &t), 4);
    assert_string_equal(t.text, "card0|5;card3|-;card0|7;system|a\", \"b;");
    t = (table){0};
    assert_int_equal(gpu_csv("", columns, 2, collect, &t), 0);
    assert_int_equal(gpu_csv("device,x\n,,,,\n\ncard0", columns, 2, collect, &t), 1);
    assert_int_equal(gpu_csv("Device,Used (B)\ncard0,1\n", columns, 2, collect, &t), 0);
    static const char *const absent[] = {"", "N/A", "[N/A]", "[Not Supported]", "[Unknown Error]", "None", "Active", "5 GB", "-"};
    for (int i = 0; i < O3_COUNT(absent); i++)
        assert_true(isnan(gpu_number(absent[i], "MiB")));
    assert_true(gpu_number("81559 MiB", "MiB") == 81559 && gpu_number("0", "MiB") == 0 && isnan(gpu_number(NULL, "")));
}

static void answers(void **state)
{
    (void)state;
    /* A comma in a name that stands last; a machine whose memory nvidia-smi does not know. */
    o3_auto(free) gpu_list *list = list_new(-1);
    gpu_nvidia_smi_parse(list, "index, pci.bus_id, memory.total [MiB], memory.used [MiB], name\n"
                               "0, 00000000:01:00.0, 100 MiB, 7 MiB, A, B\n"
                               "1, 0000000F:01:00.0, [N/A], [N/A], NVIDIA GB10\nbroken\n"
                               "2, 00000000:02:00.0, [Insufficient Permissions], [Unknown Error], C\n");
    assert_int_equal(list->count, 3);
    assert_true(!list->at[2].host_memory && list->at[2].total_bytes == -1 && list->at[2].used_bytes == -1);
    assert_string_equal(list->at[0].gpu.name, "A, B");
    assert_true(list->at[1].host_memory && list->at[1].gpu.unified);
    o3_auto(free) gpu_list *bad = list_new(-1);
    gpu_nvidia_smi_parse(bad, "Field \"x\" is not a valid field to query.\n");
    assert_int_equal(bad->count, 0);

    /* amd-smi 6, 7, and "N/A" wherever it likes. The address comes from another table. */
    o3_auto(free) gpu_list *amd = list_new(-1);
    gpu_amd_smi_parse(amd, "[{\"gpu\":0,\"mem_usage\":{\"total_vram\":{\"value\":16368,\"unit\":\"MB\"},"
                           "\"used_vram\":{\"value\":905,\"unit\":\"MB\"}}},{\"gpu\":1,\"mem_usage\":\"N/A\"},3]");
    assert_int_equal(amd->count, 2);
    assert_int_equal(amd->at[0].used_bytes, 905 * MIB);
    assert_int_equal(amd->at[1].total_bytes, -1);
    assert_false(amd->at[1].told);
    o3_auto(free) gpu_list *seven = list_new(-1);
    gpu_amd_smi_parse(seven, "{\"gpu_data\":[{\"gpu\":3,\"mem_usage\":{\"total_vram\":{\"value\":100,\"unit\":\"MB\"},"
                             "\"used_vram\":\"N/A\"}}]}");
    assert_int_equal(seven->at[0].total_bytes, 100 * MIB);
    assert_int_equal(seven->at[0].used_bytes, -1);
    o3_auto(free) gpu_list *joined = list_new(-1);
    gpu_amd_smi_parse(joined, "gpu,gpu_bdf,gpu_uuid\n0,0000:03:00.0,x\n\ngpu,total_vram,used_vram\n0,16368,905\n");
    assert_int_equal(joined->count, 1);
    assert_string_equal(joined->at[0].gpu.pci, "0000:03:00.0");
    assert_int_equal(joined->at[0].total_bytes, 16368 * MIB);
}

static void put(uint8_t *blob, int at, int size, uint64_t value)
{
    for (int i = 0; i < size; i++)
        blob[at + i] = (uint8_t)(value >> (8 * i));
}

static uint8_t *blob_new(int size, int format, int content)
{
    uint8_t *blob = o3_alloc((size_t)size, 1);
    memset(blob, 0xff, (size_t)size); /* as the kernel begins */
    put(blob, 0, 2, (uint64_t)size);
    blob[2] = (uint8_t)format;
    blob[3] = (uint8_t)content;
    return blob;
}

static void metrics(void **state)
{
    gpu_metrics m;
    (void)state;
    o3_auto(free) uint8_t *card = blob_new(120, 1, 3);
    assert_true(gpu_metrics_decode(card, 120, &m)); /* nothing in it: nothing known */
    assert_true(isnan(m.temperature_c) && isnan(m.busy_frac) && isnan(m.power_w) && m.throttle == -1);
    put(card, 4, 2, 58);
    put(card, 6, 2, 71);
    put(card, 16, 2, 73);
    put(card, 22, 2, 210);
    put(card, 112, 8, UINT64_C(1) << 36 | 1);
    assert_true(gpu_metrics_decode(card, 120, &m));
    assert_true(m.temperature_c == 58 && m.hotspot_c == 71 && fabs(m.busy_frac - 0.73) < 1e-9 && m.power_w == 210);
    assert_int_equal(m.throttle, GPU_THROTTLE_POWER | GPU_THROTTLE_THERMAL);
    put(card, 112, 8, UINT64_C(1) << 44);
    assert_true(gpu_metrics_decode(card, 120, &m));
    assert_int_equal(m.throttle, GPU_THROTTLE_HARDWARE);
    put(card, 112, 8, 0);
    assert_true(gpu_metrics_decode(card, 120, &m));
    assert_int_equal(m.throttle, 0);

    o3_auto(free) uint8_t *mi300 = blob_new(3360, 1, 8);
    put(mi300, 4, 2, 61);
    put(mi300, 10, 2, 750);
    put(mi300, 16, 8, 5300);
    put(mi300, 48, 4, 5);
    put(mi300, 52, 4, 1);
    put(mi300, 56, 4, 2);
    put(mi300, 60, 4, 3);
    assert_true(gpu_metrics_decode(mi300, 3360, &m));
    assert_true(isnan(m.temperature_c) && m.hotspot_c == 61 && m.power_w == 750 && m.bandwidth_bytes_per_s == 5.3e12);
    assert_true(m.residency[0] == 5 && m.residency[1] == 6 && m.residency[2] == -1);

    o3_auto(free) uint8_t *apu = blob_new(128, 2, 2);
    put(apu, 4, 2, 5400);
    put(apu, 28, 2, 7300);
    put(apu, 40, 2, 20358);
    put(apu, 120, 8, 0);
    assert_true(gpu_metrics_decode(apu, 128, &m));
    assert_true(m.temperature_c == 54 && fabs(m.busy_frac - 0.73) < 1e-9 && fabs(m.power_w - 20.358) < 1e-9);
    assert_int_equal(m.throttle, 0);

    o3_auto(free) uint8_t *halo = blob_new(264, 3, 0);
    put(halo, 4, 2, 6150);
    put(halo, 42, 2, 97);
    put(halo, 112, 4, 120500);
    for (int at = 228; at < 256; at += 4)
        put(halo, at, 4, 10);
    assert_true(gpu_metrics_decode(halo, 264, &m));
    assert_true(m.temperature_c == 61.5 && fabs(m.busy_frac - 0.97) < 1e-9 && m.power_w == 120.5);
    assert_true(m.residency[0] == 30 && m.residency[1] == 30 && m.residency[2] == 10);
    put(halo, 42, 2, 9700); /* firmware that counts hundredths */
    assert_true(gpu_metrics_decode(halo, 264, &m));
    assert_true(fabs(m.busy_frac - 0.97) < 1e-9);

    assert_false(gpu_metrics_decode(halo, 200, &m)); /* cut short */
    assert_false(gpu_metrics_decode(halo, 3, &m));
    halo[3] = 9;
    assert_false(gpu_metrics_decode(halo, 264, &m)); /* a revision of the future */
    put(card, 0, 2, 40);
    assert_false(gpu_metrics_decode(card, 120, &m)); /* says itself that it is too short */
}

/* Counters that grow between two looks say what held the chip back. */
static void residencies(void **state)
{
    o3_auto(free) uint8_t *halo = blob_new(264, 3, 0);
    gpu_reading r = GPU_READING_UNKNOWN;
    sysroot_machine(*state, 16);
    card_apu(*state, 1, CARD_GIB / 2, 8 * CARD_GIB);
    for (int at = 228; at < 256; at += 4)
        put(halo, at, 4, 10);
    static const char path[] = "/sys/class/drm/card1/device/gpu_metrics";
    sysroot_bytes(*state, path, halo, 264);
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(p->gpu_count, 1);
    void *at = gpu_amdgpu.open(*state, &p->gpus[0]);
    gpu_amdgpu.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_int_equal(r.throttle, -1); /* nothing to compare with yet */
    gpu_amdgpu.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_int_equal(r.throttle, 0);
    put(halo, 248, 4, 11);
    sysroot_bytes(*state, path, halo, 264);
    gpu_amdgpu.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_int_equal(r.throttle, GPU_THROTTLE_THERMAL);
    assert_int_equal(r.used_bytes, 8 * CARD_GIB + 511442944);
    gpu_amdgpu.close(at);
}

/* programs ---------------------------------------------------------------------------------------------------------- */

/* `name` in a directory of its own that comes first in PATH. */
static void program(const char *root, const char *name, const char *script)
{
    char path[PATH_MAX], full[2 * PATH_MAX];
    O3_FORMAT(path, "/bin/%s", name);
    sysroot_text(root, path, script);
    O3_FORMAT(full, "%s%s", root, path);
    assert_int_equal(chmod(full, 0755), 0);
    O3_FORMAT(full, "%s/bin:/usr/bin:/bin", root);
    setenv("PATH", full, 1);
}

static char *run(const char *name, int timeout_ms, size_t max, double *ret_seconds)
{
    const char *const argv[] = {name, "--csv", NULL};
    int64_t begin_ns = o3_now_ns();
    char *text = gpu_command(argv, timeout_ms, max);
    *ret_seconds = (double)(o3_now_ns() - begin_ns) / (double)O3_NS_PER_S;
    assert_int_equal(waitpid(-1, NULL, WNOHANG), -1); /* no child is left */
    return text;
}

static void programs(void **state)
{
    double seconds;
    program(*state, "good-smi", "#!/bin/sh\necho \"$1\"\nexit 3\n"); /* a good table with a bad status */
    o3_auto(free) char *good = run("good-smi", 20000, 1000, &seconds);
    assert_string_equal(good, "--csv\n");
    program(*state, "hang-smi", "#!/bin/sh\necho begun\nsleep 60\n");
    o3_auto(free) char *hang = run("hang-smi", 300, 1000, &seconds);
    assert_true(!hang && seconds >= 0.3 && seconds < 30);
    program(*state, "child-smi", "#!/bin/sh\nsleep 60 &\necho done\n"); /* its child holds the pipe */
    o3_auto(free) char *child = run("child-smi", 20000, 1000, &seconds);
    assert_true(child && !strcmp(child, "done\n") && seconds < 15);
    program(*state, "flood-smi", "#!/bin/sh\nyes\n");
    o3_auto(free) char *flood = run("flood-smi", 20000, 100000, &seconds);
    assert_true(!flood && seconds < 15);
    program(*state, "closed-smi", "#!/bin/sh\nexec >&-\nsleep 60\n");
    o3_auto(free) char *closed = run("closed-smi", 300, 1000, &seconds);
    assert_true(!closed && seconds < 30);
    o3_auto(free) char *none = run("there-is-no-such-smi", 20000, 1000, &seconds);
    assert_null(none);
}

/* No library: the program tells. Garbage: nobody does, and that is said. */
static void last_resort(void **state)
{
    sysroot_machine(*state, 8);
    card_new(*state, 0, "0x10de\n", "0x2684\n", "nvidia", "0000:01:00.0");
    setenv("O3_TEST_NVML", "/nowhere/libnvidia-ml.so.1", 1);
    program(*state, "nvidia-smi", "#!/bin/sh\nprintf '%s\\n' "
            "'index, pci.bus_id, driver_version, memory.total [MiB], memory.used [MiB], temperature.gpu, name' "
            "'0, 00000000:01:00.0, 595.71.05, 24564 MiB, 1500 MiB, 44, NVIDIA GeForce RTX 4090'\n");
    o3_auto(free) o3_profile *p = gpu_profile(*state, NULL);
    assert_int_equal(p->gpu_count, 1);
    assert_string_equal(p->gpus[0].source, "nvidia-smi");
    assert_string_equal(p->gpus[0].name, "NVIDIA GeForce RTX 4090");
    assert_int_equal(p->pools[1].total_bytes, 24564 * MIB);
    assert_int_equal(p->pools[1].used_bytes, 1500 * MIB);
    assert_true(sysroot_noted(p, "libnvidia-ml.so.1 cannot be loaded"));
    gpu_reading r = GPU_READING_UNKNOWN;
    void *at = gpu_nvidia_smi.open(*state, &p->gpus[0]);
    gpu_nvidia_smi.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_int_equal(r.used_bytes, 1500 * MIB);
    program(*state, "nvidia-smi", "#!/bin/sh\nhead -c 100000 /dev/zero\n");
    gpu_nvidia_smi.read(at, GPU_READ_MEMORY | GPU_READ_SLOW, -1, &r);
    assert_int_equal(r.used_bytes, -1);
    gpu_nvidia_smi.close(at);
    o3_auto(free) o3_profile *blind = gpu_profile(*state, NULL);
    assert_int_equal(blind->gpu_count, 0);
    assert_true(sysroot_noted(blind, "no driver, library or program tells its memory"));

    /* rocm-smi for a card whose driver shows no memory. */
    card_new(*state, 1, "0x1002\n", "0x744c\n", "amdgpu", "0000:03:00.0");
    program(*state, "rocm-smi", "#!/bin/sh\ncase \"$*\" in *gtt*) printf 'device,GTT Total Memory (B),GTT Total Used Memory (B)\\n"
            "card1,4000000000,1000\\n';; *) printf 'device,PCI Bus,VRAM Total Memory (B),VRAM Total Used Memory (B)\\n"
            "card1,0000:03:00.0,25753026560,1852891136\\n';; esac\n");
    o3_auto(free) o3_profile *amd = gpu_profile(*state, NULL);
    assert_int_equal(amd->gpu_count, 1);
    assert_string_equal(amd->gpus[0].source, "rocm-smi");
    assert_string_equal(amd->gpus[0].pci, "0000:03:00.0");
    assert_int_equal(amd->pools[1].used_bytes, 1852891136);
    unsetenv("O3_TEST_NVML"); /* below another root no program is run */
    o3_auto(free) o3_profile *replay = gpu_profile(*state, NULL);
    assert_int_equal(replay->gpu_count, 0);
    assert_int_equal(replay->gpus_seen, 2);
}

int main(void)
{
#define CASE(name) cmocka_unit_test_setup_teardown(name, sysroot_new, sysroot_free)
    const struct CMUnitTest tests[] = {
        CASE(nvidia_captures), CASE(rocm_captures), CASE(other_captures), CASE(names_in_captures), CASE(probe_capture), CASE(tables), CASE(answers),
        CASE(metrics),         CASE(residencies),   CASE(programs),       CASE(last_resort),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
