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
    THREADS {
        bool finite = true;
        for (u32 quad = threadIdx.x; quad * QUAD < piece.count; quad += BLOCK) {
            T g[QUAD] = {};
            if (gradient != 0) load_gradient(gradient, piece, quad, g);
#pragma unroll
            for (u32 i = 0; i < QUAD; ++i) {
                finite = finite && is_finite(g[i]);
                values[quad * QUAD + i] = g[i];
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

/// One chunk: base step, and where FULL its decays before and after and the correction of BeforeBase; then the measure of
/// what was written.
///
/// A call takes the chunks whose base and need are its own: what only some need costs the others no registers.
template <class T, u64 KIND, bool FULL>
__device__ void step_block(const Board& board, const Window& window) {
    // Powers are kept as f64, everything else as the parameters themselves.
    __shared__ double terms[CHUNK];
    const Piece piece(board, window.first_piece + blockIdx.x);
    const Plan& plan = board.plans[piece.tensor];
    const Tensor& tensor = board.tensors[piece.tensor];
    if (plan.attempt != window.attempt || board.sets[tensor.set].kind != KIND) return;
    const Correction& correction = board.corrections[piece.tensor];
    const bool full =
        plan.twice != 0.0 || plan.after != NOTHING || correction.kind != UNMOVED;
    if (tensor.wide != (sizeof(T) == 8) || full != FULL) return;
    const u64 gradient = window.gradients[piece.tensor - window.first_tensor];
    const Record* record = tensor.record != 0 ? &board.records[tensor.record - 1] : nullptr;
    const u32 measure = record ? record->regularizer : (u32)NO_REGULARIZER;
    const double parameter = record ? record->parameter : 0.0;
    THREADS {
        Base<T, KIND> base;
        ElementDecay<T> decay;
        After<T> after;
        Shrink<T> shrink;
        base.set(plan);
        if (FULL) {
            decay.set(plan);
            after.set(plan);
            shrink.set(correction);
        }
        u32 stopped = 0;
#pragma unroll 1
        for (u32 quad = threadIdx.x; quad * QUAD < piece.count; quad += BLOCK) {
            T x[QUAD], g[QUAD], m[QUAD] = {}, v[QUAD] = {}, top[QUAD] = {};
            load((const T*)tensor.theta, piece, quad, x);
            load_gradient(gradient, piece, quad, g);
            if (base.MOMENTS > 0) load((const T*)tensor.moments[0], piece, quad, m);
            if (base.MOMENTS > 1) load((const T*)tensor.moments[1], piece, quad, v);
            if (base.MOMENTS > 2) load((const T*)tensor.moments[2], piece, quad, top);
#pragma unroll
            for (u32 i = 0; i < QUAD; ++i) {
                // The scale is read where it is needed: one more register would cost a block.
                T given = plan.clipped ? (T)0 + (T)plan.clip_scale * (g[i] - (T)0) : g[i];
                T before = x[i];
                if (FULL) x[i] = decay.element(before, given);
                x[i] = base.element(x[i], given, m[i], v[i], top[i]);
                if (FULL) {
                    x[i] = after.element(before, x[i]);
                    x[i] = shrink.element(before, x[i], &stopped);
                }
            }
            store((T*)tensor.theta, piece, quad, x);
            if (base.MOMENTS > 0) store((T*)tensor.moments[0], piece, quad, m);
            if (base.MOMENTS > 1) store((T*)tensor.moments[1], piece, quad, v);
            if (base.MOMENTS > 2) store((T*)tensor.moments[2], piece, quad, top);
            if (tensor.low != 0) store_low(tensor, piece, quad, x);
            if (measure != NO_REGULARIZER && measure != LP) {
#pragma unroll
                for (u32 i = 0; i < QUAD; ++i) ((T*)terms)[quad * QUAD + i] = x[i];
            }
        }
        if (stopped != 0) atomicAdd(&board.records[tensor.record - 1].guarded, (u64)stopped);
    }
    SYNC;
    if (measure == LP) {
        // A phase of its own: in the loop above its registers would be spilled.
        THREADS {
            const Power<double> power = power_of<double>(parameter);
            const T* theta = (const T*)tensor.theta + piece.start;
#pragma unroll 1
            for (u32 i = threadIdx.x; i < piece.count; i += BLOCK) {
                terms[i] = raise((double)magnitude(theta[i]), power);
            }
        }
        SYNC;
        fold_chunk<double>(terms, piece.count, LP, 0.0, &board.partials[piece.at]);
    } else if (measure != NO_REGULARIZER) {
        fold_chunk<T>((T*)terms, piece.count, measure, parameter, &board.partials[piece.at]);
    }
}

/// One tile of the chunks of a large matrix.
__device__ void tiles_block(const Board& board, u64 attempt) {
    const u64 entry = board.tiles[blockIdx.x];
    const u32 index = (u32)entry;
    const Tensor& tensor = board.tensors[index];
    if (board.plans[index].attempt != attempt) return;
    u64 first = (entry >> 32) * TILE, left = tensor.pieces - first;
    reduce_tile(board.partials + tensor.first_piece + first, left < TILE ? (u32)left : TILE,
                board.records[tensor.record - 1].regularizer == STD, &board.tops[blockIdx.x]);
}

/// One constraint: its chunks' measures merge in their order, then λ, κ and the correction.
__device__ void update_block(const Board& board, u64 attempt) {
    Record* record = &board.records[blockIdx.x];
    const Tensor& tensor = board.tensors[record->tensor];
    const Plan& plan = board.plans[record->tensor];
    if (plan.attempt != attempt) return;
    // Large matrices were merged tile by tile before.
    const bool tiled = tensor.pieces > TILE;
    Statistic* parts =
        tiled ? board.tops + tensor.first_tile : board.partials + tensor.first_piece;
    reduce(parts, tiled ? (tensor.pieces + TILE - 1) / TILE : tensor.pieces,
           record->regularizer == STD);
    THREADS {
        if (threadIdx.x == 0) {
            Record state = *record;
            Statistic measured = {0, 0.0, 0.0};
            if (tensor.pieces != 0) measured = parts[0];
            carry(state, measured);
            Correction correction = {UNMOVED, 0, 0.0, 0.0};
            if (state.order == 0) correction = ascend(state, plan.lr);
            board.corrections[record->tensor] = correction;
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
        THREADS {
            Shrink<T> shrink;
            shrink.set(board.corrections[piece.tensor]);
            u32 stopped = 0;
            for (u32 quad = threadIdx.x; quad * QUAD < piece.count; quad += BLOCK) {
                T x[QUAD];
                load((const T*)tensor.theta, piece, quad, x);
#pragma unroll
                for (u32 i = 0; i < QUAD; ++i) x[i] = shrink.element(x[i], x[i], &stopped);
                store((T*)tensor.theta, piece, quad, x);
                if (tensor.low != 0) store_low(tensor, piece, quad, x);
            }
            if (stopped != 0) atomicAdd(&board.records[tensor.record - 1].guarded, (u64)stopped);
        }
    }
}

// Registers are bounded by the blocks that a multiprocessor is to hold at once: scripts/kernel-registers.sh.
#define BOARD const __grid_constant__ Board board
#define WINDOWED BOARD, const __grid_constant__ Window window
#define KERNEL(blocks) extern "C" __global__ void BLOCKS(BLOCK, blocks)
// While a block sums its chunk it loads nothing: five blocks are what it takes to hide that.
#define STEPS(T, type, KIND, kind)                                                              \
    KERNEL(sizeof(T) == 8 ? 2 : KIND == AMSGRAD ? 4 : 5)                                        \
    step_##type##_##kind(WINDOWED) { step_block<T, KIND, false>(board, window); }               \
    KERNEL(1) full_##type##_##kind(WINDOWED) { step_block<T, KIND, true>(board, window); }
#define TYPE(T, type)                                                                           \
    KERNEL(16 / sizeof(T)) check_##type(WINDOWED) { check_block<T>(board, window); }                         \
    KERNEL(16 / sizeof(T)) observe_##type(WINDOWED) { observe_block<T>(board, window); }                     \
    KERNEL(16 / sizeof(T)) correct_##type(BOARD, u64 attempt) { correct_block<T>(board, attempt); }          \
    STEPS(T, type, SGD, sgd)                                                                    \
    STEPS(T, type, MOMENTUM, momentum)                                                          \
    STEPS(T, type, ADAM, adam)                                                                  \
    STEPS(T, type, AMSGRAD, amsgrad)                                                            \
    STEPS(T, type, AMOS, amos)                                                                  \
    STEPS(T, type, AMOS_MOMENTUM, amos_momentum)

KERNEL(1) prepare(BOARD) { prepare_block(board); }
KERNEL(4) squares(BOARD) { squares_block(board); }
KERNEL(1) settle(WINDOWED) { settle_block(board, window); }
KERNEL(4) gather(WINDOWED) { gather_block(board, window); }
KERNEL(1) average(WINDOWED) { average_block(board, window); }
KERNEL(1) begin(WINDOWED) { begin_block(board, window); }
KERNEL(4) tiles(BOARD, u64 attempt) { tiles_block(board, attempt); }
KERNEL(1) update(BOARD, u64 attempt) { update_block(board, attempt); }
TYPE(float, f32)
TYPE(double, f64)
