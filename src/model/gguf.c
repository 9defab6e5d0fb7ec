/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a GGUF file, as the /api/show answer that Ollama would give of it: keys, then the list of tensors. What
 * is too big to matter (vocabularies, templates) is stepped over and stands as null. */
#include "gguf_bytes.h"

#include <ctype.h>
#include <endian.h>

#include "o3/model.h"

#define KEYS_MAX 16384    /* real files: below 100 */
#define TENSORS_MAX 65536 /* real files: below 3,000; with one tensor for each expert below 50,000 */
#define NAME_MAX_BYTES 255
#define TEXT_KEPT_BYTES 1024
#define VALUES_KEPT 65536 /* of all arrays together */
#define PARTS_MAX 9999
#define ALIGNMENT_MAX (1 << 20)

enum { U8, I8, U16, I16, U32, I32, F32, BOOLEAN, STRING, ARRAY, U64, I64, F64 };
static const uint8_t value_bytes[] = {1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8};

typedef struct gguf {
    gguf_bytes in;
    json_t *info, *tensors;    /* not owned */
    uint64_t key_count, tensor_count;
    int64_t values_left;
    int64_t data_end;          /* of the furthest tensor, from the data's begin */
    double elements;           /* of all tensors of this file */
} gguf;

static json_t *number_of(uint32_t type, uint64_t raw)
{
    uint32_t low = (uint32_t)raw;
    float f32;
    double f64;
    memcpy(&f32, &low, sizeof(f32));
    memcpy(&f64, &raw, sizeof(f64));
    json_t *json = NULL;
    switch (type) {
    case BOOLEAN: return json_boolean(raw & 0xff);
    case U8: return json_integer((uint8_t)raw);
    case I8: return json_integer((int8_t)raw);
    case U16: return json_integer((uint16_t)raw);
    case I16: return json_integer((int16_t)raw);
    case U32: return json_integer(low);
    case I32: return json_integer((int32_t)low);
    case U64: return raw > INT64_MAX ? json_real((double)raw) : json_integer((json_int_t)raw);
    case I64: return json_integer((json_int_t)raw);
    case F32: json = json_real((double)f32); break;
    case F64: json = json_real(f64); break;
    default: break;
    }
    return json ? json : json_null(); /* NaN and infinity are no JSON */
}

static json_t *read_number(gguf *g, uint32_t type)
{
    uint64_t raw = 0;
    return gguf_take(&g->in, &raw, value_bytes[type]) ? number_of(type, le64toh(raw)) : NULL;
}

/* Long texts, and bytes that are no UTF-8, are null. */
static json_t *read_text(gguf *g)
{
    char text[TEXT_KEPT_BYTES];
    uint64_t len = gguf_u64(&g->in);
    if (len > sizeof(text))
        return gguf_skip(&g->in, len) ? json_null() : NULL;
    if (!gguf_take(&g->in, text, (size_t)len))
        return NULL;
    json_t *json = json_stringn(text, (size_t)len);
    return json ? json : json_null();
}

static json_t *read_array(gguf *g)
{
    uint32_t type = gguf_u32(&g->in);
    uint64_t count = gguf_u64(&g->in);
    if (gguf_failed(&g->in))
        return NULL;
    if (type == STRING) {
        if (!gguf_room(&g->in, count, 8, "texts"))
            return NULL;
        for (uint64_t i = 0; i < count && !gguf_failed(&g->in); i++)
            gguf_skip(&g->in, gguf_u64(&g->in));
        return gguf_failed(&g->in) ? NULL : json_null();
    }
    if (type == ARRAY || type > F64) {
        gguf_fail(&g->in, "has an array of %s (type %u), which no engine reads; convert the model again",
                  type == ARRAY ? "arrays" : "unknown values", type);
        return NULL;
    }
    if (!gguf_room(&g->in, count, value_bytes[type], "values"))
        return NULL;
    if (count > O3_LAYERS_MAX || (int64_t)count > g->values_left) {
        gguf_skip(&g->in, count * value_bytes[type]);
        return json_null();
    }
    g->values_left -= (int64_t)count;
    json_t *array = json_array();
    for (uint64_t i = 0; i < count && !gguf_failed(&g->in); i++)
        json_array_append_new(array, read_number(g, type));
    return array;
}

static bool read_name(gguf *g, char name[NAME_MAX_BYTES + 1], const char *what)
{
    uint64_t len = gguf_u64(&g->in);
    if (gguf_failed(&g->in))
        return false;
    if (len == 0 || len > NAME_MAX_BYTES)
        return gguf_fail(&g->in, "has a %s whose name is %llu bytes long; it is damaged, download it again", what,
                         (unsigned long long)len);
    name[len] = '\0';
    if (!gguf_take(&g->in, name, (size_t)len))
        return false;
    for (size_t i = 0; i < len; i++)
        if (iscntrl((unsigned char)name[i]) || (unsigned char)name[i] >= 0x80)
            return gguf_fail(&g->in, "has a %s whose name is no text; it is damaged, download it again", what);
    return true;
}

static bool read_key(gguf *g)
{
    char name[NAME_MAX_BYTES + 1];
    if (!read_name(g, name, "key"))
        return false;
    uint32_t type = gguf_u32(&g->in);
    if (gguf_failed(&g->in))
        return false;
    if (type > F64)
        return gguf_fail(&g->in, "has a value of unknown type %u at key %s; it is damaged, or newer than this release "
                         "of O3", type, name);
    if (json_object_get(g->info, name))
        return gguf_fail(&g->in, "has the key %s twice; convert the model again", name);
    json_t *value = type == STRING ? read_text(g) : type == ARRAY ? read_array(g) : read_number(g, type);
    if (!value)
        return false;
    json_object_set_new_nocheck(g->info, name, value);
    return !gguf_failed(&g->in);
}

/* One entry of the directory; false on anything that cannot be. Of a type that this release does not know only the
 * begin can be checked. */
static bool read_tensor(gguf *g)
{
    char name[NAME_MAX_BYTES + 1], number[16];
    int32_t per_block, block_bytes;
    int64_t elements = 1, row = 1, bytes = 0, end;
    if (!read_name(g, name, "tensor"))
        return false;
    uint32_t dimensions = gguf_u32(&g->in);
    if (dimensions > 4)
        return gguf_fail(&g->in, "gives tensor %s %u dimensions, 4 are the most; it is damaged, download it again",
                         name, dimensions);
    json_t *shape = json_array();
    json_t *tensor = json_pack("{s:s, s:o}", "name", name, "shape", shape);
    json_array_append_new(g->tensors, tensor);
    for (uint32_t i = 0; i < dimensions; i++) {
        uint64_t n = gguf_u64(&g->in);
        row = i == 0 ? (int64_t)(n & INT64_MAX) : row;
        if (n > INT64_MAX || __builtin_mul_overflow(elements, (int64_t)n, &elements))
            return gguf_fail(&g->in, "gives tensor %s a shape beyond all memory; it is damaged, download it again", name);
        json_array_append_new(shape, json_integer((json_int_t)n));
    }
    uint32_t type = gguf_u32(&g->in);
    uint64_t offset = gguf_u64(&g->in);
    if (gguf_failed(&g->in))
        return false;
    const char *type_name = o3_tensor_type_name(type);
    O3_FORMAT(number, "type %u", type);
    json_object_set_new(tensor, "type", json_string(type_name ? type_name : number));
    if (type_name && o3_tensor_type(type_name, &per_block, &block_bytes)) {
        if (row % per_block)
            return gguf_fail(&g->in, "gives tensor %s rows of %lld values, which %s cannot hold; it is damaged, download "
                             "it again", name, (long long)row, type_name);
        bytes = elements / per_block;
        if (__builtin_mul_overflow(bytes, (int64_t)block_bytes, &bytes))
            bytes = INT64_MAX;
    }
    if (offset > INT64_MAX || __builtin_add_overflow((int64_t)offset, bytes, &end))
        return gguf_fail(&g->in, "puts tensor %s beyond all files; it is damaged, download it again", name);
    g->data_end = end > g->data_end ? end : g->data_end;
    g->elements += (double)elements;
    return true;
}

static bool read_start(gguf *g)
{
    uint8_t magic[4];
    if (g->in.size < 4)
        return gguf_fail(&g->in, "has %lld bytes, no GGUF file; download it again", (long long)g->in.size);
    if (!gguf_take(&g->in, magic, 4))
        return false;
    if (memcmp(magic, "GGUF", 4))
        return gguf_fail(&g->in, "does not begin with GGUF (but with bytes %02x %02x %02x %02x); name a GGUF file, other "
                         "formats have to be converted", magic[0], magic[1], magic[2], magic[3]);
    uint32_t version = gguf_u32(&g->in);
    if (!gguf_failed(&g->in) && version != 2 && version != 3) {
        if (version && !(version & 0xffff))
            return gguf_fail(&g->in, "is a big-endian GGUF file, which this machine's engines do not read; get the "
                             "little-endian one");
        return gguf_fail(&g->in, "is GGUF version %u, O3 reads 2 and 3; %s", version,
                         version < 2 ? "convert the model again" : "a newer release of O3 may know it");
    }
    g->tensor_count = gguf_u64(&g->in);
    g->key_count = gguf_u64(&g->in);
    /* The least of a key is a name of one byte, its type and one byte; of a tensor its name, type and place. */
    if (!gguf_room(&g->in, g->key_count, 14, "keys") || !gguf_room(&g->in, g->tensor_count, 25, "tensors"))
        return false;
    if (g->key_count > KEYS_MAX || g->tensor_count > TENSORS_MAX)
        return gguf_fail(&g->in, "has %llu keys and %llu tensors, this release reads %d and %d",
                         (unsigned long long)g->key_count, (unsigned long long)g->tensor_count, KEYS_MAX, TENSORS_MAX);
    return true;
}

static int64_t info_integer(const json_t *info, const char *key, int64_t missing)
{
    const json_t *value = json_object_get(info, key);
    return json_is_integer(value) ? json_integer_value(value) : missing;
}

/* Does the file hold the bytes that its directory speaks of? */
static bool check_data(gguf *g)
{
    const json_t *given = json_object_get(g->info, "general.alignment");
    int64_t alignment = given ? info_integer(g->info, "general.alignment", 0) : 32;
    if (alignment <= 0 || alignment > ALIGNMENT_MAX || (alignment & (alignment - 1)))
        return gguf_fail(&g->in, "has the alignment %lld, which is no power of two up to %d; it is damaged, download it "
                         "again", (long long)alignment, ALIGNMENT_MAX);
    int64_t begin = (g->in.at + alignment - 1) & ~(alignment - 1), end;
    if (!g->tensor_count)
        return true;
    if (__builtin_add_overflow(begin, g->data_end, &end) || end > g->in.size) {
        char missing[32];
        double bytes = (double)begin + (double)g->data_end - (double)g->in.size;
        o3_fmt_bytes(missing, sizeof(missing), bytes);
        return gguf_fail(&g->in, "is cut short: its tensors need %.0f bytes (%s) more than the file has; download it "
                         "again", bytes, missing);
    }
    return true;
}

static o3_status read_file(gguf *g, const char *path, o3_err *err)
{
    bool sound = gguf_open(&g->in, path, err) && read_start(g);
    for (uint64_t i = 0; sound && i < g->key_count; i++)
        sound = read_key(g);
    for (uint64_t i = 0; sound && i < g->tensor_count; i++)
        sound = read_tensor(g);
    if (sound)
        check_data(g);
    int64_t size = g->in.size;
    gguf_close(&g->in);
    g->in.size = size;
    return g->in.status;
}

/* The parts behind the first one, "NAME-00001-of-00003.gguf". */
static o3_status read_parts(gguf *first, const char *path, int64_t parts, int64_t *file_bytes, o3_err *err)
{
    char ending[32], part[4096];
    int64_t number = info_integer(first->info, "split.no", 0);
    size_t len = strlen(path);
    O3_FORMAT(ending, "-%05d-of-%05d.gguf", 1, (int)parts);
    if (number != 0)
        return o3_fail(err, O3_E_PROTOCOL, "%s is part %lld of %lld of a split model; name the first part", path,
                       (long long)number + 1, (long long)parts);
    if (len >= sizeof(part) || len < strlen(ending) || strcmp(path + len - strlen(ending), ending))
        return o3_fail(err, O3_E_PROTOCOL, "%s is the first of %lld parts, but its name does not end with %s, so that "
                       "the others cannot be found; name the parts as they were", path, (long long)parts, ending);
    for (int i = 2; i <= parts; i++) {
        O3_FORMAT(part, "%.*s-%05d-of-%05d.gguf", (int)(len - strlen(ending)), path, i, (int)parts);
        json_t *info = json_object();
        gguf g = {.info = info, .tensors = first->tensors, .values_left = VALUES_KEPT};
        o3_status status = read_file(&g, part, err);
        if (status == O3_E_NOT_FOUND)
            status = o3_fail(err, O3_E_NOT_FOUND, "%s is missing: part %d of %d of the split model; download it too",
                             part, i, (int)parts);
        else if (!status && (info_integer(info, "split.count", 0) != parts || info_integer(info, "split.no", -1) != i - 1))
            status = o3_fail(err, O3_E_PROTOCOL, "%s is not part %d of %d by its own words; the parts are mixed up",
                             part, i, (int)parts);
        json_decref(info);
        if (status)
            return status;
        if (json_array_size(first->tensors) > TENSORS_MAX)
            return o3_fail(err, O3_E_PROTOCOL, "%s and its parts have more than %d tensors", path, TENSORS_MAX);
        *file_bytes += g.in.size;
        first->elements += g.elements;
    }
    return O3_OK;
}

/* Names of general.file_type, as Ollama shows them. */
static const char *file_type_name(int64_t type)
{
    static const char *const names[] = {
        [0] = "F32",      [1] = "F16",      [2] = "Q4_0",     [3] = "Q4_1",    [7] = "Q8_0",      [8] = "Q5_0",
        [9] = "Q5_1",     [10] = "Q2_K",    [11] = "Q3_K_S",  [12] = "Q3_K_M", [13] = "Q3_K_L",   [14] = "Q4_K_S",
        [15] = "Q4_K_M",  [16] = "Q5_K_S",  [17] = "Q5_K_M",  [18] = "Q6_K",   [19] = "IQ2_XXS",  [20] = "IQ2_XS",
        [21] = "Q2_K_S",  [22] = "IQ3_XS",  [23] = "IQ3_XXS", [24] = "IQ1_S",  [25] = "IQ4_NL",   [26] = "IQ3_S",
        [27] = "IQ3_M",   [28] = "IQ2_S",   [29] = "IQ2_M",   [30] = "IQ4_XS", [31] = "IQ1_M",    [32] = "BF16",
        [36] = "TQ1_0",   [37] = "TQ2_0",   [38] = "MXFP4_MOE", [39] = "NVFP4", [40] = "Q1_0",
    };
    return type >= 0 && type < O3_COUNT(names) && names[type] ? names[type] : "unknown";
}

static json_t *show_of(const gguf *g, const char *path)
{
    size_t size = strlen(path) + 8;
    o3_auto(free) char *from = o3_alloc(size, 1);
    o3_format(from, size, "FROM %s\n", path);
    const char *architecture = json_string_value(json_object_get(g->info, "general.architecture"));
    json_t *show = json_pack("{s:{s:s, s:s, s:s}, s:O, s:O}", "details", "format", "gguf", "family",
                             architecture ? architecture : "", "quantization_level",
                             file_type_name(info_integer(g->info, "general.file_type", -1)), "model_info", g->info,
                             "tensors", g->tensors);
    json_t *modelfile = json_string(from);
    if (modelfile) /* a path that is no UTF-8 cannot be said in JSON */
        json_object_set_new(show, "modelfile", modelfile);
    return show;
}

o3_status o3_gguf_read(const char *path, json_t **ret_show, int64_t *ret_file_bytes, o3_err *err)
{
    gguf g = {.info = json_object(), .tensors = json_array(), .values_left = VALUES_KEPT};
    o3_status status = read_file(&g, path, err);
    int64_t file_bytes = g.in.size, parts = status ? 0 : info_integer(g.info, "split.count", 0);
    if (parts > PARTS_MAX)
        status = o3_fail(err, O3_E_PROTOCOL, "%s says it has %lld parts; it is damaged, download it again", path,
                         (long long)parts);
    else if (parts > 1)
        status = read_parts(&g, path, parts, &file_bytes, err);
    if (!status) {
        if (g.elements < (double)(INT64_C(1) << 62))
            json_object_set_new(g.info, "general.parameter_count", json_integer((json_int_t)g.elements));
        *ret_show = show_of(&g, path);
        *ret_file_bytes = file_bytes;
    }
    json_decref(g.info);
    json_decref(g.tensors);
    return status;
}
