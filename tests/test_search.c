/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_search.c: the search on a fake device with a fake clock: a known best, noise,
 * candidates that fail or win by noise.
 */
#include <math.h>
#include <stdlib.h>
#include <string.h>

#include "harness.h"
#include "search.h"

enum { SIDE = 12, MANY = SIDE * SIDE };

/* Candidates lie on a square; the time grows with the distance from `best`. */
struct fake {
    double now, build, noise;                                         /* seconds; relative */
    int best, open[MANY], opened, refused_from, fails_at, stop_after; /* fails_at: 1 + the candidate */
    bool flat, ridges;
    double drift, level;     /* relative, from one measurement to the next; what has become of it */
    int slow, slow_measured; /* 1 + a candidate that all but hangs, and how often it was timed */
    uint64_t random;
};

static double uniform(struct fake *f)
{
    f->random = f->random * 6364136223846793005ull + 1442695040888963407ull;
    return (double)(f->random >> 33) * 0x1p-31;
}

static int steps(int a, int b)
{
    return abs(a % SIDE - b % SIDE) + abs(a / SIDE - b / SIDE);
}

static double fake_clock(void *user)
{
    return ((struct fake *)user)->now;
}

static bool fake_open(void *user, int c)
{
    struct fake *f = user;

    assert_int_equal(f->open[c], 0);
    f->now += f->build;
    f->opened++;
    if (f->refused_from && c >= f->refused_from)
        return false;
    f->open[c] = 1;
    return true;
}

static void fake_close(void *user, int c)
{
    struct fake *f = user;

    assert_int_equal(f->open[c], 1);
    f->open[c] = 0;
}

static double fake_measure(void *user, int c)
{
    struct fake *f = user;
    const double hill = f->ridges && c % SIDE % 2 ? 1e3 : 0;
    const double time = f->level * (100.0 + hill + (f->flat ? 0 : 10.0 * steps(c, f->best)));

    assert_int_equal(f->open[c], 1);
    f->level *= 1 + f->drift;
    f->now += time * 1e-6;
    if (c + 1 == f->slow) {
        f->slow_measured++;
        f->now += 30;
        return 30e6;
    }
    if (c + 1 == f->fails_at)
        return -1;
    return time * (1 + f->noise * (uniform(f) + uniform(f) + uniform(f) - 1.5));
}

static int fake_distance(void *user, int a, int b)
{
    (void)user;
    return steps(a, b);
}

static bool fake_stop(void *user)
{
    struct fake *f = user;

    return f->stop_after && f->opened >= f->stop_after;
}

static struct clg_search search_of(struct fake *f)
{
    return (struct clg_search){.n = MANY,
                               .deadline = 1e9,
                               .wander = 1e9,
                               .user = f,
                               .clock = fake_clock,
                               .open = fake_open,
                               .measure = fake_measure,
                               .close = fake_close,
                               .distance = fake_distance,
                               .stop = fake_stop};
}

static bool run(struct clg_search *s)
{
    struct fake *f = s->user;
    bool seen[MANY] = {false}, ran;

    f->level = 1;
    ran = clg_search_run(s, seen);
    for (int i = 0; i < MANY; i++)
        assert_int_equal(f->open[i], 0); /* all that was opened was closed */
    return ran;
}

/* From the far corner to the known best, whatever the seed of the noise. */
static void finds_the_best(void **state)
{
    (void)state;
    for (int seed = 1; seed <= 50; seed++) {
        struct fake f = {.best = 7 * SIDE + 5, .noise = 0.02, .random = (uint64_t)seed};
        struct clg_search s = search_of(&f);

        assert_true(run(&s));
        assert_true(s.finished);
        assert_true(steps(s.best, f.best) <= 1); /* its neighbours are within the noise of halving */
        assert_true(s.best_time < 0.6 * s.first_time);
        assert_true(s.tried < MANY); /* a descent, not a tour */
    }
}

static void noise_does_not_win(void **state)
{
    int changed = 0;

    (void)state;
    for (int seed = 1; seed <= 200; seed++) {
        struct fake f = {.flat = true, .noise = 0.1, .random = (uint64_t)seed};
        struct clg_search s = search_of(&f);

        assert_true(run(&s));
        changed += s.best != 0;
    }
    assert_true(changed <= 2); /* one in a hundred */
}

/* A device that slows down all the time: what is quicker is still seen, and nothing else. */
static void drift_neither_wins_nor_hides(void **state)
{
    (void)state;
    for (int seed = 1; seed <= 20; seed++) {
        struct fake f = {.best = 3, .drift = 0.03, .noise = 0.01, .random = (uint64_t)seed}, flat = f;
        struct clg_search s = search_of(&f), t = search_of(&flat);

        flat.flat = true;
        s.n = t.n = 4;
        assert_true(run(&s));
        assert_int_equal(s.best, 3);
        assert_true(run(&t));
        assert_int_equal(t.best, 0);
    }
}

/* Done when nothing one step away is quicker; further only in the time that there is to spare. */
static void looks_further_in_spare_time(void **state)
{
    struct fake f = {.best = 2 * SIDE + 4, .ridges = true, .build = 1, .random = 1}, g = f;
    struct clg_search s = search_of(&f), t = search_of(&g);

    (void)state;
    s.wander = 0;
    assert_true(run(&s));
    assert_true(s.finished);
    assert_int_equal(s.best, 2 * SIDE);
    assert_true(run(&t));
    assert_true(t.finished);
    assert_int_equal(t.best, g.best);
    assert_true(s.tried < t.tried);
}

static void refused_is_never_chosen(void **state)
{
    struct fake f = {.best = 7 * SIDE + 5, .refused_from = 6 * SIDE, .random = 1};
    struct clg_search s = search_of(&f);

    (void)state;
    assert_true(run(&s));
    assert_true(s.best < 6 * SIDE);
    assert_int_equal(s.best, 5 * SIDE + 5); /* the best of the rest */
    assert_true(s.refused > 0);
}

/* One that was built but fails while it is timed leaves, even if all else says it is the best. */
static void failing_is_never_chosen(void **state)
{
    struct fake f = {.best = 3 * SIDE + 3, .fails_at = 3 * SIDE + 4, .random = 1};
    struct clg_search s = search_of(&f);

    (void)state;
    assert_true(run(&s));
    assert_int_equal(steps(s.best, f.best), 1);
}

/* One that all but hangs is timed once, never again, and the rest of the time is for the others. */
static void slow_is_left_at_once(void **state)
{
    struct fake f = {.best = 3 * SIDE + 3, .slow = 2 * SIDE + 3, .random = 1};
    struct clg_search s = search_of(&f);

    (void)state;
    s.deadline = 100;
    assert_true(run(&s));
    assert_int_equal(f.slow_measured, 1);
    assert_int_equal(s.best, f.best);
    assert_true(s.finished && f.now < 60);
}

static void first_must_work(void **state)
{
    struct fake f = {.fails_at = 1, .random = 1};
    struct clg_search s = search_of(&f);

    (void)state;
    assert_false(run(&s));
}

static void deadline_ends_it(void **state)
{
    struct fake f = {.best = MANY - 1, .build = 1.0, .random = 1};
    struct clg_search s = search_of(&f);

    (void)state;
    s.deadline = 10.0;
    assert_true(run(&s));
    assert_false(s.finished);
    assert_true(f.now <= 10.0);
    assert_true(s.best != 0); /* what was found by then is used */
}

/* What a build takes is known before the first: none is begun that would end too late. */
static void no_time_to_build(void **state)
{
    struct fake f = {.best = MANY - 1, .build = 3.0, .random = 1};
    struct clg_search s = search_of(&f);

    (void)state;
    s.deadline = 7.0;
    s.building = 3.5;
    assert_true(run(&s));
    assert_int_equal(f.opened, 1);
    assert_true(f.now < 3.1 && !s.finished);
}

static void cap_and_caller_end_it(void **state)
{
    struct fake f = {.best = MANY - 1, .random = 1}, g = {.best = MANY - 1, .random = 1, .stop_after = 5};
    struct clg_search s = search_of(&f), t = search_of(&g);

    (void)state;
    s.cap = 7;
    assert_true(run(&s));
    assert_false(s.finished);
    assert_int_equal(s.tried, 7);
    assert_true(run(&t));
    assert_true(t.stopped);
    assert_int_equal(g.opened, 5);
    assert_true(t.best != 0);
}

static void a_single_candidate(void **state)
{
    struct fake f = {.random = 1};
    struct clg_search s = search_of(&f);

    (void)state;
    s.n = 1;
    assert_true(run(&s));
    assert_true(s.finished);
    assert_int_equal(s.best, 0);
}

static void median_and_quartiles(void **state)
{
    double odd[] = {5, 1, 3}, even[] = {4, 1, 3, 2}, spread, eight[] = {1, 2, 3, 4, 5, 6, 7, 8};

    (void)state;
    assert_true(clg_median(odd, 3, NULL) == 3);
    assert_true(clg_median(even, 4, NULL) == 2.5);
    assert_true(clg_median(eight, 8, &spread) == 4.5);
    assert_true(fabs(spread - 4.0 / 4.5) < 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(finds_the_best),
        cmocka_unit_test(noise_does_not_win),
        cmocka_unit_test(refused_is_never_chosen),
        cmocka_unit_test(failing_is_never_chosen),
        cmocka_unit_test(slow_is_left_at_once),
        cmocka_unit_test(first_must_work),
        cmocka_unit_test(deadline_ends_it),
        cmocka_unit_test(no_time_to_build),
        cmocka_unit_test(cap_and_caller_end_it),
        cmocka_unit_test(a_single_candidate),
        cmocka_unit_test(median_and_quartiles),
        cmocka_unit_test(drift_neither_wins_nor_hides),
        cmocka_unit_test(looks_further_in_spare_time),
    };

    return TEST_MAIN(tests);
}
