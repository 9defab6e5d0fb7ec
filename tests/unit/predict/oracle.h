/* SPDX-License-Identifier: Apache-2.0 */
/* Reads tests/fixtures/predict/oracle.csv (made by make_oracle.py): models, settings, and the buffers that the real
 * engine planned for them. */
#ifndef O3_TEST_ORACLE_H
#define O3_TEST_ORACLE_H

#include "predict/predict_impl.h"

#define MIB 1048576.0
#define ORACLE_COLUMNS 32

typedef struct oracle_row {
    o3_setting setting;
    double kv_mib, state_mib, compute_mib, output_mib; /* NaN: the engine refuses the setting */
} oracle_row;

typedef enum model_column { C_VOCAB, C_EMBEDDING, C_LAYERS, C_HEADS, C_HEADS_KV, C_KEY, C_VALUE, C_FF, C_EXPERTS, C_USED,
    C_FF_DENSE, C_LEAD, C_SHARED, C_EVERY, C_WINDOW, C_KV_LORA, C_Q_LORA, C_ROPE, C_MLA_KEY, C_MLA_VALUE, C_CONV,
    C_INNER, C_STATE, C_DT_RANK, C_GROUPS, C_COUNT } model_column;

static inline int oracle_split(char *line, char *field[ORACLE_COLUMNS])
{
    int count = 0;
    line[strcspn(line, "\n")] = 0;
    for (char *at = line; at && count < ORACLE_COLUMNS;)
        field[count++] = strsep(&at, ",");
    return count;
}

static inline o3_mixer oracle_mixer(const int *v)
{
    if (v[C_KV_LORA])
        return O3_MIXER_MLA;
    if (v[C_INNER]) /* a delta net has as many value heads as ranks, of the state's size */
        return v[C_INNER] == v[C_STATE] * v[C_DT_RANK] ? O3_MIXER_DELTA_NET : O3_MIXER_MAMBA;
    return v[C_CONV] ? O3_MIXER_SHORTCONV : O3_MIXER_NONE;
}

static inline int64_t oracle_state(const o3_model *m)
{
    int64_t width = m->ssm_inner ? m->ssm_inner + 2 * (int64_t)m->ssm_groups * m->ssm_state : m->embedding;
    return 4 * ((m->ssm_conv - 1) * width + (int64_t)m->ssm_state * m->ssm_inner);
}

/* "2+5+8": the layers with attention; "-": all. */
static inline bool oracle_listed(const char *list, int layer)
{
    for (const char *at = list; *at; at += strcspn(at, "+"), at += *at == '+')
        if (*at == '-' || atoi(at) == layer)
            return true;
    return false;
}

static inline void oracle_model(o3_model *m, char *field[ORACLE_COLUMNS])
{
    int v[C_COUNT];
    for (int i = 0; i < C_COUNT; i++)
        v[i] = atoi(field[3 + i]);
    *m = (o3_model){.layers = v[C_LAYERS], .embedding = v[C_EMBEDDING], .heads = v[C_HEADS], .heads_kv = v[C_HEADS_KV],
        .head_dim = v[C_KEY], .ff = v[C_FF], .vocab = v[C_VOCAB], .experts = v[C_EXPERTS], .experts_used = v[C_USED],
        .experts_shared_ff = v[C_SHARED], .dense_lead = v[C_LEAD], .ff_dense = v[C_FF_DENSE], .mixer = oracle_mixer(v),
        .mla_kv_lora = v[C_KV_LORA], .mla_q_lora = v[C_Q_LORA], .mla_rope = v[C_ROPE], .mla_key = v[C_MLA_KEY],
        .mla_value = v[C_MLA_VALUE], .ssm_conv = v[C_CONV], .ssm_inner = v[C_INNER], .ssm_state = v[C_STATE],
        .ssm_dt_rank = v[C_DT_RANK], .ssm_groups = v[C_GROUPS], .kv_exact = true, .trained_tokens = 1 << 20,
        .weight_bytes = 1, .parameters = -1, .token_embd_begin_bytes = -1, .token_embd_bytes = -1, .output_bytes = -1};
    O3_COPY(m->name, field[1]);
    O3_COPY(m->architecture, field[2]);
    if (m->mixer != O3_MIXER_MLA)
        m->mla_rope = 0;
    m->fused_qkv = !strcmp(m->architecture, "phi3");
    for (int i = 0; i < m->layers; i++) {
        o3_layer *l = &m->layer[i];
        if (oracle_listed(field[3 + C_COUNT], i))
            *l = (o3_layer){.heads_kv = v[C_HEADS_KV], .key_dim = v[C_KEY], .value_dim = v[C_VALUE],
                            .window_tokens = v[C_EVERY] && i % v[C_EVERY] < v[C_EVERY] - 1 ? v[C_WINDOW] : 0};
        else
            l->state_bytes = oracle_state(m);
    }
}

static inline void oracle_setting(oracle_row *row, char *field[ORACLE_COLUMNS])
{
    bool refused = !strcmp(field[6], "refuses");
    row->setting = (o3_setting){.knobs = {atoi(field[1]), atoi(field[2]), O3_UNSET, O3_UNSET, O3_UNSET},
        .parallel = atoi(field[3]), .flash_attention = atoi(field[4]), .kv_type = o3_kv_type_find(field[5]),
        .era = O3_ERA_C};
    row->kv_mib = refused ? NAN : atof(field[6]);
    row->state_mib = refused ? NAN : atof(field[7]);
    row->compute_mib = refused ? NAN : atof(field[8]);
    row->output_mib = refused ? NAN : atof(field[9]);
}

#endif
