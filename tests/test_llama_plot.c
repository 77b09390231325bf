/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llama_plot.c: the picture of clgaze-llama plot.
 *
 * Environment: CLGAZE_LLAMA, the program; without it all is skipped.
 */
#include "harness.h"

#include <stdio.h>
#include <string.h>

#include "llama_run.h"

#define ROW(rule, density, perplexity)                                                                               \
    "{\"rule\": \"" rule "\", \"density\": " density ", \"perplexity\": " perplexity "}\n"

static void rows(const char *text)
{
    char path[768];

    snprintf(path, sizeof path, "%s/rows.json", llama_folder);
    FILE *to = fopen(path, "w");
    assert_non_null(to);
    fputs(text, to);
    assert_int_equal(fclose(to), 0);
}

/* The picture, as llama_out. */
static void drawn(const char *text)
{
    rows(text);
    if (llama_shell("p plot --rows rows.json --out drawn.svg"))
        fail_msg("%s", llama_err);
    assert_int_equal(llama_shell("cat drawn.svg"), 0);
}

static int times(const char *word)
{
    int n = 0;

    for (const char *at = llama_out; (at = strstr(at, word)); at++)
        n++;
    return n;
}

static void a_line_a_rule_and_the_floor(void **state)
{
    (void)state;
    drawn("[" ROW("dense", "1", "4") "," ROW("a & b", "0.5", "8") "," ROW("a & b", "0.1", "16") "]\n" ROW(
        "c", "0.25", "12") ROW("a & b", "0.25", "10"));
    assert_int_equal(times("<polyline"), 2);
    assert_int_equal(times("<circle"), 4);
    assert_int_equal(times("stroke-dasharray"), 2); /* the floor, and in the legend */
    assert_says("legend", llama_out, ">a &amp; b</text>|>c</text>|>dense</text>|>perplexity</text>|</svg>");
    /* 0 to .5 on 64 .. 624 and 0 to 16 on 316 .. 24; in the order of density */
    assert_says("points", llama_out,
                "points=\"176.00,24.00 344.00,133.50 624.00,170.00\"|\"344.00,97.00\"|M64 243.0H624");
    drawn(ROW("a", "0.5", "8"));
    assert_int_equal(times("stroke-dasharray"), 0);
}

static void draws_what_ppl_prints(void **state)
{
    static struct tiny_model m;

    (void)state;
    llama_model(&m, &tiny_kinds[0]);
    tiny_free(&m);
    if (llama_shell("{ (p " LLAMA_PPL "--json) && (p " LLAMA_PPL
                    "--json --rule oracle,ratio --block 8 --value 0.3) && "
                    "(p " LLAMA_PPL
                    "--json --rule window --block 8); } >rows.json && p plot --rows rows.json --out drawn.svg"))
        fail_msg("%s", llama_err);
    assert_int_equal(llama_shell("cat drawn.svg"), 0);
    assert_int_equal(times("<polyline"), 2);
    assert_says("legend", llama_out, ">oracle,ratio</text>|>window</text>|>dense</text>");
}

static void refuses(void **state)
{
    static const struct {
        const char *text, *words;
    } cases[] = {
        {"", "rows.json|no row"},
        {"{", "rows.json|no JSON"},
        {ROW("a", "0.5", "8") "x", "no JSON|x"},
        {"{\"rule\": \"a\", \"density\": 0.5}", "rows.json|perplexity"},
        {ROW("a", "0", "8"), "density"},
        {ROW("a", "1.5", "8"), "density"},
        {ROW("dense", "1", "8"), "no row"},
        {ROW("1", ".5", "8") ROW("2", "0.5", "8"), "no JSON|.5"},
        {ROW("1", "0.5", "8") ROW("2", "0.5", "8") ROW("3", "0.5", "8") ROW("4", "0.5", "8") ROW("5", "0.5", "8")
             ROW("6", "0.5", "8") ROW("7", "0.5", "8") ROW("8", "0.5", "8") ROW("9", "0.5", "8"),
         "more than 8 rules"},
    };

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(cases); i++) {
        rows(cases[i].text);
        llama_refused("plot --rows rows.json --out drawn.svg", cases[i].words);
    }
    llama_refused("plot --out drawn.svg", "--rows");
    llama_refused("plot --rows none --out drawn.svg", "none");
    rows(ROW("a", "0.5", "8"));
    llama_refused("plot --rows rows.json --out /dev/full", "/dev/full|No space left");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_line_a_rule_and_the_floor),
        cmocka_unit_test(draws_what_ppl_prints),
        cmocka_unit_test(refuses),
    };

    return llama_tests(tests, CLG_COUNT(tests));
}
