/* SPDX-License-Identifier: Apache-2.0 */
/*
 * test_llama_products.c: products with a matrix, and their gradients.
 */
#include "llama_products.h"

#include "harness.h"

/* Sizes that are wholes of nothing, and one deeper than a part of the sum. */
static void products_equal_plain_double(void **state)
{
    static const int shapes[][3] = {{29, 37, 45}, {101, 5, 2100}, {2100, 33, 18}, {7, 2100, 20}, {1, 1, 1}};
    struct rng rng = seeded(0x9e);

    (void)state;
    need_machine();
    for (size_t i = 0; i < CLG_COUNT(shapes); i++)
        check_products(shapes[i][0], shapes[i][1], shapes[i][2], 2e-6, &rng);
    assert_int_equal(guards_damaged(), 0);
}

/* Those of devices that are no processors, which serve here too. */
static void clblast_equals_plain_double(void **state)
{
    const int processor = machine.processor;
    struct rng rng = seeded(0x9f);

    (void)state;
    need_machine();
    machine.processor = 0;
    check_products(29, 37, 45, 2e-6, &rng);
    check_products(30, 37, 45, 2e-6, &rng);
    machine.processor = processor;
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(products_equal_plain_double),
        cmocka_unit_test(clblast_equals_plain_double),
    };

    return pass_tests(tests, CLG_COUNT(tests));
}
