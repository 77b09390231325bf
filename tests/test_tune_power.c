/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_tune_power.c: battery and throttling, from made-up folders and times; problems as text.
 */
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "../tuning/power.h"
#include "../tuning/tune.h"
#include "cache.h"
#include "tuned.h"

/* A supply of the kernel's folder; NULL: it has no such file. */
static void supply(const char *name, const char *type, const char *status, const char *scope)
{
    const char *const files[][2] = {{"type", type}, {"status", status}, {"scope", scope}};

    mkdir(under(name), 0700);
    for (int i = 0; i < 3; i++) {
        char path[CACHE_PATH];

        snprintf(path, sizeof path, "%s/%s", name, files[i][0]);
        if (files[i][1])
            write_file(under(path), files[i][1], strlen(files[i][1]));
    }
}

static void knows_a_battery(void **state)
{
    (void)state;
    assert_false(power_on_battery(under("nosuch")));
    assert_false(power_on_battery(base));
    supply("AC", "Mains\n", NULL, NULL);
    supply("hid-mouse", "Battery\n", "Discharging\n", "Device\n");
    assert_false(power_on_battery(base));
    supply("BAT1", "Battery\n", "Full\n", NULL);
    assert_false(power_on_battery(base));
    supply("BAT0", "Battery\n", "Charging\n", NULL);
    assert_false(power_on_battery(base));
    supply("BAT0", "Battery\n", "Discharging\n", NULL);
    assert_true(power_on_battery(base));
}

static struct power_times times(double middle, double apart)
{
    struct power_times t = {{0}, POWER_SAMPLES};
    const int half = POWER_SAMPLES / 2;

    for (int i = 0; i < POWER_SAMPLES; i++)
        t.us[i] = middle + apart * (i - half);
    return t;
}

static double slower(double before, double after, double apart)
{
    struct power_times a = times(before, apart), b = times(after, apart);

    return power_slower(&a, &b);
}

static void knows_a_slower_device(void **state)
{
    struct power_times none = {{0}, 0}, some = times(100, 0);

    (void)state;
    assert_true(slower(100, 100, 0) == 0);
    assert_true(slower(100, 104, 0) == 0); /* less than any clock is worth */
    assert_true(slower(100, 50, 0) == 0);  /* it woke up */
    assert_float_equal(slower(100, 150, 1), 0.5, 1e-9);
    assert_true(slower(100, 120, 10) == 0); /* within the noise */
    assert_true(power_slower(&none, &some) == 0);
    assert_true(power_slower(&some, &none) == 0);
}

/* A problem's text is read back as the same problem, whatever the form of its lists. */
static void reads_what_it_writes(void **state)
{
    static const char *const texts[] = {"attend f16 d128 b64 g4 n8k", "attend f16 d128 b64 g4 dense n8k",
                                        "attend bf16 d96 b64x128 g4 shared n8k", "attend f32 d128 b64 g4 n8k"};
    static struct tune_problems all;
    char why[MAX_WHY] = "", text[128] = "";

    (void)state;
    for (size_t i = 0; i < CLG_COUNT(texts); i++) {
        struct clg_text out = {text, sizeof text, 0};

        all.n = 0;
        assert_int_equal(tune_problems_add(&all, texts[i], 1, why), 0);
        assert_int_equal(all.n, 1);
        clg_put(&out, "attend ");
        clg_problem_key(clg_kernel_find("attend"), &all.at[0].problem, &out);
        assert_string_equal(text, texts[i]);
    }
    all.n = 0;
    assert_int_equal(tune_problems_add(&all, "pool f16 dense", 1, why), 1);
    assert_non_null(strstr(why, "dense"));
    assert_int_equal(tune_problems_add(&all, "attend f16 d128 g1 shared", 1, why), 1);
    assert_non_null(strstr(why, "shared"));
}

/* What was noticed stands behind the day, once, and is not cut. */
static void keeps_notes(void **state)
{
    clgaze_context *ctx = tuned_in("");
    struct clg_record r = tuned_record(ctx, "f16 d64 b64 g4 n8k", 5);

    (void)state;
    snprintf(r.note, sizeof r.note, "2026-11-25");
    tuned_put(ctx, r);
    tune_note(ctx, "attend f16 d64 b64 g4 n16k", "battery"); /* no record, no harm */
    tune_note(ctx, "attend f16 d64 b64 g4 n8k", "battery");
    tune_note(ctx, "attend f16 d64 b64 g4 n8k", "throttled");
    tune_note(ctx, "attend f16 d64 b64 g4 n8k", "battery");
    tune_note(ctx, "attend f16 d64 b64 g4 n8k", "something that does not fit");
    assert_true(clg_records_find(ctx->records, &ctx->device, "attend", "f16 d64 b64 g4 n8k", 0, &r));
    assert_string_equal(r.note, "2026-11-25 battery throttled");
    assert_int_equal(r.origin, CLG_FROM_TUNER); /* it will be saved */
    clgaze_context_free(ctx);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        CACHE_TEST(knows_a_battery),
        CACHE_TEST(knows_a_slower_device),
        cmocka_unit_test(reads_what_it_writes),
        cmocka_unit_test(keeps_notes),
    };

    return TEST_MAIN(tests);
}
