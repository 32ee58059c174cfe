// The step of all parameters in a few launches; see docs/CUDA.md for their order.
#include "adaptive.cuh"
#include "base.cuh"
#include "constraint.cuh"
#include "pieces.cuh"

/// What is made once: ln β of every group.
__device__ void prepare_block(const Board& board) {
    THREADS {
        for (u64 i = threadIdx.x; i < board.set_count; i += BLOCK) {
            Set& set = board.sets[i];
            set.log1 = set.log2 = -HUGE_VAL;
            if (set.beta1 > 0.0) set.log1 = logarithm(set.beta1, &set.log1_rest);
            if (set.beta2 > 0.0) set.log2 = logarithm(set.beta2, &set.log2_rest);
        }
    }
}

/// One chunk of gradients: a flag where one is not finite, and Σg² for the global norm.
template <class T>
__device__ void check_block(const Board& board, const Window& window) {
    __shared__ T values[CHUNK];
    const Piece piece(board, window.first_piece + blockIdx.x);
    if (board.tensors[piece.tensor].wide != (sizeof(T) == 8)) return;
    const u64 gradient = window.gradients[piece.tensor - window.first_tensor];
    constexpr u32 TURNS = CHUNK / (QUAD * BLOCK);
    THREADS {
        // All loads of a thread are under way before it looks at one.
        T g[TURNS][QUAD];
#pragma unroll
        for (u32 turn = 0; turn < TURNS; ++turn) {
            const u32 quad = threadIdx.x + turn * BLOCK;
            if (gradient != 0 && quad * QUAD < piece.count) {
                load_gradient(gradient, piece, quad, g[turn]);
            } else {
#pragma unroll
                for (u32 i = 0; i < QUAD; ++i) g[turn][i] = (T)0;
            }
        }
        bool finite = true;
#pragma unroll
        for (u32 turn = 0; turn < TURNS; ++turn) {
#pragma unroll
            for (u32 i = 0; i < QUAD; ++i) {
                finite = finite && is_finite(g[turn][i]);
                if (window.clip) values[(threadIdx.x + turn * BLOCK) * QUAD + i] = g[turn][i];
            }
        }
        if (window.check && !finite) board.clock->bad = window.attempt;
    }
    SYNC;
    if (window.clip) {
        fold_chunk<T>(values, gradient != 0 ? piece.count : 0, L2, 0.0, &board.partials[piece.at]);
    }
}

/// Σg² of 1024 chunks.
__device__ void squares_block(const Board& board) {
    u64 first = (u64)blockIdx.x * TILE, left = board.piece_count - first;
    reduce_tile(board.partials + first, left < TILE ? (u32)left : TILE, false,
                &board.tops[blockIdx.x]);
}

/// Whether this call steps, and how gradients are scaled.
__device__ void settle_block(const Board& board, const Window& window) {
    if (window.clip) reduce(board.tops, (board.piece_count + TILE - 1) / TILE, false);
    THREADS {
        if (threadIdx.x == 0) {
            Clock& clock = *board.clock;
            clock.clipped = 0;
            clock.scale = 1.0;
            if (window.clip) {
                clock.norm = board.piece_count == 0 ? 0.0 : sqrt(board.tops[0].x);
                if (clock.norm > window.limit) {
                    clock.clipped = 1;
                    clock.scale = window.limit / clock.norm;
                }
            }
            if (window.check && clock.bad == window.attempt) {
                clock.skipped += 1;
                clock.in_a_row += 1;
            } else {
                clock.steps += 1;
                clock.in_a_row = 0;
                clock.go = window.attempt;
            }
        }
    }
}

/// The scalars of every parameter's step, and λ and the correction under BeforeBase.
__device__ void begin_block(const Board& board, const Window& window) {
    THREADS {
        u64 i = (u64)blockIdx.x * BLOCK + threadIdx.x;
        if (i < window.tensors && window.gradients[i] != 0 && board.clock->go == window.attempt) {
            u64 at = window.first_tensor + i;
            const Tensor& tensor = board.tensors[at];
            const Set& set = board.sets[tensor.set];
            u64 t = ++board.steps[at];
            double factor = window.decay;
            if (set.adaptive == AWD) factor = factor * board.clock->awd;
            Plan plan = plan_step(set, t, window.lr * set.lr_factor, factor);
            if (set.kind == AMOS || set.kind == AMOS_MOMENTUM) {
                plan_amos(plan, board.amos[at], set, t, tensor.eta, board.seen[at]);
            }
            if (set.adaptive == ADADECAY) plan_elements(plan, set, window.decay, board.seen[at]);
            plan.attempt = window.attempt;
            plan.clipped = board.clock->clipped;
            plan.clip_scale = board.clock->scale;
            board.plans[at] = plan;
            Correction correction = {UNMOVED, 0, 0.0, 0.0};
            if (tensor.record != 0) {
                Record record = board.records[tensor.record - 1];
                if (record.order == 1) {
                    correction = ascend(record, plan.lr);
                    board.records[tensor.record - 1] = record;
                }
            }
            board.corrections[at] = correction;
        }
    }
}

/// Quads of a whole chunk that are summed before all of it is stepped.
constexpr u32 EARLY = CHUNK / QUAD / 4 * 3;
static_assert(EARLY % STEPPERS == 0, "whole rounds");

/// What is to be measured of a parameter: read anew wherever it is asked for, since kept it would cost a step's block a register.
HD u32 regularizer_of(const Board& board, const Tensor& tensor) {
    return tensor.record != 0 ? board.records[tensor.record - 1].regularizer : (u32)NO_REGULARIZER;
}

/// This thread's quads of [from, to): base step, and where FULL its decays before and after and the correction of BeforeBase.
template <class T, u64 KIND, bool FULL>
__device__ inline void step_quads(const Board& board, const Tensor& tensor, const Plan& plan,
                                  u64 gradient, const Piece& piece, u32 from, u32 to, bool keep,
                                  T* terms) {
    Base<T, KIND> base;
    ElementDecay<T> decay;
    After<T> after;
    Shrink<T> shrink;
    base.set(plan);
    if (FULL) {
        decay.set(plan);
        after.set(plan);
        shrink.set(board.corrections[piece.tensor]);
    }
    u32 stopped = 0;
    const bool even = even_step<T>(tensor, gradient);
#pragma unroll 1
    for (u32 quad = from + threadIdx.x; quad < to; quad += STEPPERS) {
        Quad<T, Base<T, KIND>::MOMENTS> q;
        const bool as_one = even && whole(piece, quad);
        if (as_one) {
            q.template load_from<true>(tensor, gradient, piece, quad);
        } else {
            q.template load_from<false>(tensor, gradient, piece, quad);
        }
#pragma unroll
        for (u32 i = 0; i < QUAD; ++i) {
            // The scale is read where it is needed: one more register would cost a block.
            T given = plan.clipped ? (T)0 + (T)plan.clip_scale * (q.g[i] - (T)0) : q.g[i];
            T before = q.x[i];
            if (FULL) q.x[i] = decay.element(before, given);
            q.x[i] = base.element(q.x[i], given, q.m[i], q.v[i], q.top[i]);
            if (FULL) {
                q.x[i] = after.element(before, q.x[i]);
                q.x[i] = shrink.element(before, q.x[i], &stopped);
            }
        }
        if (as_one) {
            q.template store_to<true>(tensor, piece, quad);
        } else {
            q.template store_to<false>(tensor, piece, quad);
        }
        if (keep) {
#pragma unroll
            for (u32 i = 0; i < QUAD; ++i) terms[quad * QUAD + i] = q.x[i];
        }
    }
    if (stopped != 0) atomicAdd(&board.records[tensor.record - 1].guarded, (u64)stopped);
}

/// Asks for all that this thread's `step_quads` of [from, to) reads.
template <class T, u64 KIND>
HD void ask_quads(const Tensor& tensor, u64 gradient, const Piece& piece, u32 from, u32 to) {
#pragma unroll 1
    for (u32 quad = from + threadIdx.x; quad < to; quad += STEPPERS) {
        ask((const T*)tensor.theta, piece, quad);
        ask_gradient<T>(gradient, piece, quad);
#pragma unroll
        for (int i = 0; i < Base<T, KIND>::MOMENTS; ++i) {
            ask((const T*)tensor.moments[i], piece, quad);
        }
    }
}

/// What a block keeps of its chunk to be summed: the elements, or as many of their powers as fit.
template <class T>
union alignas(16) Terms {
    static constexpr u32 FIT = CHUNK * sizeof(T) / 8;
    T elements[CHUNK];
    double powers[FIT];
};

/// One chunk: its step, then the measure of what was written.
///
/// A call takes the chunks whose base and need are its own: what only some need costs the others no registers.
template <class T, u64 KIND, bool FULL>
__device__ void step_block(const Board& board, const Window& window) {
    __shared__ Terms<T> terms;
    __shared__ Lanes lanes;
    const Piece piece(board, window.first_piece + blockIdx.x);
    const Plan& plan = board.plans[piece.tensor];
    const Tensor& tensor = board.tensors[piece.tensor];
    if (plan.attempt != window.attempt || board.sets[tensor.set].kind != KIND) return;
    const bool full = plan.twice != 0.0 || plan.after != NOTHING
                      || board.corrections[piece.tensor].kind != UNMOVED;
    if (tensor.wide != (sizeof(T) == 8) || full != FULL) return;
    const u64 gradient = window.gradients[piece.tensor - window.first_tensor];
    const u32 measure = regularizer_of(board, tensor);
    const bool sums = measure != NO_REGULARIZER && measure != LP;
    const u32 quads = (piece.count + QUAD - 1) / QUAD;
    // The sum of a lane is a chain of additions. Three quarters of a whole chunk's are added by the first warp while what it
    // asked for of the last quarter is on its way, and while the others step that quarter.
#pragma unroll 1
    for (u32 from = 0; from < quads;) {
        const u32 to = sums && from == 0 && piece.count == CHUNK ? EARLY : quads;
        THREADS {
            if (from > 0 && threadIdx.x < WARP) {
                ask_quads<T, KIND>(tensor, gradient, piece, from, to);
                TAKE(1);
                if (threadIdx.x < LANES) {
                    add_to_lane<T>(lanes, terms.elements, EARLY * QUAD, false,
                                   regularizer_of(board, tensor),
                                   board.records[tensor.record - 1].parameter, terms.elements[0]);
                }
            }
            step_quads<T, KIND, FULL>(board, tensor, plan, gradient, piece, from, to, sums,
                                      terms.elements);
        }
        if (to < quads) {
            HAND(1);
        } else {
            APART;
        }
        from = to;
    }
    if (sums) {
        HAND(2);
        THREADS {
            if (threadIdx.x < WARP) {
                TAKE(2);
                const u32 from = piece.count == CHUNK ? EARLY * QUAD : 0;
                if (threadIdx.x < LANES) {
                    add_to_lane<T>(lanes, terms.elements + from, piece.count - from, from > 0,
                                   regularizer_of(board, tensor),
                                   board.records[tensor.record - 1].parameter, terms.elements[0]);
                }
            }
        }
        WARP_SYNC;
        THREADS {
            if (threadIdx.x == 0) {
                board.partials[window.first_piece + blockIdx.x] = measured_by(
                    lanes, piece.count, regularizer_of(board, tensor), (double)terms.elements[0]);
            }
        }
    } else if (regularizer_of(board, tensor) == LP) {
        // Powers are kept as f64, in turns of what fits. In the loop above their registers would be spilled.
        constexpr u32 FIT = Terms<T>::FIT;
        SYNC;
        for (u32 from = 0; from < piece.count; from += FIT) {
            const u32 count = piece.count - from < FIT ? piece.count - from : FIT;
            THREADS {
                const double p = board.records[tensor.record - 1].parameter;
                const Power<double> power = power_of<double>(p);
                const T* theta = (const T*)tensor.theta + piece.start + from;
#pragma unroll 1
                for (u32 i = threadIdx.x; i < count; i += STEPPERS) {
                    terms.powers[i] = raise((double)magnitude(theta[i]), power);
                }
            }
            SYNC;
            THREADS {
                if (threadIdx.x < LANES) {
                    add_to_lane<double>(lanes, terms.powers, count, from > 0, LP, 0.0, 0.0);
                }
            }
            SYNC;
        }
        THREADS {
            if (threadIdx.x == 0) {
                board.partials[window.first_piece + blockIdx.x] =
                    measured_by(lanes, piece.count, LP, 0.0);
            }
        }
    }
}

/// One tile of a constraint: its chunks' measures merge in their order. The block that merges the last of its tiles goes on:
/// the tiles merge in theirs, then λ, κ and the correction.
__device__ void update_block(const Board& board, u64 attempt) {
    __shared__ bool is_last;
    const u64 entry = board.tiles[blockIdx.x];
    const u32 index = (u32)entry;
    Plan& plan = board.plans[index];
    const Tensor& tensor = board.tensors[index];
    Record* record = &board.records[tensor.record - 1];
    if (plan.attempt != attempt) return;
    const bool moments = record->regularizer == STD;
    const u64 first = (entry >> 32) * TILE, left = tensor.pieces - first;
    const u64 tiles = (tensor.pieces + TILE - 1) / TILE;
    Statistic* tops = board.tops + tensor.first_tile;
    reduce_tile(board.partials + tensor.first_piece + first, left < TILE ? (u32)left : TILE,
                moments, &board.tops[blockIdx.x]);
    if (tiles > 1) {
        THREADS {
            if (threadIdx.x == 0) {
                FENCE;
                is_last = atomicAdd(&plan.arrived, (u64)1) == tiles - 1;
                FENCE;
            }
        }
        SYNC;
        if (!is_last) return;
        reduce(tops, tiles, moments);
    }
    THREADS {
        if (threadIdx.x == 0) {
            Record state = *record;
            Statistic measured = {0, 0.0, 0.0};
            if (tensor.pieces != 0) measured = *tops;
            carry(state, measured);
            Correction correction = {UNMOVED, 0, 0.0, 0.0};
            if (state.order == 0) correction = ascend(state, plan.lr);
            board.corrections[index] = correction;
            *record = state;
            if (correction.kind != UNMOVED) board.clock->acting = attempt;
        }
    }
}

/// Phase 4: the chunks of the matrices that have a correction.
template <class T>
__device__ void correct_block(const Board& board, u64 attempt) {
    if (board.clock->acting != attempt) return;
    for (u64 at = blockIdx.x; at < board.piece_count; at += gridDim.x) {
        APART;
        const Piece piece(board, at);
        const Tensor& tensor = board.tensors[piece.tensor];
        if (tensor.wide != (sizeof(T) == 8) || tensor.record == 0) continue;
        if (board.plans[piece.tensor].attempt != attempt) continue;
        if (board.corrections[piece.tensor].kind == UNMOVED) continue;
        constexpr u32 TURNS = 8 / sizeof(T);
        THREADS {
            Shrink<T> shrink;
            shrink.set(board.corrections[piece.tensor]);
            u32 stopped = 0;
            const bool in_quads = even((const T*)tensor.theta) && even((const u16*)tensor.low);
#pragma unroll 1
            for (u32 first = threadIdx.x; first * QUAD < CHUNK; first += BLOCK * TURNS) {
                // All loads of a thread are under way before it changes anything.
                T x[TURNS][QUAD];
#pragma unroll
                for (u32 turn = 0; turn < TURNS; ++turn) {
                    const u32 quad = first + turn * BLOCK;
                    if (quad * QUAD < piece.count) load((const T*)tensor.theta, piece, quad, x[turn]);
                }
#pragma unroll
                for (u32 turn = 0; turn < TURNS; ++turn) {
                    const u32 quad = first + turn * BLOCK;
                    if (quad * QUAD >= piece.count) break;
#pragma unroll
                    for (u32 i = 0; i < QUAD; ++i) {
                        x[turn][i] = shrink.element(x[turn][i], x[turn][i], &stopped);
                    }
                    if (in_quads && whole(piece, quad)) {
                        store<true>((T*)tensor.theta, piece, quad, x[turn]);
                        if (tensor.low != 0) store_low<true>(tensor, piece, quad, x[turn]);
                    } else {
                        store<false>((T*)tensor.theta, piece, quad, x[turn]);
                        if (tensor.low != 0) store_low<false>(tensor, piece, quad, x[turn]);
                    }
                }
            }
            if (stopped != 0) atomicAdd(&board.records[tensor.record - 1].guarded, (u64)stopped);
        }
    }
}

// Registers are bounded by the blocks that a multiprocessor is to hold at once: scripts/kernel-registers.sh.
#define BOARD const __grid_constant__ Board board
#define WINDOWED BOARD, const __grid_constant__ Window window
#define KERNEL(threads, blocks) extern "C" __global__ void BLOCKS(threads, blocks)
#define STEPS(T, type, KIND, kind)                                                              \
    KERNEL(STEPPERS, sizeof(T) == 8 ? 4 : KIND == AMSGRAD ? 8 : 10)                             \
    step_##type##_##kind(WINDOWED) { step_block<T, KIND, false>(board, window); }               \
    KERNEL(STEPPERS, 2) full_##type##_##kind(WINDOWED) { step_block<T, KIND, true>(board, window); }
#define TYPE(T, type)                                                                           \
    KERNEL(BLOCK, 32 / sizeof(T)) check_##type(WINDOWED) { check_block<T>(board, window); }     \
    KERNEL(BLOCK, 16 / sizeof(T)) observe_##type(WINDOWED) { observe_block<T>(board, window); } \
    KERNEL(BLOCK, 4 * CORRECTING / sizeof(T))                                                   \
    correct_##type(BOARD, u64 attempt) { correct_block<T>(board, attempt); }                    \
    STEPS(T, type, SGD, sgd)                                                                    \
    STEPS(T, type, MOMENTUM, momentum)                                                          \
    STEPS(T, type, ADAM, adam)                                                                  \
    STEPS(T, type, AMSGRAD, amsgrad)                                                            \
    STEPS(T, type, AMOS, amos)                                                                  \
    STEPS(T, type, AMOS_MOMENTUM, amos_momentum)

KERNEL(BLOCK, 1) prepare(BOARD) { prepare_block(board); }
KERNEL(BLOCK, 4) squares(BOARD) { squares_block(board); }
KERNEL(BLOCK, 1) settle(WINDOWED) { settle_block(board, window); }
KERNEL(BLOCK, 4) gather(WINDOWED) { gather_block(board, window); }
KERNEL(BLOCK, 1) average(WINDOWED) { average_block(board, window); }
KERNEL(BLOCK, 1) begin(WINDOWED) { begin_block(board, window); }
KERNEL(BLOCK, 2) update(BOARD, u64 attempt) { update_block(board, attempt); }
TYPE(float, f32)
TYPE(double, f64)
