/* SPDX-License-Identifier: Apache-2.0 */
/*
 * meet: what the items of a group have becomes one number that all get.
 *
 * Local     `all`: WG numbers
 * Assumes   WG is a power of two
 * Numerics  a sum has one order whatever the run
 */

/* The greatest, or the sum. */
static inline float meet(float x, int add, __local float *all)
{
    const int item = get_local_id(0);

    barrier(CLK_LOCAL_MEM_FENCE);
    all[item] = x;
    barrier(CLK_LOCAL_MEM_FENCE);
    for (int n = WG / 2; n > 0; n /= 2) {
        if (item < n)
            all[item] = add ? all[item] + all[item + n] : fmax(all[item], all[item + n]);
        barrier(CLK_LOCAL_MEM_FENCE);
    }
    return all[0];
}
