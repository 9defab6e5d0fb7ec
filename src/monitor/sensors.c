/* SPDX-License-Identifier: Apache-2.0 */
/* Which files tell the CPU's temperature. Board sensors (acpitz) are left out: many show a constant. */
#include <dirent.h>

#include "monitor/source_file.h"

#define LABELS_MAX 32

/* The first row that any chip answers is taken, with all chips that do (a package each). k10temp: Tctl may carry an
 * offset of 10 or 20 degrees on old parts, Tdie never. */
static const struct {
    const char *chip, *label; /* label: how it begins; NULL = temp1_input, whatever its label */
} chips[] = {
    {"coretemp", "Package"}, {"coretemp", "Core"},   {"k10temp", "Tdie"},     {"k10temp", "Tctl"},
    {"zenpower", "Tdie"},    {"zenpower", "Tctl"},   {"cpu_thermal", NULL},   {"cpu-thermal", NULL},
    {"soc_thermal", NULL},   {"apm_xgene", "SoC"},   {"scpi_sensors", "SOC"},
};

static const char *const zones[] = {"x86_pkg_temp", "cpu-thermal", "cpu_thermal", "soc-thermal", "soc_thermal", "cpu"};

static bool begins(const char *root, const char *dir, const char *name, const char *wanted)
{
    char path[512], text[64];
    O3_FORMAT(path, "%s/%s", dir, name);
    return o3_read_text(root, path, text, sizeof(text)) > 0 && !strncmp(text, wanted, strlen(wanted));
}

static int add(const char *root, const char *dir, const char *name, source_file *sensors, int count)
{
    if (count == SOURCE_SENSORS_MAX)
        return count;
    source_open(&sensors[count], root, dir, name);
    return sensors[count].fd >= 0 ? count + 1 : count;
}

static int add_chip(const char *root, const char *dir, const char *label, source_file *sensors, int count)
{
    char name[32];
    if (!label)
        return add(root, dir, "temp1_input", sensors, count);
    for (int i = 1; i <= LABELS_MAX; i++) {
        O3_FORMAT(name, "temp%d_label", i);
        if (!begins(root, dir, name, label))
            continue;
        O3_FORMAT(name, "temp%d_input", i);
        count = add(root, dir, name, sensors, count);
    }
    return count;
}

/* All entries of `parent` that fit one row of the tables above. */
static int scan(const char *root, const char *parent, int row, bool zone, source_file *sensors)
{
    char full[512], dir[512];
    int count = 0;
    O3_FORMAT(full, "%s%s", root, parent);
    DIR *listing = opendir(full);
    for (struct dirent *entry; listing && (entry = readdir(listing));) {
        if (entry->d_name[0] == '.')
            continue;
        O3_FORMAT(dir, "%s/%s", parent, entry->d_name);
        if (zone && begins(root, dir, "type", zones[row]))
            count = add(root, dir, "temp", sensors, count);
        else if (!zone && begins(root, dir, "name", chips[row].chip))
            count = add_chip(root, dir, chips[row].label, sensors, count);
    }
    if (listing)
        closedir(listing);
    return count;
}

int sensors_open(const char *root, source_file sensors[SOURCE_SENSORS_MAX])
{
    int count = 0;
    for (int i = 0; i < O3_COUNT(chips) && !count; i++)
        count = scan(root, "/sys/class/hwmon", i, false, sensors);
    for (int i = 0; i < O3_COUNT(zones) && !count; i++)
        count = scan(root, "/sys/class/thermal", i, true, sensors);
    return count;
}
