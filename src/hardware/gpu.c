/* SPDX-License-Identifier: Apache-2.0 */
/* Finds the GPUs of the machine: the bus says which there are, the sources what they are, the rules which of them the
 * engine uses. One key for all of them: the PCI address. */
#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <unistd.h>

#include "hardware/gpu.h"
#include "hardware/hardware_impl.h"

#define ENTRIES_MAX 256
#define LIVE_TIMEOUT_S 10 /* a driver that sleeps may take seconds to start, a broken one for ever */

/* The one list, best first; each fills in what those before it left open. */
static const gpu_source *const sources[] = {
    &gpu_nvml, &gpu_amdgpu, &gpu_intel, &gpu_nvidia_smi, &gpu_rocm_smi, &gpu_amd_smi,
};

const gpu_source *gpu_source_of(const o3_gpu *gpu)
{
    for (int i = 0; i < O3_COUNT(sources); i++)
        if (*gpu->source && !strcmp(sources[i]->name, gpu->source))
            return sources[i];
    return NULL;
}

const char *gpu_test_library(void)
{
    return secure_getenv("O3_TEST_NVML");
}

bool gpu_live(const char *root)
{
    return !root || !*root || !strcmp(root, "/") || gpu_test_library();
}

bool gpu_pci_normal(const char *text, char dst[20])
{
    unsigned domain, bus, device, function;
    int used = 0;
    if (sscanf(text, "%8x:%2x:%2x.%1x%n", &domain, &bus, &device, &function, &used) != 4)
        return false;
    if (text[used] && !isspace((unsigned char)text[used]))
        return false;
    o3_format(dst, 20, "%04x:%02x:%02x.%x", domain, bus, device, function);
    return true;
}

gpu_found *gpu_add(gpu_list *list, o3_gpu_vendor vendor, const char *pci)
{
    if (list->count == O3_GPUS_MAX) {
        o3_note(&list->notes, "more than %d GPUs: the rest is left out", O3_GPUS_MAX);
        return NULL;
    }
    gpu_found *found = &list->at[list->count++];
    *found = (gpu_found){.gpu = O3_GPU_UNKNOWN, .total_bytes = -1, .used_bytes = -1, .own_limit_c = NAN, .vram_bytes = -1,
                         .vram_used_bytes = -1, .gtt_bytes = -1, .gtt_used_bytes = -1};
    found->gpu.vendor = vendor;
    O3_COPY(found->gpu.pci, pci);
    return found;
}

gpu_found *gpu_by_pci(gpu_list *list, const char *pci)
{
    for (int i = 0; i < list->count; i++)
        if (*pci && !strcmp(list->at[i].gpu.pci, pci) && !*list->at[i].gpu.part)
            return &list->at[i];
    return NULL;
}

static unsigned device_hex(const char *root, const char *dir, const char *name)
{
    char path[512], text[32];
    O3_FORMAT(path, "%s/%s", dir, name);
    return hw_read_line(root, path, text, sizeof(text)) ? (unsigned)strtoul(text, NULL, 16) : 0;
}

/* "KEY=value" of the device's uevent. */
static bool uevent_value(const char *text, const char *key, char *dst, size_t dst_size)
{
    size_t len = strlen(key);
    for (const char *line = text; *line; line += strcspn(line, "\n"), line += *line == '\n')
        if (!strncmp(line, key, len) && line[len] == '=') {
            size_t value = strcspn(line + len + 1, "\n");
            o3_format(dst, dst_size, "%.*s", (int)(value < dst_size ? value : dst_size - 1), line + len + 1);
            return true;
        }
    return false;
}

/* Vendors whose chips run models. Others (a server's display chip, a hypervisor's) are no GPUs to us. */
static bool vendor_of(unsigned id, o3_gpu_vendor *ret_vendor)
{
    static const struct {
        unsigned id;
        o3_gpu_vendor vendor;
    } ids[] = {{0x10de, O3_GPU_NVIDIA}, {0x1002, O3_GPU_AMD}, {0x8086, O3_GPU_INTEL}};
    for (int i = 0; i < O3_COUNT(ids); i++)
        if (ids[i].id == id) {
            *ret_vendor = ids[i].vendor;
            return true;
        }
    return false;
}

static void add_device(gpu_list *list, const char *dir, const char *address)
{
    char path[512], text[1024] = "", pci[24] = "";
    o3_gpu_vendor vendor;
    if (!vendor_of(device_hex(list->root, dir, "vendor"), &vendor))
        return;
    O3_FORMAT(path, "%s/uevent", dir);
    if (o3_read_text(list->root, path, text, sizeof(text)) <= 0)
        text[0] = '\0';
    if (!address && uevent_value(text, "PCI_SLOT_NAME", path, sizeof(path)))
        address = path;
    if (address && (!gpu_pci_normal(address, pci) || gpu_by_pci(list, pci)))
        return;
    gpu_found *found = gpu_add(list, vendor, pci);
    if (!found)
        return;
    O3_COPY(found->gpu.dir, dir);
    uevent_value(text, "DRIVER", found->gpu.driver, sizeof(found->gpu.driver));
    found->device_id = device_hex(list->root, dir, "device");
    O3_FORMAT(path, "%s/power/runtime_status", dir);
    found->gpu.asleep = hw_read_line(list->root, path, text, sizeof(text)) && !strncmp(text, "suspend", 7);
}

static int by_name(const void *a, const void *b)
{
    return strverscmp(a, b);
}

/* Names of a directory that `fits` wants, in their natural order. */
static int list_names(const char *root, const char *dir, bool (*fits)(const char *), char names[ENTRIES_MAX][32])
{
    char full[PATH_MAX];
    int count = 0;
    DIR *listing = hw_full_path(full, sizeof(full), root, dir) ? opendir(full) : NULL;
    for (struct dirent *entry; listing && count < ENTRIES_MAX && (entry = readdir(listing));)
        if (fits(entry->d_name))
            o3_copy(names[count++], sizeof(names[0]), entry->d_name);
    if (listing)
        closedir(listing);
    qsort(names, (size_t)count, sizeof(names[0]), by_name);
    return count;
}

static bool is_card(const char *name) /* not its connectors */
{
    return !strncmp(name, "card", 4) && name[4] && strspn(name + 4, "0123456789") == strlen(name + 4) && strlen(name) < 12;
}

static bool is_address(const char *name)
{
    char pci[20];
    return gpu_pci_normal(name, pci);
}

static bool is_gpu_class(unsigned class)
{
    return class >> 8 == 0x0300 || class >> 8 == 0x0302 || class >> 8 == 0x0380 || class >> 8 == 0x1200;
}

/* Cards with a driver that shows them, then what else is on the bus: compute chips have no card. */
static void enumerate(gpu_list *list)
{
    char names[ENTRIES_MAX][32], dir[160];
    int count = list_names(list->root, "/sys/class/drm", is_card, names);
    for (int i = 0; i < count; i++) {
        O3_FORMAT(dir, "/sys/class/drm/%s/device", names[i]);
        add_device(list, dir, NULL);
    }
    count = list_names(list->root, "/sys/bus/pci/devices", is_address, names);
    for (int i = 0; i < count; i++) {
        O3_FORMAT(dir, "/sys/bus/pci/devices/%s", names[i]);
        if (is_gpu_class(device_hex(list->root, dir, "class")))
            add_device(list, dir, names[i]);
    }
}

/* A live source runs in a thread of its own: a driver that hangs costs its answer, not the program. Who finishes last
 * frees the job. */
typedef struct job {
    pthread_mutex_t lock;
    pthread_cond_t done;
    bool finished, given_up;
    const gpu_source *source;
    gpu_list list;
} job;

static void job_free(job *j)
{
    pthread_cond_destroy(&j->done);
    pthread_mutex_destroy(&j->lock);
    free(j);
}

static void *job_run(void *arg)
{
    job *j = arg;
    j->source->find(&j->list);
    pthread_mutex_lock(&j->lock);
    bool mine = j->given_up;
    j->finished = true;
    pthread_cond_signal(&j->done);
    pthread_mutex_unlock(&j->lock);
    if (mine)
        job_free(j);
    return NULL;
}

static void find_live(gpu_list *list, const gpu_source *source)
{
    pthread_condattr_t attributes;
    pthread_t thread;
    struct timespec deadline;
    job *j = o3_alloc(1, sizeof(*j));
    j->source = source;
    j->list = *list;
    j->list.root = "/"; /* live sources ask no files; the caller's text may be gone when a hung one comes back */
    pthread_mutex_init(&j->lock, NULL);
    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(&j->done, &attributes);
    pthread_condattr_destroy(&attributes);
    if (pthread_create(&thread, NULL, job_run, j)) {
        job_free(j);
        return;
    }
    pthread_detach(thread);
    clock_gettime(CLOCK_MONOTONIC, &deadline);
    deadline.tv_sec += LIVE_TIMEOUT_S;
    pthread_mutex_lock(&j->lock);
    while (!j->finished && pthread_cond_timedwait(&j->done, &j->lock, &deadline) != ETIMEDOUT)
        ;
    bool finished = j->finished;
    j->given_up = !finished;
    pthread_mutex_unlock(&j->lock);
    if (!finished) {
        o3_note(&list->notes, "%s did not answer within %d s", source->name, LIVE_TIMEOUT_S);
        return;
    }
    const char *root = list->root;
    *list = j->list;
    list->root = root;
    job_free(j);
}

static bool wanted_live(const gpu_list *list, const gpu_source *source)
{
    /* Without an entry of its vendor only a library is tried: it costs nothing where it is not installed. */
    for (int i = 0; i < list->count; i++)
        if (list->at[i].gpu.vendor == source->vendor && !list->at[i].told && !list->at[i].gpu.asleep)
            return true;
    return source == &gpu_nvml && !list->count;
}

void gpu_find(gpu_list *list)
{
    enumerate(list);
    for (int i = 0; i < O3_COUNT(sources); i++) {
        const gpu_source *source = sources[i];
        bool before[O3_GPUS_MAX];
        if (source->live && (!gpu_live(list->root) || !wanted_live(list, source)))
            continue;
        for (int g = 0; g < O3_GPUS_MAX; g++)
            before[g] = g < list->count && list->at[g].told;
        if (source->live)
            find_live(list, source);
        else
            source->find(list);
        for (int g = 0; g < list->count; g++)
            if (list->at[g].told && !before[g])
                O3_COPY(list->at[g].gpu.source, source->name);
    }
    for (int i = 0; i < list->count; i++)
        gpu_from_sheet(&list->at[i]);
}
