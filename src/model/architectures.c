/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of what an architecture's name alone tells (facts of llama.cpp b10488, one line of its loaders each,
 * and of Ollama 0.32.15, which renames some: gptoss, glm4moelite, qwen25vl, olmo3 ...). Everything else is read from
 * the metadata. A name that is not here is counted as an upper estimate. */
#include "model_impl.h"

static const architecture table[] = {
    /* Full attention in every layer; a window in the metadata is not used by the engine. */
    {.names = " llama llama-embed mistral mixtral mistral3 deci falcon grok gpt2 gptj gptneox mpt baichuan starcoder "
              "starcoder2 refact bloom stablelm qwen qwen2 qwen2moe qwen2vl qwen25vl qwen3 qwen3moe phi2 phimoe plamo "
              "codeshell orion internlm2 minicpm minicpm3 gemma xverse command-r dbrx olmo olmoe openelm arctic "
              "deepseek chatglm glm4 glm4moe glmocr bitnet jais jais2 nemotron exaone granite granitemoe chameleon plm "
              "bailingmoe bailingmoe2 dots1 arcee ernie4_5 ernie4_5-moe hunyuan-moe hunyuan-dense hunyuan_vl hy_v3 "
              "smollm3 seed_oss grovemoe apertus minimax-m2 cogvlm pangu-embedded paddleocr maincoder talkie "},
    {.names = " qwen3vl qwen3vlmoe ", .flags = ONE_SLOT},
    {.names = " phi3 ", .flags = FUSED_QKV},

    /* Sliding windows. */
    {.names = " gemma2 ", .period = 2, .window = 4096},
    {.names = " gemma3 ", .period = 6},
    {.names = " gemma3n ", .period = 5, .flags = FIRST_20_KEEP_KV},
    {.names = " gemma4 ", .flags = WINDOW_LISTED | SHARED_KV},
    {.names = " gpt-oss gptoss ", .period = 2},
    {.names = " cohere2 olmo2 olmo3 afmoe ", .period = 4},
    {.names = " exaone4 ", .period = 4, .window = 4096, .flags = WINDOW_AT_64},
    {.names = " exaone-moe ", .period = 4, .window = 128},
    {.names = " llama4 ", .period = 4, .window = 8192, .flags = WINDOW_FIXED},
    {.names = " smallthinker laguna ", .period = 4, .flags = FULL_FIRST},
    {.names = " plamo3 ", .period = 8},
    {.names = " cohere2moe ", .flags = WINDOW_LISTED | FULL_FIRST},
    {.names = " mellum muse-glimmer mimo2 step35 ", .flags = WINDOW_LISTED},

    /* One compressed head for keys and values. */
    {.names = " deepseek2 deepseek2-ocr deepseekocr mistral4 ", .mixer = O3_MIXER_MLA, .flags = MLA},
    {.names = " glm4moelite ", .mixer = O3_MIXER_MLA, .flags = MLA | MLA_FROM_LORA},
    {.names = " deepseek32 glm-dsa ", .mixer = O3_MIXER_MLA, .flags = MLA | MORE_CACHE},

    /* Recurrent state beside or instead of KV. */
    {.names = " granitehybrid jamba plamo2 ", .recurrence = RECURRENT_NO_HEADS, .mixer = O3_MIXER_MAMBA},
    {.names = " nemotron_h nemotron_h_moe nemotron_h_omni ", .recurrence = RECURRENT_NO_HEADS_NO_FF,
     .mixer = O3_MIXER_MAMBA, .flags = ONE_SLOT},
    {.names = " falcon-h1 ", .recurrence = RECURRENT_BESIDE, .mixer = O3_MIXER_MAMBA},
    {.names = " mamba mamba2 ", .recurrence = RECURRENT_ALL, .mixer = O3_MIXER_MAMBA},
    {.names = " rwkv6 rwkv6qwen2 rwkv7 arwkv7 ", .recurrence = RECURRENT_ALL, .mixer = O3_MIXER_OTHER},
    {.names = " qwen3next qwen35 qwen35moe ", .period = 4, .recurrence = RECURRENT_INTERVAL,
     .mixer = O3_MIXER_DELTA_NET, .flags = ONE_SLOT},
    {.names = " minimax-01 ", .period = 8, .recurrence = RECURRENT_INTERVAL, .mixer = O3_MIXER_OTHER,
     .flags = LINEAR_HEADS},
    {.names = " lfm2 lfm2moe ", .recurrence = RECURRENT_NO_HEADS, .mixer = O3_MIXER_SHORTCONV,
     .flags = ONE_SLOT | WINDOW_ALL | FF_BY_TENSOR},
    {.names = " kimi-linear kimi-k3 bailingmoe3 ", .recurrence = RECURRENT_NO_HEADS, .mixer = O3_MIXER_OTHER,
     .flags = MLA},
};

const architecture *architecture_find(const char *name)
{
    char wanted[80];
    if (!*name || strchr(name, ' '))
        return NULL;
    O3_FORMAT(wanted, " %s ", name);
    for (int i = 0; i < O3_COUNT(table); i++)
        if (strstr(table[i].names, wanted))
            return &table[i];
    return NULL;
}
