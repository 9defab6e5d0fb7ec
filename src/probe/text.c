/* SPDX-License-Identifier: Apache-2.0 */
/* Varied prose from a seed. Sentences follow a handful of patterns whose slots are drawn anew each time, with
 * names, numbers and places mixed in, so that no stretch repeats and a small model always has something to continue.
 * Text N begins with another word than text N+1: a prompt cache has nothing to reuse. */
#include "probe.h"

#define WORDS(...) (const char *const[]){__VA_ARGS__, NULL}

static const struct slot {
    char letter;
    const char *const *words;
} slots[] = {
    {'N', WORDS("Amara", "Bertil", "Chiara", "Dmitri", "Elif", "Farid", "Greta", "Hiroshi", "Ines", "Jonas", "Katya",
                "Leopold", "Mirela", "Nadia", "Oskar", "Paloma", "Quentin", "Rosalind", "Stellan", "Tamsin", "Ulrich",
                "Vesna", "Wanda", "Xenia", "Yusuf", "Zelda", "Anselm", "Beatriz", "Caspar", "Delphine", "Edmund",
                "Fiona", "Gustav", "Harriet", "Ignatius", "Judith", "Konrad", "Lavinia", "Magnus", "Noemi")},
    {'j', WORDS("carpenter", "nurse", "surveyor", "violinist", "baker", "ferryman", "teacher", "glassblower", "botanist",
                "printer", "welder", "librarian", "beekeeper", "engineer", "painter", "geologist", "tailor", "pilot",
                "shepherd", "chemist", "mason", "translator", "cook", "watchmaker")},
    {'p', WORDS("the harbour", "a narrow valley", "the old mill", "the northern road", "a quiet library",
                "the upper terrace", "the market square", "a workshop behind the station", "the island", "the river bend",
                "a field of barley", "the lighthouse", "the third floor", "an orchard", "the glacier's edge",
                "the railway yard", "a village near the border", "the botanical garden", "the reading room", "the dry dock")},
    {'o', WORDS("a brass compass", "three letters", "the broken clock", "a crate of pears", "the wooden model",
                "a map of the coast", "two copper wires", "the second ledger", "a jar of honey", "the spare key",
                "a set of drawings", "the heavy door", "a bundle of reeds", "the blue notebook", "an iron hinge",
                "a sample of clay", "the missing page", "a basket of eggs", "the old telescope", "a length of rope")},
    {'v', WORDS("repaired", "measured", "carried", "painted", "described", "borrowed", "weighed", "sketched", "hid",
                "sold", "cleaned", "copied", "inspected", "wrapped", "returned", "examined", "forgot", "ordered",
                "unpacked", "compared")},
    {'t', WORDS("before sunrise", "late in March", "during the storm", "after the harvest", "on a Tuesday", "last winter",
                "at noon", "when the bells rang", "in the second week", "shortly after lunch", "that same evening",
                "for most of the summer", "between two trains", "while the snow melted", "once a year", "without delay")},
    {'a', WORDS("careful", "reluctant", "cheerful", "tired", "curious", "patient", "stubborn", "generous", "nervous",
                "practical", "silent", "hopeful", "proud", "absent-minded", "precise", "gentle", "restless", "modest")},
    {'w', WORDS("because the rain had not stopped", "although nobody had asked for it", "so that the others could rest",
                "until the light was gone", "and kept a record of every step", "since the price had risen again",
                "but the result surprised them all", "as the manual recommended", "which took longer than expected",
                "and nobody doubted the figures", "while the kettle came to the boil", "unless the wind turned north",
                "though the evidence was thin", "and wrote the answer on the wall", "if only to settle the argument")},
    {'m', WORDS("metres", "kilograms", "pages", "minutes", "litres", "degrees", "steps", "coins", "samples", "miles",
                "bottles", "hours", "voices", "planks")},
    {'c', WORDS("Meanwhile", "Afterwards", "In truth", "Later that day", "By contrast", "As a rule", "In the end",
                "According to the report", "Not far away", "Without a word", "For once", "To begin with", "Years earlier",
                "On closer inspection", "Even so", "At first", "From then on", "Now and then")},
};

/* $x draws from slot x, $# is a number. */
static const char *const patterns[] = {
    "$N, a $a $j from $p, $v $o $t $w.",
    "$c, $N $v $o near $p, $w.",
    "The $j called $N counted $# $m and $v $o $t.",
    "\"Nothing about $o is an accident,\" said $N $t, $w.",
    "$c, the $a $j of $p needed $# $m, $w.",
    "$N and $N met in $p $t; one $v $o, the other $v $o $w.",
    "How could $N have $v $o $t, asked the $j, if $p was $# $m away?",
    "$c the $j $v $o, and $N, still $a, waited in $p $w.",
    "It was $# $m from $p to the place where $N $v $o $t.",
    "$N taught the $a $j that $o must never be $v $t $w.",
};

static const struct slot *slot_of(char letter)
{
    for (int i = 0; i < O3_COUNT(slots); i++)
        if (slots[i].letter == letter)
            return &slots[i];
    return NULL;
}

static void add_word(o3_buf *buf, o3_rng *rng, const struct slot *slot)
{
    uint32_t count = 0;
    while (slot->words[count])
        count++;
    o3_buf_str(buf, slot->words[o3_rng_below(rng, count)]);
}

static void add_sentence(o3_buf *buf, o3_rng *rng)
{
    for (const char *p = patterns[o3_rng_below(rng, O3_COUNT(patterns))]; *p; p++) {
        if (*p != '$')
            o3_buf_add(buf, p, 1);
        else if (*++p == '#')
            o3_buf_printf(buf, "%u", 2 + o3_rng_below(rng, 9000));
        else
            add_word(buf, rng, slot_of(*p));
    }
    o3_buf_str(buf, o3_rng_below(rng, 6) ? " " : "\n\n");
}

void probe_text(o3_buf *ret_text, uint64_t seed, size_t chars)
{
    o3_rng rng;
    o3_rng_seed(&rng, seed, 0x7e87);
    o3_buf_clear(ret_text);
    /* Numbered, so that two texts differ from the first token on. */
    const struct slot *names = slot_of('N');
    o3_buf_printf(ret_text, "%s, page %u: ", names->words[seed % 40], 100 + o3_rng_below(&rng, 900000));
    while (ret_text->len < chars && !ret_text->overflow)
        add_sentence(ret_text, &rng);
    if (ret_text->len > chars) {
        size_t cut = chars;
        while (cut > 0 && ret_text->data[cut] != ' ')
            cut--;
        ret_text->len = cut ? cut : chars;
        ret_text->data[ret_text->len] = '\0';
    }
}
