// What a step needs of whole parameters before it begins: cpr_core's base/amos.rs, base/awd.rs and base/adadecay.rs.
#pragma once
#include "base.cuh"
#include "pieces.cuh"

/// How `observe` measures a parameter of this group; NO_REGULARIZER for not at all.
HD u32 measure_of(const Set& set, u64 observe) {
    if (set.adaptive == AWD) return L2;
    if (observe == WEIGHTS) return NO_REGULARIZER;
    if (set.adaptive == ADADECAY) return STD; // of magnitudes
    return set.kind == AMOS || set.kind == AMOS_MOMENTUM ? (u32)L2 : (u32)NO_REGULARIZER;
}

/// One chunk of weights, or of gradients as the step has them.
template <class T>
__device__ void observe_block(const Board& board, const Window& window) {
    __shared__ T values[CHUNK];
    const Clock& clock = *board.clock;
    if (clock.go != window.attempt) return;
    const Piece piece(board, window.first_piece + blockIdx.x);
    const Tensor& tensor = board.tensors[piece.tensor];
    const u64 gradient = window.gradients[piece.tensor - window.first_tensor];
    if (tensor.wide != (sizeof(T) == 8) || gradient == 0) return;
    const u32 measure = measure_of(board.sets[tensor.set], window.observe);
    if (measure == NO_REGULARIZER) return;
    THREADS {
        const bool scales = window.observe == GRADIENTS && clock.clipped;
        const T scale = (T)clock.scale;
        for (u32 quad = threadIdx.x; quad * QUAD < piece.count; quad += BLOCK) {
            T x[QUAD];
            if (window.observe == WEIGHTS) {
                load((const T*)tensor.theta, piece, quad, x);
            } else {
                load_gradient(gradient, piece, quad, x);
            }
#pragma unroll
            for (u32 i = 0; i < QUAD; ++i) {
                T given = scales ? (T)0 + scale * (x[i] - (T)0) : x[i];
                values[quad * QUAD + i] = measure == STD ? magnitude(given) : given;
            }
        }
    }
    SYNC;
    fold_chunk<T>(values, piece.count, measure, 0.0, &board.partials[piece.at]);
}

/// One parameter: its chunks' measures merge in their order. One that takes no part is of no elements.
__device__ void gather_block(const Board& board, const Window& window) {
    if (board.clock->go != window.attempt) return;
    const u64 at = window.first_tensor + blockIdx.x;
    const Tensor& tensor = board.tensors[at];
    const u32 measure = measure_of(board.sets[tensor.set], window.observe);
    const bool seen = measure != NO_REGULARIZER && window.gradients[blockIdx.x] != 0;
    Statistic* parts = board.partials + tensor.first_piece;
    if (seen) reduce(parts, tensor.pieces, measure == STD);
    THREADS {
        if (threadIdx.x == 0) {
            Statistic whole = {0, 0.0, 0.0};
            if (seen && tensor.pieces != 0) whole = parts[0];
            board.seen[at] = whole;
        }
    }
}

/// The parameters under AWD together: Σw² after the weights were observed, the average after the gradients were.
__device__ void average_block(const Board& board, const Window& window) {
    if (board.clock->go != window.attempt) return;
    // The chunks' places are free between `gather` and the step. The others are of no elements: the tree is the host's.
    Statistic* parts = board.partials;
    THREADS {
        for (u64 i = threadIdx.x; i < board.tensor_count; i += BLOCK) {
            Statistic own = {0, 0.0, 0.0};
            if (board.sets[board.tensors[i].set].adaptive == AWD) own = board.seen[i];
            parts[i] = own;
        }
    }
    SYNC;
    reduce(parts, board.tensor_count, false);
    THREADS {
        if (threadIdx.x == 0) {
            Clock& clock = *board.clock;
            double sum = board.tensor_count == 0 ? 0.0 : parts[0].x;
            if (window.observe == WEIGHTS) {
                clock.weights = sum;
            } else {
                // All groups under AWD have the same.
                double keep = 0.0;
                for (u64 i = 0; i < board.set_count; ++i) {
                    if (board.sets[i].adaptive == AWD) keep = board.sets[i].adaptive_parameter;
                }
                double ratio = clock.weights > 0.0 ? sqrt(sum) / sqrt(clock.weights) : 0.0;
                if (!is_finite(ratio)) ratio = 0.0;
                clock.awd = keep * clock.awd + (1.0 - keep) * ratio;
            }
        }
    }
}

/// The scalars of Amos's step `t`, and its state after it, from Σg².
HD void plan_amos(Plan& plan, AmosState& state, const Set& set, u64 t, double eta,
                  const Statistic& squares) {
    const double smallest = 2.35098870164457501594e-38; // 2^-125
    double mean = squares.count > 0 ? squares.x / (double)squares.count : 0.0;
    plan.s[2] = set.momentum;
    plan.s[3] = 1.0 - set.momentum;
    if (!is_finite(mean)) return;
    double lr = plan.lr, b = state.b;
    double v = set.beta2 * state.v + (1.0 - set.beta2) * mean;
    double reciprocal =
        bias_correction(set.log2, set.log2_rest, t) / (v > smallest ? v : smallest);
    double c = 1.0 / sqrt(1.0 + 0.25 * sqrt(lr) * b);
    double gamma = c * (lr * lr) * (reciprocal * mean);
    double initial = lr * eta;
    double d = 1.0 / (1.0 + 0.25 * sqrt(initial) * b);
    plan.s[0] = d * (initial * sqrt(reciprocal));
    plan.s[1] = d * (0.5 * gamma + set.extra_l2);
    const double most = Real<double>::MAX;
    double raised = b + gamma * (1.0 + b);
    state = {v, raised < most ? raised : most};
}

/// The scalars of AdaDecay, from the mean and the squared deviations of |g|, its decay times `factor`.
HD void plan_elements(Plan& plan, const Set& set, double factor, const Statistic& magnitudes) {
    const double log2_e = 1.44269504088896340735992468100189214;
    bool any = magnitudes.count > 0;
    double deviation = any ? sqrt(magnitudes.y / (double)magnitudes.count) : 0.0;
    plan.mean = any ? magnitudes.x : 0.0;
    plan.rate = -set.adaptive_parameter * log2_e / deviation;
    plan.twice = 2.0 * plan.lr * scaled(set.element_decay, factor);
}
