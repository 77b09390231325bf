/* SPDX-License-Identifier: Apache-2.0 */
/*
 * clgaze/infer.h: the prefill pipeline.
 *
 *     q, k -> pool -> gate -> score -> select -> attend -> out
 *
 * One problem describes the whole pipeline; each operation reads the fields it
 * needs.  One set of tensors carries every array by its name; each operation
 * reads and writes those it needs and ignores the others.  Two functions an operation:
 *
 *     clgaze_attend_plan()   may compile, may read the cache, may take seconds
 *     clgaze_attend()        enqueues kernels on your queue, nothing else
 *
 * What each operation computes is in docs/pipeline.md.
 *
 * Notation: B batch, Sq and Sk query and key tokens, Hq and Hk query and
 * key-value heads (query head h uses key-value head h / (Hq / Hk)), D head
 * size, bq and bk block sizes, nq = ceil(Sq / bq), nk = ceil(Sk / bk), dg gate
 * size, nqp and nkp number of query and key pools.
 */
#ifndef CLGAZE_INFER_H
#define CLGAZE_INFER_H

#include "tensor.h"

#ifdef __cplusplus
extern "C" {
#endif

/* ------------------------------------------------------------------------ */
/* The problem                                                              */
/* ------------------------------------------------------------------------ */

/** The operations, in pipeline order, then those of training. */
typedef enum clgaze_op {
    CLGAZE_POOL = 0,
    CLGAZE_GATE = 1,
    CLGAZE_SCORE = 2,
    CLGAZE_SELECT = 3,
    CLGAZE_ATTEND = 4,
    CLGAZE_PREFILL = 5,   /**< the five above as one call */
    CLGAZE_TRUTH = 6,     /**< training, see train.h      */
    CLGAZE_DISTILL = 7,   /**< training, see train.h      */
    CLGAZE_ATTEND_BWD = 8 /**< training, see train.h      */
} clgaze_op;

/** Pools, or-ed together; several are concatenated in this order. */
enum { CLGAZE_MAX = 1, CLGAZE_MIN = 2, CLGAZE_AVG = 4 };

/** How a row of block scores becomes a list of key blocks. */
typedef enum clgaze_rule {
    CLGAZE_TOP_K = 0,     /**< the `value` highest                                 */
    CLGAZE_RATIO = 1,     /**< a fixed number a row that gives about density
                               `value` over a causal triangle                      */
    CLGAZE_BUDGET = 2,    /**< `value` tokens: value / block_k blocks              */
    CLGAZE_THRESHOLD = 3, /**< every block whose softmax is > `value`              */
    CLGAZE_TOP_P = 4      /**< the fewest highest whose softmax adds up to >=
                               `value`; recommended, see docs/pipeline.md          */
} clgaze_rule;

/** How many heads have a block list of their own. */
typedef enum clgaze_scope {
    CLGAZE_SCOPE_Q = 0,  /**< each query head: Hq lists                            */
    CLGAZE_SCOPE_KV = 1, /**< the query heads of a key-value head share: Hk lists  */
    CLGAZE_SCOPE_ONE = 2 /**< all heads share: 1 list                              */
} clgaze_scope;

/** In which form attend gets its key blocks. */
typedef enum clgaze_lists {
    CLGAZE_LISTS_DENSE = 0,  /**< none: every visible key                           */
    CLGAZE_LISTS_BLOCKS = 1, /**< `counts` and `blocks`                            */
    CLGAZE_LISTS_MASK = 2,   /**< `mask`                                            */
    CLGAZE_LISTS_CSR = 3     /**< `indptr` and `indices`                            */
} clgaze_lists;

/** What a plan is for.  Start from clgaze_problem_default(), which sets what
 *  the comments call default, and set the rest. */
typedef struct clgaze_problem {
    /* The shape of attention: every operation. */
    clgaze_dtype dtype; /**< of q, k, v, q_gate, k_gate and out: F32 (default), F16, BF16 */
    int32_t q_heads;    /**< Hq >= 1, a multiple of kv_heads                       */
    int32_t kv_heads;   /**< Hk >= 1                                               */
    int32_t head_dim;   /**< D: 8..256, a multiple of 8                            */
    int32_t block_q;    /**< bq: 4..256 tokens, default 64                         */
    int32_t block_k;    /**< bk: 4..256 tokens, default 64                         */
    int32_t causal;     /**< 1 (default): query t sees keys <= t + Sk - Sq; 0      */
    int32_t packed;     /**< 1: sequences of several lengths lie one after another
                             in tensors of batch 1, see cu_seqlens; default 0      */
    int32_t max_batch;  /**< most sequences of a call, >= 1, default 1             */
    int32_t max_q;      /**< most query tokens of a sequence; packed: of all together.
                             Not given by the default, nor are heads and head_dim  */
    int32_t max_k;      /**< the same for keys.  Batch x Hq x query blocks, and batch x
                             key blocks, are 2^30 at most: CLGAZE_ERR_LIMIT        */

    /* pool and gate */
    uint32_t q_pool;           /**< default CLGAZE_AVG                              */
    uint32_t k_pool;           /**< default CLGAZE_MAX | CLGAZE_MIN | CLGAZE_AVG    */
    int32_t gate_dim;          /**< dg: 8..256, a multiple of 8; 0 (default): D     */
    int32_t gate_double;       /**< 0 (default), single form: one w_k a query head, no
                                    w_q, one q pool, dg == D; 1, double form: w_k a
                                    key-value head and w_q a query head             */
    clgaze_dtype weight_dtype; /**< of w_k and w_q: F32 (default), F16, BF16       */
    int32_t rope_pairs;        /**< n: entries of rope_inv_freq, 0 (default, no RoPE) .. dg/2 */
    int32_t rope_interleaved;  /**< 0 (default): pairs (j, j + n); 1: (2j, 2j + 1)  */
    float rope_scale;          /**< multiplies cos and sin, default 1               */

    /* select */
    clgaze_rule rule;     /**< default CLGAZE_TOP_P                                */
    double value;         /**< top_k: >= 1; ratio, top_p: in (0, 1]; budget: >= 1
                               token; threshold: in [0, 1).  No default.           */
    const float *values;  /**< NULL (default), or `value` for each list head (Hq,
                               Hk or 1 of them); copied                            */
    int32_t sink;         /**< first blocks always kept, >= 0                      */
    int32_t local;        /**< last visible blocks always kept, >= 0               */
    int32_t last_rows;    /**< last query blocks of a sequence that keep all, >= 0 */
    int32_t min_k;        /**< least number that the rule itself chooses, >= 0     */
    int32_t max_k_blocks; /**< greatest; 0 (default): no bound                     */
    int32_t width;        /**< entries of a row of `blocks` where it passes through the
                               workspace, and of clgaze_plan_width(); 0 (default): all
                               that can be chosen.  A `blocks` of yours has its own  */
    clgaze_scope scope;   /**< of the lists: select writes, attend reads; default Q */

    /* attend */
    clgaze_lists lists; /**< default CLGAZE_LISTS_BLOCKS                           */
    float scale;        /**< of q . k; 0 (default): 1 / sqrt(D)                    */
    int32_t lse;        /**< 1: write `lse` too; default 0                         */
    int32_t validate;   /**< 1: check every list on the device before use.  The
                             call then waits for the queue.  Default 0: numbers out
                             of range are skipped, order and repeats trusted       */

    const char *kernel;    /**< NULL (default), or a strategy to force, with tunables if
                                wanted: "attend_cpu BM=32"; copied.  The other operations
                                of prefill choose for themselves                      */
    double auto_density;   /**< AUTO, read by prefill alone.  0 (default): attend to the
                                  chosen blocks, always.  In (0, 1]: the density that you
                                  expect of the lists, and your consent to answers over
                                  every visible key where that is quicker: see
                                  clgaze_prefill_plan()                                 */
    uint32_t reserved[14]; /**< zero                                               */
} clgaze_problem;

/** Return a problem with every default set and the rest zero. @since 1.0 */
CLGAZE_API clgaze_problem clgaze_problem_default(void);

/* ------------------------------------------------------------------------ */
/* The tensors                                                              */
/* ------------------------------------------------------------------------ */

/**
 * Every array of the pipeline.  An absent one has buffer NULL.  Token tensors
 * (q, k, v, q_gate, k_gate, out and their gradients) may have any strides with channel stride 1;
 * all others are compact, row-major, at any offset.  Inputs may overlap each
 * other; an output may overlap nothing.
 *
 * Packed sequences: B = 1 in every shape, nq and nk count the rows of all
 * sequences one after another, except the nk of scores and mask, which is that
 * of the longest sequence.
 */
typedef struct clgaze_tensors {
    clgaze_tensor q;             /**< [B,Sq,Hq,D] dtype, after RoPE                  */
    clgaze_tensor k;             /**< [B,Sk,Hk,D] dtype, after RoPE                  */
    clgaze_tensor v;             /**< [B,Sk,Hk,D] dtype                              */
    clgaze_tensor q_gate;        /**< [B,Sq,Hq,D] dtype, before RoPE                 */
    clgaze_tensor k_gate;        /**< [B,Sk,Hk,D] dtype, before RoPE                 */
    clgaze_tensor rope_inv_freq; /**< [n] f32, radians a token                       */
    clgaze_tensor w_k;           /**< [Hq,nkp*D,dg] single, [Hk,nkp*D,dg] double form */
    clgaze_tensor w_q;           /**< [Hq,nqp*D,dg] double form                      */
    clgaze_tensor q_pooled;      /**< [B,nq,Hq,nqp*D] f32                            */
    clgaze_tensor k_pooled;      /**< [B,nk,Hk,nkp*D] f32                            */
    clgaze_tensor q_gated;       /**< [B,nq,Hq,dg] f32                               */
    clgaze_tensor k_gated;       /**< [B,nk,Hq,dg] single, [B,nk,Hk,dg] double; f32  */
    clgaze_tensor scores;        /**< [B,H,nq,nk] f32; -inf: the row may not see it  */
    clgaze_tensor counts;        /**< [B,H,nq] i32: entries of the row's list        */
    clgaze_tensor blocks;        /**< [B,H,nq,width] i32, ascending, then -1         */
    clgaze_tensor mask;          /**< [B,H,nq,nk] u8: not 0 = attend                 */
    clgaze_tensor indptr;        /**< [B*H*nq+1] i32: row starts in `indices`        */
    clgaze_tensor indices;       /**< [entries] i32, ascending in a row              */
    clgaze_tensor cu_seqlens_q;  /**< [sequences+1] i32, packed only: first tokens   */
    clgaze_tensor cu_seqlens_k;  /**< the same for keys                              */
    clgaze_tensor out;           /**< [B,Sq,Hq,D] dtype; rows without a key: 0       */
    clgaze_tensor lse;           /**< [B,Hq,Sq] f32, natural log; without a key: -inf */
    clgaze_tensor truth;         /**< [B,Hq,nq,nk] f32: rows sum to 1; invisible: 0  */
    clgaze_tensor dout;          /**< [B,Sq,Hq,D] dtype: gradients of out, q, k and v */
    clgaze_tensor dq;            /**< [B,Sq,Hq,D] dtype                              */
    clgaze_tensor dk;            /**< [B,Sk,Hk,D] dtype                              */
    clgaze_tensor dv;            /**< [B,Sk,Hk,D] dtype                              */
    clgaze_tensor dw_k;          /**< as w_k, f32: gradients of w_k and w_q          */
    clgaze_tensor dw_q;          /**< as w_q, f32                                    */
    clgaze_tensor moments_k;     /**< [2,..] twice w_k, f32: AdamW's two means       */
    clgaze_tensor moments_q;     /**< [2,..] twice w_q, f32                          */
    clgaze_tensor loss;          /**< [1] f32                                        */
} clgaze_tensors;

/** One step of AdamW; train.h says what it does. */
typedef struct clgaze_adamw {
    double lr;           /**< this step's, >= 0            */
    double beta1, beta2; /**< in [0, 1): .9, .999          */
    double eps;          /**< > 0: 1e-8                    */
    double weight_decay; /**< >= 0                         */
    int64_t step;        /**< counted from 1               */
} clgaze_adamw;

/** Where and when a call runs. */
typedef struct clgaze_call {
    cl_command_queue queue;     /**< of the plan's context and device, in order or
                                     out of order; never flushed or finished          */
    cl_mem workspace;           /**< clgaze_plan_workspace() bytes or more, for this call
                                     alone until it has run: on one in-order queue all
                                     calls may share it; NULL when 0                  */
    size_t workspace_offset;    /**< bytes, a multiple of 256                          */
    cl_uint n_wait;             /**< events that must complete first                   */
    const cl_event *wait;       /**< NULL when 0                                       */
    cl_event *done;             /**< NULL, or set to an event that you release; set on
                                     CLGAZE_OK only                                   */
    int32_t longest_q;          /**< packed only: tokens of the longest query sequence */
    int32_t longest_k;          /**< packed only: the same for keys                    */
    const clgaze_adamw *update; /**< distill only: NULL, or change the weights      */
} clgaze_call;

/* ------------------------------------------------------------------------ */
/* Plans                                                                    */
/* ------------------------------------------------------------------------ */

typedef struct clgaze_plan clgaze_plan; /* opaque, immutable */

/**
 * Plan an operation: check the problem, choose a kernel for the context's
 * device, compile it or load it from the cache.  Nothing is enqueued on a
 * queue of yours.  A plan serves every call up to its max_batch, max_q and
 * max_k, from any number of threads at once.
 *
 * @param[in]  context  Borrowed; must outlive the plan.
 * @param[in]  problem  Read during the call only; the plan keeps a copy.
 * @param[out] plan     Freed by the caller with clgaze_plan_free(); NULL on
 *                      failure.
 *
 * @retval CLGAZE_OK
 * @retval CLGAZE_ERR_NULL         A NULL argument.
 * @retval CLGAZE_ERR_DTYPE, _SIZE, _HEADS, _BLOCK, _VALUE
 *                                 A field of `problem` is outside its range.
 * @retval CLGAZE_ERR_LIMIT        A tensor or the workspace at its maximum is
 *                                 larger than one buffer of the device may be.
 * @retval CLGAZE_ERR_UNSUPPORTED  No kernel fits, or the forced one does not.
 * @retval CLGAZE_ERR_BUILD        The compiler's log went to the log callback.
 * @retval CLGAZE_ERR_OPENCL, CLGAZE_ERR_NO_MEMORY
 *
 * @par AUTO
 * Above some density, the break-even, dense attention is quicker than choosing
 * blocks and attending to them.  clgaze_tune() measures it.  A prefill plan
 * with problem.auto_density at or above the break-even of this device is
 * *dense*: it attends to every visible key and chooses nothing.  `out` and
 * `lse` are then those of dense attention, not those of the chosen blocks.
 * Without a record of this device the plan is as if nobody had asked.  Nothing
 * is read back: what the lists of a call turn out to be changes nothing.
 * clgaze_plan_kernel(plan, CLGAZE_PREFILL) says "dense" or "sparse",
 * clgaze_plan_reason() why.  A dense plan holds attend alone and runs as
 * CLGAZE_PREFILL alone; q, k, v and out are all that a call needs, and one that
 * gives q_pooled .. blocks, which would not be written, is refused.
 *
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_pool_plan(clgaze_context *context, const clgaze_problem *problem, clgaze_plan **plan);
CLGAZE_API clgaze_status clgaze_gate_plan(clgaze_context *context, const clgaze_problem *problem, clgaze_plan **plan);
CLGAZE_API clgaze_status clgaze_score_plan(clgaze_context *context, const clgaze_problem *problem,
                                           clgaze_plan **plan);
CLGAZE_API clgaze_status clgaze_select_plan(clgaze_context *context, const clgaze_problem *problem,
                                            clgaze_plan **plan);
CLGAZE_API clgaze_status clgaze_attend_plan(clgaze_context *context, const clgaze_problem *problem,
                                            clgaze_plan **plan);
CLGAZE_API clgaze_status clgaze_prefill_plan(clgaze_context *context, const clgaze_problem *problem,
                                             clgaze_plan **plan);

/** Plan the operation named by `op`; the six above, and those of train.h, do no more. @since 1.0 */
CLGAZE_API clgaze_status clgaze_plan_create(clgaze_context *context, clgaze_op op, const clgaze_problem *problem,
                                            clgaze_plan **plan);

/** Free a plan that no thread uses any more.  NULL is allowed.  What was
 *  enqueued still runs. @since 1.0 */
CLGAZE_API void clgaze_plan_free(clgaze_plan *plan);

/** Return the bytes of workspace that a call at the plan's maximum needs. @since 1.0 */
CLGAZE_API size_t clgaze_plan_workspace(const clgaze_plan *plan);

/** Return the entries of a row of `blocks` that select writes at the plan's
 *  maximum: problem.width, or when that is 0 the most that the rule, sink and
 *  local can choose; 0 for a plan without select. @since 1.0 */
CLGAZE_API int32_t clgaze_plan_width(const clgaze_plan *plan);

/**
 * Name the strategy chosen for `op` and its tunables: "attend_cpu BM=64 KT=64".
 *
 * @return A string that lives as long as the plan; NULL if the plan does not
 *         hold `op`.  Of CLGAZE_PREFILL "dense" or "sparse" with
 *         problem.auto_density, else NULL.
 * @since 1.0
 */
CLGAZE_API const char *clgaze_plan_kernel(const clgaze_plan *plan, clgaze_op op);

/** Say in one line why that strategy was chosen; lifetime as above. @since 1.0 */
CLGAZE_API const char *clgaze_plan_reason(const clgaze_plan *plan, clgaze_op op);

/**
 * Ask whether an operation could be planned.  Compiles nothing.
 *
 * @param[out] reason    One sentence: why not, or the kernel that would be
 *                       chosen; may be NULL.
 * @param[in]  capacity  Bytes of `reason`; a longer sentence is cut.
 *
 * @return The status that clgaze_plan_create() would return, as far as that is
 *         known without compiling.
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_supports(clgaze_context *context, clgaze_op op, const clgaze_problem *problem,
                                         char *reason, size_t capacity);

/**
 * List the strategies that this library knows, in pipeline order, of one
 * operation the preferred first.
 *
 * @param[out] names, ops  Up to `capacity` static strings each ("attend_cpu",
 *                         "attend"); either may be NULL.
 *
 * @return The number of strategies, which may be more than `capacity`.
 * @since 1.0
 */
CLGAZE_API size_t clgaze_kernel_list(const char **names, const char **ops, size_t capacity);

/** One plan to make. */
typedef struct clgaze_request {
    clgaze_op op;
    const clgaze_problem *problem; /**< borrowed during the call                    */
    clgaze_plan *plan;             /**< out: yours to free; NULL if it was not made */
} clgaze_request;

/**
 * Make a list of plans, for instance from a worker thread at start-up.
 *
 * @param[in,out] requests  `n` of them.
 * @param[in]     progress  NULL, or called before each plan with the number
 *                          done; a non-zero answer stops.
 *
 * @retval CLGAZE_OK             All were made.
 * @retval CLGAZE_ERR_CANCELLED  `progress` stopped it; earlier plans are yours.
 * @return else the first failure; the other plans were still made.
 * @since 1.0
 */
CLGAZE_API clgaze_status clgaze_warm(clgaze_context *context, size_t n, clgaze_request *requests,
                                     int (*progress)(void *user, size_t done, size_t total), void *user);

/* ------------------------------------------------------------------------ */
/* Calls                                                                    */
/* ------------------------------------------------------------------------ */

/**
 * Enqueue an operation.  Arguments are checked completely before anything is
 * enqueued; a failed check names the tensor, its value and what is allowed.
 * Outputs are written whole.  Nothing is allocated, compiled, read back or
 * waited for (but see problem.validate).
 *
 * @param[in] plan     A plan of the same operation (or, for each of the five,
 *                     a prefill plan that holds it).
 * @param[in] tensors  Borrowed during the call only.  The lengths of this call
 *                     are those of the shapes.
 * @param[in] call     Borrowed during the call only.
 *
 * @retval CLGAZE_OK              Enqueued; `*call->done` is set if wanted.  Flush the
 *                                queue before another queue waits for it.
 * @retval CLGAZE_ERR_NULL        A handle or a needed tensor is missing.
 * @retval CLGAZE_ERR_DTYPE, _RANK, _SIZE, _HEADS, _STRIDE, _BOUNDS, _OVERLAP
 *                                A tensor cannot be used.
 * @retval CLGAZE_ERR_VALUE       The plan is of another operation, or is dense by
 *                                problem.auto_density and the call wants lists of it.
 * @retval CLGAZE_ERR_WORKSPACE   Missing, misaligned or too small.
 * @retval CLGAZE_ERR_CONTEXT     A queue or buffer of another context or device.
 * @retval CLGAZE_ERR_LIST        problem.validate found a bad list.
 * @retval CLGAZE_ERR_OPENCL      A driver call failed; what was enqueued before
 *                                it may still write to the outputs.
 *
 * @par Ties
 * Of equal scores select keeps the lower block number; NaN loses to every
 * number.  Lists do not depend on tuning or on the run.
 * @since 1.0
 */
/** q_gate, k_gate -> q_pooled, k_pooled (a side whose two tensors are absent is left out) */
CLGAZE_API clgaze_status clgaze_pool(const clgaze_plan *plan, const clgaze_tensors *tensors, const clgaze_call *call);
/** q_pooled, k_pooled, w_k, w_q, rope_inv_freq -> q_gated, k_gated (longest_* are not needed) */
CLGAZE_API clgaze_status clgaze_gate(const clgaze_plan *plan, const clgaze_tensors *tensors, const clgaze_call *call);
/** q_gated, k_gated -> scores; the tokens of unpacked sequences are those of q_gate and k_gate
 *  (or q and k) where given, else nq * bq and nk * bk */
CLGAZE_API clgaze_status clgaze_score(const clgaze_plan *plan, const clgaze_tensors *tensors,
                                      const clgaze_call *call);
/** scores (of Hq heads, or already of the lists' scope) -> counts, blocks */
CLGAZE_API clgaze_status clgaze_select(const clgaze_plan *plan, const clgaze_tensors *tensors,
                                       const clgaze_call *call);
/** q, k, v and the lists named by problem.lists -> out, and lse if problem.lse */
CLGAZE_API clgaze_status clgaze_attend(const clgaze_plan *plan, const clgaze_tensors *tensors,
                                       const clgaze_call *call);
/** q, k, v, q_gate, k_gate, weights -> out and lse; q_pooled ... blocks are written too where given */
CLGAZE_API clgaze_status clgaze_prefill(const clgaze_plan *plan, const clgaze_tensors *tensors,
                                        const clgaze_call *call);

/** Run the operation named by `op`; the six above, and those of train.h, do no more. @since 1.0 */
CLGAZE_API clgaze_status clgaze_run(const clgaze_plan *plan, clgaze_op op, const clgaze_tensors *tensors,
                                    const clgaze_call *call);

#ifdef __cplusplus
}
#endif
#endif
