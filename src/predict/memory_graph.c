/* SPDX-License-Identifier: Apache-2.0 */
/* The tensors that llama.cpp evaluates for one worst-case batch, block by block, as far as their sizes and life times
 * matter (b10488, read off the engine's own listing of its graph). Biases, norms of heads and activations change their
 * operand in place and are left out. */
#include "predict/memory_fold.h"
#include "predict/memory_plan.h"
#include "predict/predict_impl.h"

#define MIXED_TYPES 1.2 /* the largest type of a usual mixture over its average */

/* What the architecture's name says of its graph; the rest is in the model's numbers. */
typedef struct graph_traits {
    const char *architecture;
    bool fused_ffn;          /* gate and up are one tensor */
    bool gated_attention;    /* the query tensor carries a gate of its own size */
    bool keeps_residual[2];  /* the residual, and not the block's output, takes the sum: attention, feed-forward */
    bool parallel;           /* attention and feed-forward read the same norm */
    bool full_unturned;      /* full layers without rope, beside layers with a window */
    bool grouped_keys;       /* a delta net's keys are not repeated for each value head */
    bool biased_choice;      /* experts are chosen by scores with a bias, weighted by scores without */
} graph_traits;

static const graph_traits traits_of[] = {
    {.architecture = "cohere2", .parallel = true, .full_unturned = true},
    {.architecture = "deepseek2"},
    {.architecture = "gemma2"},
    {.architecture = "gemma3"},
    {.architecture = "glm4", .fused_ffn = true},
    {.architecture = "glm4moe", .biased_choice = true},
    {.architecture = "gpt-oss"},
    {.architecture = "granite"},
    {.architecture = "granitehybrid"},
    {.architecture = "granitemoe"},
    {.architecture = "lfm2", .keeps_residual = {true, true}},
    {.architecture = "lfm2moe", .keeps_residual = {true, true}, .biased_choice = true},
    {.architecture = "llama"},
    {.architecture = "mistral3"},
    {.architecture = "phi3", .fused_ffn = true, .keeps_residual = {false, true}},
    {.architecture = "qwen2"},
    {.architecture = "qwen3"},
    {.architecture = "qwen3moe"},
    {.architecture = "qwen35", .gated_attention = true, .grouped_keys = true},
    {.architecture = "qwen35moe", .gated_attention = true, .grouped_keys = true},
    {.architecture = "qwen3next", .gated_attention = true},
    {.architecture = "smollm3"},
    {.architecture = ""}, /* none of them: the usual shape */
};

typedef struct graph {
    graph_plan *plan;
    const o3_model *model;
    const o3_setting *setting;
    const graph_traits *traits;
    double rows;                /* tokens that the block's tensors hold */
    double tokens, slots, streams;
    double cells[2];            /* of a full layer, of a window layer (0 without) */
    int mask[2], narrow[2], positions, rows_k[2], rows_v[2], rotate_k[2], rotate_v[2], state_ids, wanted;
    int state;                  /* what the next convolution reads of the batch before; 0 = not read yet */
    bool reads_ahead, experts;  /* the next block reads it while this one is evaluated; this one has experts */
    bool own_engine;            /* its inputs lie in buffers of their own */
    int host_blocks;            /* first blocks whose weights and caches lie on the host, their tensors on the device */
    bool copies;                /* this block is one of them */
    double weight_bytes;        /* of one weight, on average */
} graph;

static int fresh(graph *g, double width, int a, int b)
{
    return PLAN_ADD(g->plan, PLAN_FRESH, 4 * width * g->rows, a, b);
}

static int inplace(graph *g, double width, int a, int b)
{
    return PLAN_ADD(g->plan, PLAN_INPLACE, 4 * width * g->rows, a, b);
}

static void sink(graph *g, int a, int b)
{
    PLAN_ADD(g->plan, PLAN_SINK, 0, a, b);
}

/* Another tensor by a matrix. Weights that lie on the host are copied to the device for a large batch. */
static int matmul(graph *g, double width, double inner, int a, int b)
{
    int weights = g->copies ? PLAN_ADD(g->plan, PLAN_FRESH, width * inner * g->weight_bytes, 0) : 0;
    return PLAN_ADD(g->plan, PLAN_FRESH, 4 * width * g->rows, a, b, weights);
}

/* The new value of the residual stream. */
static int add(graph *g, int block, int residual, bool keeps_residual)
{
    double e = g->model->embedding;
    return keeps_residual ? inplace(g, e, residual, block) : inplace(g, e, block, residual);
}

/* Values that a recurrent layer's convolution over time reads of each token. */
static double convolution_width(const o3_model *m)
{
    return m->mixer == O3_MIXER_SHORTCONV ? m->embedding : m->ssm_inner + 2.0 * m->ssm_groups * m->ssm_state;
}

static void read_state(graph *g)
{
    double bytes = 4 * g->slots * (g->model->ssm_conv - 1) * convolution_width(g->model);
    g->state = PLAN_ADD(g->plan, PLAN_FRESH, bytes, g->state_ids);
}

/* Called where a block's evaluation is cut: the next block's state is read there, long before it is used, and parts
 * what would become one hole. */
static void read_ahead(graph *g, bool in_experts)
{
    if (g->reads_ahead && in_experts == g->experts)
        read_state(g);
}

/* The tokens with those behind the last ones of the batch before. */
static int convolution_input(graph *g, int tokens)
{
    double width = convolution_width(g->model);
    if (!g->state)
        read_state(g);
    int all = PLAN_ADD(g->plan, PLAN_FRESH, 4 * width * (g->rows + g->slots * (g->model->ssm_conv - 1)), g->state, tokens);
    g->state = 0;
    sink(g, all, 0);
    return all;
}

/* Bytes of a mask's value: f16 is enough for flash attention since era C. */
static double mask_bytes(const graph *g)
{
    return g->setting->flash_attention && g->setting->era == O3_ERA_C ? 2 : 4;
}

/* The mask of a cache. Before era C it was made as f32, and copied to f16 where it was first needed. */
static int mask(graph *g, int swa)
{
    bool flash = g->setting->flash_attention, narrow = g->setting->era != O3_ERA_C || g->own_engine;
    if (!g->mask[swa] && !g->own_engine)
        g->mask[swa] = PLAN_ADD(g->plan, PLAN_FRESH, mask_bytes(g) * g->tokens * g->cells[swa], 0);
    if (flash && narrow && !g->narrow[swa])
        g->mask[swa] = g->narrow[swa] = PLAN_ADD(g->plan, PLAN_FRESH, 2 * g->tokens * g->cells[swa], g->mask[swa]);
    return g->mask[swa];
}

static int positions(graph *g)
{
    if (!g->positions && !g->own_engine)
        g->positions = PLAN_ADD(g->plan, PLAN_FRESH, 4 * g->tokens, 0);
    return g->positions;
}

/* The matrices that turn keys and values before they are quantised, and results back; 0 = none. */
static int rotation(graph *g, int swa, bool values)
{
    int *matrix = values ? &g->rotate_v[swa] : &g->rotate_k[swa];
    double side = predict_rotation(g->model, g->setting);
    if (side > 0 && !*matrix)
        *matrix = PLAN_ADD(g->plan, PLAN_FRESH, values ? 4 * 64 * 64 : 4 * side * side, 0);
    return *matrix;
}

/* Heads over the cache: scores of all tokens against all cells, unless flash attention folds them. */
static int attend(graph *g, const o3_layer *l, int q, int swa)
{
    double values = (double)g->model->heads * l->value_dim, cells = g->cells[swa];
    double cached = g->copies ? cells * g->streams * l->heads_kv * g->setting->kv_type->bytes / g->setting->kv_type->values : 0;
    int k = PLAN_ADD(g->plan, PLAN_FRESH, cached * l->key_dim, 0), v = PLAN_ADD(g->plan, PLAN_FRESH, cached * l->value_dim, 0);
    if (g->setting->flash_attention)
        return PLAN_ADD(g->plan, PLAN_FRESH, 4 * values * g->rows, q, mask(g, swa), k, v);
    int hidden = mask(g, swa);
    int scores = fresh(g, cells * g->model->heads, q, k);
    scores = inplace(g, cells * g->model->heads, scores, hidden);
    return fresh(g, values, fresh(g, values, scores, v), 0);
}

/* With flash attention the result is only seen through a view, so the gate's bytes take the product. */
static int take_gate(graph *g, int out, int gate)
{
    double width = (double)g->model->heads * g->model->head_dim;
    return g->setting->flash_attention ? inplace(g, width, gate, out) : inplace(g, width, out, gate);
}

/* Queries, keys or values: a part of `from`, or a product of their own; turned by position, turned for quantisation. */
static int project(graph *g, double width, int from, int norm, bool rope, int turn)
{
    int made = from ? from : matmul(g, width, g->model->embedding, norm, 0);
    made = rope ? fresh(g, width, made, positions(g)) : made;
    return turn ? fresh(g, width, turn, made) : made;
}

static int attention(graph *g, const o3_layer *l, int norm)
{
    const o3_model *m = g->model;
    int swa = l->window_tokens > 0 && g->cells[1] > 0, side[2]; /* values, keys */
    double e = m->embedding, queries = (double)m->heads * (m->head_dim > 0 ? m->head_dim : l->key_dim);
    double width[2] = {(double)l->heads_kv * l->value_dim, (double)l->heads_kv * l->key_dim};
    double results = (double)m->heads * l->value_dim;
    bool rope = !g->traits->full_unturned || l->window_tokens > 0;
    int qkv = m->fused_qkv ? matmul(g, queries + width[0] + width[1], e, norm, 0) : 0;
    int gated = g->traits->gated_attention ? matmul(g, 2 * queries, e, norm, 0) : 0;
    int turn = rotation(g, swa, false), q = project(g, queries, gated ? gated : qkv, norm, rope, turn);
    for (int i = 0; i < 2; i++) { /* with a window cache keys come first, else values; only the holes differ */
        int key = g->cells[1] > 0 ? !i : i;
        side[key] = project(g, width[key], qkv, norm, key && rope, rotation(g, swa, !key));
    }
    sink(g, side[1], g->rows_k[swa]);
    sink(g, side[0], g->rows_v[swa]);
    int out = attend(g, l, q, swa);
    read_ahead(g, false);
    if (turn)
        out = fresh(g, results, rotation(g, swa, true), out);
    if (gated)
        out = take_gate(g, out, fresh(g, queries, gated, 0));
    return g->traits->parallel ? out : matmul(g, e, results, out, 0); /* else behind the feed-forward part */
}

/* Multi-head latent attention, absorbed: queries are as wide as the compressed keys. */
static int latent_attention(graph *g, const o3_layer *l, int norm)
{
    const o3_model *m = g->model;
    double h = m->heads, lora = m->mla_kv_lora, rope = m->mla_rope;
    double e = m->embedding, out_width = h * m->mla_value;
    int from = m->mla_q_lora ? matmul(g, m->mla_q_lora, e, norm, 0) : norm;
    int q = matmul(g, h * m->mla_key, m->mla_q_lora ? m->mla_q_lora : e, from, 0);
    int absorbed = matmul(g, h * lora, m->mla_key - rope, q, 0), turned = fresh(g, h * rope, q, positions(g));
    q = fresh(g, h * (lora + rope), absorbed, turned);
    int kv = matmul(g, lora + rope, e, norm, 0);
    int compressed = fresh(g, lora, kv, 0), key_turned = fresh(g, rope, kv, positions(g));
    sink(g, fresh(g, lora + rope, compressed, key_turned), g->rows_k[0]);
    if (g->setting->era == O3_ERA_A)
        sink(g, compressed, g->rows_v[0]);
    double value = (double)g->setting->kv_type->bytes / g->setting->kv_type->values, rows = g->cells[0] * g->streams;
    int k = PLAN_ADD(g->plan, PLAN_FRESH, g->copies ? value * l->key_dim * rows : 0, 0), out;
    if (g->setting->flash_attention) {
        out = PLAN_ADD(g->plan, PLAN_FRESH, 4 * h * lora * g->rows, q, mask(g, 0), k);
    } else {
        int v = PLAN_ADD(g->plan, PLAN_FRESH, value * l->value_dim * rows, k);
        int hidden = mask(g, 0), scores = fresh(g, g->cells[0] * h, q, k);
        scores = inplace(g, g->cells[0] * h, scores, hidden);
        out = fresh(g, h * lora, v, scores);
    }
    out = fresh(g, out_width, matmul(g, out_width, lora, out, 0), 0);
    return matmul(g, e, out_width, out, 0);
}

static int mamba(graph *g, int norm)
{
    const o3_model *m = g->model;
    double inner = m->ssm_inner, states = 2.0 * m->ssm_groups * m->ssm_state;
    int in = matmul(g, 2 * inner + states + m->ssm_dt_rank, m->embedding, norm, 0);
    int x = fresh(g, inner + states, convolution_input(g, in), 0);
    int dt = fresh(g, m->ssm_dt_rank, in, 0);
    int scan = PLAN_ADD(g->plan, PLAN_FRESH, 4 * (inner * g->rows + (double)m->ssm_state * inner * g->slots), x, dt);
    sink(g, scan, 0);
    read_ahead(g, false);
    int z = fresh(g, inner, in, 0), skip = fresh(g, inner, x, 0);
    int y = fresh(g, inner, z, inplace(g, inner, skip, scan));
    return matmul(g, m->embedding, inner, fresh(g, inner, y, 0), 0);
}

static int delta_net(graph *g, int norm)
{
    const o3_model *m = g->model;
    double inner = m->ssm_inner, keys = (double)m->ssm_groups * m->ssm_state, states = (double)m->ssm_state * inner;
    int mixed = matmul(g, 2 * keys + inner, m->embedding, norm, 0);
    int before = convolution_input(g, mixed);
    int state = PLAN_ADD(g->plan, PLAN_FRESH, 4 * states * g->slots, g->state_ids);
    int x = fresh(g, 2 * keys + inner, before, 0);
    bool repeated = keys < inner && !g->traits->grouped_keys; /* to as many heads as the values have */
    int q = fresh(g, keys, x, 0);
    q = repeated ? fresh(g, inner, q, 0) : q;
    int k = fresh(g, keys, x, 0);
    k = repeated ? fresh(g, inner, k, 0) : k;
    int both = fresh(g, 2.0 * m->ssm_dt_rank, norm, 0);
    int gate = fresh(g, m->ssm_dt_rank, both, 0), beta = fresh(g, m->ssm_dt_rank, both, 0);
    int out = PLAN_ADD(g->plan, PLAN_FRESH, 4 * (inner * g->rows + states * g->slots), q, k, x, gate, beta, state);
    sink(g, out, 0);
    out = fresh(g, inner, out, 0);
    out = inplace(g, inner, out, fresh(g, inner, matmul(g, inner, m->embedding, norm, 0), 0));
    return matmul(g, m->embedding, inner, out, 0);
}

static int short_convolution(graph *g, int norm)
{
    double e = g->model->embedding;
    int in = matmul(g, 3 * e, e, norm, 0);
    int all = convolution_input(g, fresh(g, e, in, in));
    read_ahead(g, false);
    return matmul(g, e, e, inplace(g, e, fresh(g, e, all, 0), in), 0);
}

static int dense(graph *g, double width, int norm)
{
    double e = g->model->embedding;
    if (g->traits->fused_ffn)
        return matmul(g, e, width, fresh(g, width, matmul(g, 2 * width, e, norm, 0), 0), 0);
    int gate = matmul(g, width, e, norm, 0), up = matmul(g, width, e, norm, 0);
    return matmul(g, e, width, fresh(g, width, gate, up), 0);
}

static int experts(graph *g, int norm)
{
    const o3_model *m = g->model;
    double n = m->experts, u = m->experts_used, f = m->ff, e = m->embedding;
    int scores = inplace(g, n, fresh(g, n, norm, 0), 0);
    int chosen_by = g->traits->biased_choice ? fresh(g, n, scores, 0) : scores;
    int order = fresh(g, n, chosen_by, 0);
    int weights = fresh(g, u, scores, order);
    /* a token multiplies by u of n matrices, a copy brings all of them */
    int gate = matmul(g, u * f, n / u * e, norm, order), up = matmul(g, u * f, n / u * e, norm, order);
    int each = matmul(g, u * e, n / u * f, fresh(g, u * f, gate, up), order);
    each = inplace(g, u * e, each, weights);
    int sum = fresh(g, e, each, u > 1 ? each : 0);
    if (u > 2) /* and so on for each of them, in place */
        sum = inplace(g, e, sum, each);
    read_ahead(g, true);
    if (m->experts_shared_ff > 0)
        sum = inplace(g, e, sum, dense(g, m->experts_shared_ff, norm));
    return sum;
}

static int mix(graph *g, const o3_layer *l, int norm)
{
    if (l->heads_kv > 0)
        return g->model->mixer == O3_MIXER_MLA ? latent_attention(g, l, norm) : attention(g, l, norm);
    switch (g->model->mixer) {
    case O3_MIXER_MAMBA:
        return mamba(g, norm);
    case O3_MIXER_DELTA_NET:
        return delta_net(g, norm);
    case O3_MIXER_SHORTCONV:
        return short_convolution(g, norm);
    default:
        return fresh(g, g->model->embedding, norm, 0);
    }
}

/* Where the new keys and values go, and which rows of the last block are wanted. */
static void add_rows(graph *g, plan_kind kind)
{
    const o3_model *m = g->model;
    const o3_layer *l = predict_attention_layer(m);
    bool keys_only = m->mixer == O3_MIXER_MLA && g->setting->era != O3_ERA_A;
    for (int j = 0; j < 2 && l; j++) {
        int i = l->window_tokens > 0 ? 1 - j : j; /* in the order of their first use */
        if (g->cells[i] <= 0)
            continue;
        double width = keys_only ? 0 : g->setting->flash_attention ? 1 : (double)l->heads_kv * l->value_dim;
        g->rows_k[i] = PLAN_ADD(g->plan, kind, 8 * g->tokens, 0);
        g->rows_v[i] = PLAN_ADD(g->plan, kind, 8 * g->tokens * width, 0);
        if (!g->mask[i])
            g->mask[i] = PLAN_ADD(g->plan, kind, mask_bytes(g) * g->tokens * g->cells[i], 0);
        double side = predict_rotation(m, g->setting);
        if (side > 0 && !g->rotate_k[i]) {
            g->rotate_k[i] = PLAN_ADD(g->plan, kind, 4 * side * side, 0);
            g->rotate_v[i] = PLAN_ADD(g->plan, kind, 4 * 64 * 64, 0);
        }
    }
    g->wanted = PLAN_ADD(g->plan, kind, 4 * (g->setting->era == O3_ERA_C ? g->slots : g->tokens), 0);
}

/* What a batch brings in: it lies on the host first, and is copied to a device where it is needed: at the beginning, or
 * with the host's blocks one by one. Returns the embeddings. */
static int inputs(graph *g, bool host)
{
    double e = g->model->embedding, t = g->tokens;
    plan_kind kind = host ? PLAN_INPUT : PLAN_FRESH;
    if (g->own_engine)
        return fresh(g, e, 0, 0);
    if (host && g->setting->era != O3_ERA_A) /* for a batch of vectors instead of tokens: never used, never freed */
        PLAN_ADD(g->plan, PLAN_INPUT, 4 * e * t, 0);
    int embeddings = host ? 0 : fresh(g, e, 0, 0), ids = PLAN_ADD(g->plan, kind, host ? 4 * t : 0, 0);
    if (g->host_blocks <= 0) {
        g->positions = PLAN_ADD(g->plan, kind, 4 * t, 0);
        g->state_ids = PLAN_ADD(g->plan, kind, 4 * g->slots, 0);
        add_rows(g, kind);
    }
    return host ? fresh(g, e, ids, 0) : embeddings;
}

/* One block on the residual stream x; the last one keeps only the rows that are asked for. */
static int block(graph *g, int i, int next, int x)
{
    const o3_model *m = g->model;
    double e = m->embedding;
    bool last = next < 0, ahead = m->mixer == O3_MIXER_MAMBA || m->mixer == O3_MIXER_SHORTCONV;
    g->experts = fold_has_experts(m, i);
    g->reads_ahead = ahead && !last && !m->layer[next].heads_kv;
    if (ahead && !m->layer[i].heads_kv && !g->state)
        read_state(g); /* the first block: nothing was evaluated before it */
    int norm = fresh(g, e, x, 0), mixed = mix(g, &m->layer[i], norm);
    if (last) { /* before era C logits of every token were provided for */
        g->rows = g->setting->era == O3_ERA_C || g->own_engine ? g->slots : g->tokens;
        mixed = fresh(g, e, mixed, g->wanted);
        x = fresh(g, e, x, g->wanted);
    }
    if (!g->traits->parallel) {
        x = add(g, mixed, x, g->traits->keeps_residual[0] || !m->layer[i].heads_kv);
        norm = fresh(g, e, x, 0);
    }
    int out = g->experts ? experts(g, norm) : dense(g, m->ff_dense > 0 ? m->ff_dense : m->ff, norm);
    if (i + 1 == g->host_blocks && !last)
        add_rows(g, PLAN_FRESH); /* the device goes on alone from here */
    x = add(g, out, x, g->traits->keeps_residual[1]);
    return g->traits->parallel ? inplace(g, e, x, matmul(g, e, e, mixed, 0)) : x;
}

static const graph_traits *find_traits(const o3_model *model)
{
    const graph_traits *t = traits_of;
    while (*t->architecture && strcmp(t->architecture, model->architecture))
        t++;
    return t;
}

bool predict_graph_known(const o3_model *model)
{
    return *find_traits(model)->architecture;
}

static graph graph_of(graph_plan *plan, const o3_model *model, const o3_setting *setting, const batch_shape *shape)
{
    graph g = {.plan = plan, .model = model, .setting = setting, .traits = find_traits(model), .rows = shape->tokens,
               .tokens = shape->tokens, .slots = setting->parallel, .streams = shape->streams, .cells = {shape->cells, shape->window_cells}};
    g.own_engine = predict_own_engine(model, setting, NULL);
    double tables = model->output_bytes > 0 ? 2 : 1; /* embeddings and output: often of another type than the blocks */
    double weights = (double)model->parameters - tables * model->vocab * model->embedding;
    double bytes = (double)(model->weight_bytes - model->token_embd_bytes - model->output_bytes);
    g.weight_bytes = bytes > 0 && weights > 0 && bytes < 5 * weights ? bytes / weights : 2;
    return g;
}

/* False if a series that was folded had not settled. */
static bool replay_fold(graph g, const block_fold *fold, double *ret_bytes)
{
    o3_auto(free) graph_plan *plan = g.plan = plan_new(fold->count);
    int mark[O3_LAYERS_MAX], x = inputs(&g, g.host_blocks < 0);
    for (int i = 0; i < fold->count; i++) {
        int number = fold->at[i].number;
        g.copies = number < g.host_blocks;
        x = block(&g, number, number + 1 < fold->all ? number + 1 : -1, x);
        mark[i] = plan_mark(plan, x, g.state);
    }
    g.copies = false;
    fresh(&g, g.model->vocab, inplace(&g, g.model->embedding, x, 0), 0);
    *ret_bytes = plan_bytes(plan);
    for (int i = 0; i < fold->count; i++)
        if (fold->at[i].back && !plan_same(plan, mark[i], mark[i - fold->at[i].back]))
            return false;
    return true;
}

static double replay(const o3_model *model, const o3_setting *setting, const batch_shape *shape, int host_blocks,
                     double weight_factor, int try)
{
    graph g = graph_of(NULL, model, setting, shape);
    block_fold fold;
    double bytes;
    g.host_blocks = host_blocks;
    g.weight_bytes *= weight_factor;
    do {
        fold_model(&fold, model, host_blocks, try++);
    } while (!replay_fold(g, &fold, &bytes));
    return bytes;
}

static double compute(const o3_model *model, const o3_setting *setting, const batch_shape *shape, int host_blocks, int try)
{
    double bytes = replay(model, setting, shape, host_blocks, 1, try);
    /* files mix types: where weights are copied, a matrix larger than the average may need another hole */
    return host_blocks > 0 ? fmax(bytes, replay(model, setting, shape, host_blocks, MIXED_TYPES, try)) : bytes;
}

double predict_compute(const o3_model *model, const o3_setting *setting, const batch_shape *shape, int host_blocks)
{
    return compute(model, setting, shape, host_blocks, 0);
}

double predict_compute_whole(const o3_model *model, const o3_setting *setting, const batch_shape *shape, int host_blocks)
{
    return compute(model, setting, shape, host_blocks, FOLD_TRIES);
}

double predict_compute_beside(const o3_model *model, const o3_setting *setting, const batch_shape *shape, int host_blocks)
{
    o3_auto(free) graph_plan *plan = plan_new(0);
    graph g = graph_of(plan, model, setting, shape);
    const o3_layer *l = predict_attention_layer(model);
    sink(&g, inputs(&g, true), 0);
    if (host_blocks > 0 && l) { /* new keys and values on their way to the cache */
        int k = fresh(&g, (double)l->heads_kv * l->key_dim, 0, 0);
        sink(&g, k, fresh(&g, (double)l->heads_kv * l->value_dim, 0, 0));
    }
    return plan_bytes(plan);
}
