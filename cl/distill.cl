/* SPDX-License-Identifier: Apache-2.0 */
/*
 * distill: what the gate's scores of some rows of blocks are wrong by, the gradients
 * of the weights, and a step of AdamW; after meet.cl and before rope.cl, which takes
 * gradients back through RoPE.
 *
 * Idea      scores become their own gradients, a group a row.  Each product is RM
 *           rows x VEC channels a work-item, summed in one order, so that the bits
 *           are the same in every run
 * Grid      distill_row (rows of the slice, heads, sequences), distill_loss (1),
 *           distill_q and _k (ceil(blocks / RM) * DG / VEC, heads, sequences),
 *           distill_w (ceil(channels / RM) * DG / VEC, heads, 1), distill_update
 *           (weights), groups of WG
 * Assumes   DG % VEC == 0, WG is a power of two
 * Edges     `scores` holds `count` rows of blocks from `first` on, of the `cols` columns
 *           that these see.  The first quarter
 *           of a sequence's rows has no part.  Rows of the shapes that belong to no
 *           sequence are neither read nor written
 */
#ifndef DG
#define DG 64
#endif
#ifndef CAUSAL
#define CAUSAL 1
#endif
#ifndef WG
#define WG 64
#endif
#ifndef RM
#define RM 4 /* rows a work-item */
#endif
#ifndef VEC
#define VEC 8 /* channels a work-item */
#endif

#define CAT_(a, b)  a##b
#define CAT(a, b)   CAT_(a, b)
#define vec         CAT(float, VEC)
#define LOAD_VEC(p) CAT(vload, VEC)(0, p)
#define STORE_VEC   CAT(vstore, VEC)

static inline int blocks_of(int tokens, int block)
{
    return (tokens + block - 1) / block;
}

/* Of all sequences: rows of blocks (.x), and of those the ones that count (.y). */
static inline int2 count_rows(__global const int *seqs, int sequences, int sq, int block_q)
{
    int2 n = (int2)(0, 0);

    for (int s = 0; s < sequences; s++) {
        const int rows = blocks_of(seq_at(seqs, s, sq, 0).sq, block_q);

        n += (int2)(rows, rows - rows / 4);
    }
    return n;
}

/* A row of scores becomes the gradient of the loss by q . k; its part of the loss goes to `losses`. */
__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
distill_row(__global float *scores, ulong scores_at, __global const float *truth, ulong truth_at,
            __global float *losses, ulong losses_at, __global const int *seqs, ulong seqs_from, int sequences, int sq,
            int sk, int rows, int cols, int truth_cols, int heads, int block_q, int block_k, int first, int count,
            float scale)
{
    __local float all[WG];
    const int item = get_local_id(0), h = get_group_id(1), s = get_group_id(2);
    seq_t at = {0, 0, 0, 0, 0, 0, 0};

    if (s < sequences)
        at = seq_at(seqs + seqs_from, s, sq, sk);
    const int i = max(first - at.row0, 0) + (int)get_group_id(0), of_seq = blocks_of(at.sq, block_q);
    const bool live = s < sequences && i < min(of_seq, first + count - at.row0), taught = live && i >= of_seq / 4;
    const int see = taught ? min(visible_blocks(CAUSAL, i, block_q, block_k, at.sq, at.sk), cols) : 0;
    const ulong head = (ulong)at.batch * heads + h;
    __global float *a = scores + scores_at + (head * count + (at.row0 + i - first)) * cols;
    __global const float *t = truth + truth_at + (head * rows + at.row0 + i) * truth_cols;
    const float share =
        taught ? 1.0f / ((float)heads * (float)count_rows(seqs + seqs_from, sequences, sq, block_q).y) : 0.0f;
    float top = NEG_INF, sum = 0.0f, mass = 0.0f, loss = 0.0f;

    for (int j = item; j < see; j += WG) {
        top = fmax(top, a[j]);
        mass += t[j];
    }
    top = meet(top, 0, all);
    mass = meet(mass, 1, all);
    for (int j = item; j < see; j += WG)
        sum += exp(a[j] - top);
    sum = meet(sum, 1, all);
    for (int j = item; j < cols; j += WG)
        if (j < see) {
            const float log_p = a[j] - top - log(sum);

            if (!(t[j] <= 0.0f)) /* a NaN shows in the loss */
                loss += t[j] * (log(t[j]) - log_p);
            a[j] = (exp(log_p) * mass - t[j]) * share * scale;
        } else if (live) {
            a[j] = 0.0f;
        }
    loss = meet(loss, 1, all);
    if (item == 0 && live)
        losses[losses_at + head * rows + at.row0 + i] = loss * share;
}

/* The loss: the sum of the rows. */
__attribute__((reqd_work_group_size(WG, 1, 1))) __kernel void
distill_loss(__global const float *losses, ulong losses_at, __global float *loss, ulong loss_at,
             __global const int *seqs, ulong seqs_from, int sequences, int sq, int rows, int head_rows, int block_q)
{
    __local float all[WG];
    const int used = PACKED ? count_rows(seqs + seqs_from, sequences, sq, block_q).x : rows;
    float sum = 0.0f;

    for (int x = get_local_id(0); x < head_rows; x += WG)
        sum += x % rows < used ? losses[losses_at + x] : 0.0f;
    sum = meet(sum, 1, all);
    if (get_local_id(0) == 0 && sequences > 0)
        loss[loss_at] = sum;
}

/* sum[r] += over `depth` steps of a (rows a_row apart, steps a_step) times b (steps b_step apart);
 * rows from `valid` on repeat the last. */
static inline void product(vec *sum, __global const float *a, ulong a_row, ulong a_step, int valid,
                           __global const float *b, ulong b_step, int depth)
{
    ulong row[RM];

#pragma unroll
    for (int r = 0; r < RM; r++)
        row[r] = (ulong)min(r, valid - 1) * a_row;
    for (int k = 0; k < depth; k++) {
        const vec y = LOAD_VEC(b + (ulong)k * b_step);

#pragma unroll
        for (int r = 0; r < RM; r++)
            sum[r] = fma((vec)(a[row[r] + (ulong)k * a_step]), y, sum[r]);
    }
}

/* Gradients of q_gated: those of the scores times k_gated. */
__kernel void distill_q(__global const float *scores, ulong scores_at, __global const float *k, ulong k_at,
                        __global float *dq, ulong dq_at, __global const int *seqs, ulong seqs_from, int sequences,
                        int sq, int sk, int rows, int blocks_k, int cols, int heads, int share, int block_q,
                        int block_k, int first, int count)
{
    const int c = get_global_id(0) % (DG / VEC) * VEC, h = get_global_id(1), s = get_global_id(2);

    if (s < sequences) {
        const seq_t at = seq_at(seqs + seqs_from, s, sq, sk);
        const int i0 = max(first - at.row0, 0) + (int)(get_global_id(0) / (DG / VEC)) * RM;
        const int n = min(blocks_of(at.sq, block_q), first + count - at.row0), k_heads = heads / max(share, 1);

        if (i0 < n) {
            const int valid = min(RM, n - i0);
            const int see = min(visible_blocks(CAUSAL, i0 + valid - 1, block_q, block_k, at.sq, at.sk), cols);
            const ulong head = (ulong)at.batch * heads + h;
            vec sum[RM];

            for (int r = 0; r < RM; r++)
                sum[r] = (vec)(0.0f);
            product(sum, scores + scores_at + (head * count + (at.row0 + i0 - first)) * cols, cols, 1, valid,
                    k + k_at + (((ulong)at.batch * blocks_k + at.col0) * k_heads + h / max(share, 1)) * DG + c,
                    (ulong)k_heads * DG, see);
            for (int r = 0; r < valid; r++)
                STORE_VEC(sum[r], 0, dq + dq_at + (((ulong)at.batch * rows + at.row0 + i0 + r) * heads + h) * DG + c);
        }
    }
}

/* Gradients of k_gated: those of the scores, transposed, times q_gated, summed over the heads that
 * share a head of keys; slice by slice: the one that holds a sequence's first row begins. */
__kernel void distill_k(__global const float *scores, ulong scores_at, __global const float *q, ulong q_at,
                        __global float *dk, ulong dk_at, __global const int *seqs, ulong seqs_from, int sequences,
                        int sq, int sk, int rows, int blocks_k, int cols, int heads, int share, int block_q,
                        int block_k, int first, int count)
{
    const int j0 = (int)(get_global_id(0) / (DG / VEC)) * RM, c = get_global_id(0) % (DG / VEC) * VEC;
    const int hk = get_global_id(1), s = get_global_id(2), k_heads = heads / max(share, 1);

    if (s < sequences) {
        const seq_t at = seq_at(seqs + seqs_from, s, sq, sk);
        const int all = blocks_of(at.sq, block_q), n = min(all, first + count - at.row0);
        const int from = max(first - at.row0, 0), keys = blocks_of(at.sk, block_k);
        const int begins = CAUSAL ? max(j0 * block_k - (at.sk - at.sq), 0) / block_q : 0; /* rows before do not see */
        const int i0 = max(from, max(all / 4, begins));

        if (j0 < keys && from < n) {
            const int valid = min(RM, keys - j0), seen = min(valid, cols - j0);
            __global float *to = dk + dk_at + (((ulong)at.batch * blocks_k + at.col0 + j0) * k_heads + hk) * DG + c;
            vec sum[RM];

            for (int r = 0; r < RM; r++)
                sum[r] = from > 0 ? LOAD_VEC(to + (ulong)min(r, valid - 1) * k_heads * DG) : (vec)(0.0f);
            for (int h = hk * share; i0 < n && seen > 0 && h < (hk + 1) * share; h++)
                product(sum,
                        scores + scores_at + (((ulong)at.batch * heads + h) * count + (at.row0 + i0 - first)) * cols +
                            j0,
                        1, cols, seen, q + q_at + (((ulong)at.batch * rows + at.row0 + i0) * heads + h) * DG + c,
                        (ulong)heads * DG, n - i0);
            for (int r = 0; r < valid; r++)
                if (r < seen || from == 0)
                    STORE_VEC(r < seen ? sum[r] : (vec)(0.0f), 0, to + (ulong)r * k_heads * DG);
        }
    }
}

/* dw = x' dy over all blocks: x has heads / share heads of `width` channels, `rows` blocks a batch. */
__kernel void distill_w(__global const float *x, ulong x_at, __global const float *dy, ulong dy_at,
                        __global float *dw, ulong dw_at, __global const int *seqs, ulong seqs_from, int sequences,
                        int sq, int sk, int rows, int heads, int share, int width, int side, int block)
{
    const int e0 = (int)(get_global_id(0) / (DG / VEC)) * RM, c = get_global_id(0) % (DG / VEC) * VEC;
    const int h = get_global_id(1), from_heads = heads / max(share, 1), from = h / max(share, 1);

    if (sequences > 0 && e0 < width) {
        const int valid = min(RM, width - e0);
        vec sum[RM];

        for (int r = 0; r < RM; r++)
            sum[r] = (vec)(0.0f);
        for (int s = 0; s < sequences; s++) {
            const seq_t at = seq_at(seqs + seqs_from, s, sq, sk);
            const int n = at.sq > 0 ? blocks_of(side ? at.sk : at.sq, block) : 0; /* without rows no slice held it */
            const ulong row = (ulong)at.batch * rows + (side ? at.col0 : at.row0);

            product(sum, x + x_at + (row * from_heads + from) * width + e0, 1, (ulong)from_heads * width, valid,
                    dy + dy_at + (row * heads + h) * DG + c, (ulong)heads * DG, n);
        }
        for (int r = 0; r < valid; r++)
            STORE_VEC(sum[r], 0, dw + dw_at + ((ulong)h * width + e0 + r) * DG + c);
    }
}

/* AdamW; where the loss is no number all stays as it is. */
__kernel void distill_update(__global float *w, ulong w_at, __global const float *dw, ulong dw_at,
                             __global float *moments, ulong moments_at, __global const float *loss, ulong loss_at,
                             ulong n, float2 keep_first, float2 keep_second, float keep, float rate, float root,
                             float eps)
{
    const ulong i = get_global_id(0);

    if (i < n && (as_uint(loss[loss_at]) & 0x7f800000u) != 0x7f800000u) {
        __global float *first = moments + moments_at + i, *second = first + n;
        const float g = dw[dw_at + i], m = keep_first.x * *first + keep_first.y * g;
        const float v = keep_second.x * *second + keep_second.y * g * g;

        *first = m;
        *second = v;
        w[w_at + i] = keep * w[w_at + i] - rate * m / (sqrt(v) * root + eps);
    }
}
