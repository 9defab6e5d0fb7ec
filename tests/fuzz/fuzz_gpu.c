/* SPDX-License-Identifier: Apache-2.0 */
/* What is read of GPUs that a driver or a vendor's program makes up: tables, JSON, blobs, addresses, clients, and the
 * environment of the engine. The first byte chooses the reader. */
#include "hardware/fdinfo.h"
#include "hardware/gpu.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check(bool holds)
{
    if (!holds)
        abort();
}

/* Whatever came in: bounded, terminated, and unknown is -1. */
static void check_list(const gpu_list *list)
{
    check(list->count >= 0 && list->count <= O3_GPUS_MAX);
    for (int i = 0; i < list->count; i++) {
        check(list->at[i].total_bytes >= -1 && list->at[i].used_bytes >= -1);
        check(strlen(list->at[i].gpu.name) < sizeof(list->at[i].gpu.name));
    }
}

static void rules(gpu_list *list, const char *env)
{
    static const o3_gpu_vendor vendors[] = {O3_GPU_NVIDIA, O3_GPU_AMD, O3_GPU_INTEL, O3_GPU_NVIDIA, O3_GPU_AMD};
    for (int i = 0; i < O3_COUNT(vendors); i++) {
        gpu_found *found = gpu_add(list, vendors[i], "0000:01:00.0");
        O3_FORMAT(found->gpu.uuid, "GPU-%d", i);
        found->gpu.integrated = i == 4;
    }
    gpu_apply_rules(list, env);
}

static void client(const char *text)
{
    fdinfo_client c;
    fdinfo_parse(text, &c);
    check(c.id >= -1 && c.own_bytes >= -1 && c.mapped_bytes >= -1 && strlen(c.pci) < sizeof(c.pci));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    gpu_metrics metrics;
    char pci[20];
    if (!size)
        return 0;
    o3_auto(free) gpu_list *list = o3_alloc(1, sizeof(*list));
    o3_auto(free) char *text = o3_alloc(size, 1);
    memcpy(text, data + 1, size - 1); /* o3_alloc zeroes: terminated */
    list->root = "/nowhere";
    list->ram_bytes = data[0] & 8 ? -1 : INT64_C(137438953472);
    switch (data[0] % 7) {
    case 0: gpu_nvidia_smi_parse(list, text); break;
    case 1: gpu_rocm_smi_parse(list, text); break;
    case 2: gpu_amd_smi_parse(list, text); break;
    case 3: rules(list, text); break;
    case 4: gpu_metrics_decode(data + 1, size - 1, &metrics); break;
    case 5: gpu_pci_normal(text, pci); break;
    default: client(text); break;
    }
    for (int i = 0; i < list->count; i++)
        gpu_from_sheet(&list->at[i]);
    check_list(list);
    return 0;
}
