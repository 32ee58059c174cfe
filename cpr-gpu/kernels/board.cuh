// What lies in device memory between steps, in words of 8 bytes: written by src/cuda/layout.rs, read here.
#pragma once
#include "shrink.cuh"

/// One parameter: where it lies and which rules it follows. Written once.
struct Tensor {
    u64 theta;      // master weights
    u64 moments[3]; // 0 where the base has fewer
    u64 low;        // the variable itself where it is bf16 or f16; 0 otherwise
    u64 low_kind;   // GradientKind of it
    u64 wide;       // master weights and moments are f64
    u64 elements;
    u64 set;         // index of its hyperparameters
    u64 record;      // 1 + index of its constraint; 0 for none
    u64 first_piece; // of its chunks in the table of pieces
    u64 pieces;
    u64 first_tile; // of its tiles; only one with a constraint has any
    double eta;     // the scale that Amos expects its weights to have
};

enum BaseKind : u64 { SGD, MOMENTUM, ADAM, AMSGRAD, AMOS, AMOS_MOMENTUM };
enum WeightDecay : u64 { NO_DECAY, COUPLED, DECOUPLED };
enum AfterKind : u64 { NOTHING, P_NORM, L1_DECAY, THREE_HALVES_DECAY };
enum AdaptiveKind : u64 { CONSTANT, AWD, ADADECAY };

/// Hyperparameters of a group. Written once; the logarithms by `prepare`. Amos has its β as beta2.
struct Set {
    u64 kind;
    double lr_factor, beta1, beta2, eps, momentum, dampening;
    u64 nesterov, maximize;
    u64 decay_kind;
    double decay;
    u64 after;
    double p, lambda, l1_weight_decay;
    u64 late, flush;
    u64 adaptive;
    double adaptive_parameter; // AWD: the weight of the past; AdaDecay: α
    double element_decay;      // AdaDecay's λ
    double extra_l2;           // of Amos
    double log1, log1_rest, log2, log2_rest;
};

/// The scalars of one parameter's step, by `begin`; rounded to the parameters' type in `step`.
struct Plan {
    u64 attempt; // the call that they are for
    double lr;
    double sign, coupled, keep;
    double s[6];              // of the base
    double mean, rate, twice; // of AdaDecay; twice = 0 is none
    u64 after, late, flush;
    double after_a, after_b;
    u64 clipped;
    double clip_scale;
    u64 arrived; // tiles whose measures `update` has merged
};

/// A measure of n elements: a sum (x), or mean and squared deviations (x, y).
struct Statistic {
    u64 count;
    double x, y;
};

/// v and b of Amos.
struct AmosState {
    double v, b;
};

/// A constraint: the record of cpr_core's wire.rs without its checksum, and whose it is.
struct Record {
    u8 label[4];
    u16 version;
    u8 regularizer, init, adaptive, order, step_rule, flags, bound, form, unused[2];
    double parameter, mu;
    u64 init_numbers[3];
    u64 count, step;
    double lambda;
    u64 bound_numbers[2];
    Statistic carried;
    u64 active, guarded, non_finite;
    u64 tensor;
};
static_assert(sizeof(Record) == 152, "144 bytes of the record, 8 of the tensor");

enum RecordFlag : u32 { GUARD = 1, SCALE_BY_LR = 2, FLUSH = 4, HAS_RISEN = 8, SMOOTHING = 16 };
enum Regularizer : u32 { L2, L1, STD, HUBER, LP, NO_REGULARIZER };

/// Counters of the optimizer, and what the kernels of one call tell each other.
struct Clock {
    u64 bad;    // the last call that found a gradient that is not finite
    u64 go;     // the last call that steps
    u64 acting; // the last call with a correction in phase 4
    u64 steps, skipped, in_a_row;
    u64 clipped;
    double norm, scale;
    double weights; // Σw² of the parameters under AWD that take part in the call
    double awd;     // the average of ‖∇w‖/‖w‖ over them: state
};

/// Where everything is.
struct Board {
    Tensor* tensors;
    Set* sets;
    u64* pieces; // tensor | chunk << 32
    u64* tiles;  // tensor | tile << 32, of the parameters with a constraint
    u64* steps;  // t of each parameter
    Plan* plans;
    Correction* corrections;
    Record* records;
    Statistic* partials; // one a piece, and no fewer than one a parameter
    Statistic* tops;     // one a tile; before that one for each 1024 pieces of gradients
    Clock* clock;
    Statistic* seen; // one a parameter: what `observe` measured of it
    AmosState* amos; // one a parameter
    u64 piece_count, set_count, tensor_count;
};

/// Parameters of one launch, whose gradients are given by value: kernel arguments hold 4096 bytes.
constexpr u32 WINDOW = 400;

enum GradientKind : u64 { OWN, BF16, F16 };

/// What `observe` measures of the parameters whose rules ask for it.
enum ObservedKind : u64 { WEIGHTS, GRADIENTS };

struct Window {
    u64 gradients[WINDOW]; // pointer | GradientKind << 60; 0 for none
    u64 first_tensor, tensors, first_piece;
    u64 attempt;
    double lr, limit; // the limit of the global norm
    u64 check, clip;
    double decay; // times every decay of the step
    u64 observe;  // ObservedKind
};
static_assert(sizeof(Window) + sizeof(Board) <= 4096, "kernel arguments");

// The words that src/kernel.rs, src/cuda/fused.rs and src/cuda/layout.rs count.
static_assert(sizeof(Tensor) == 8 * 14 && sizeof(Set) == 8 * 25 && sizeof(Plan) == 8 * 22, "words");
static_assert(sizeof(Correction) == 8 * 4 && sizeof(Statistic) == 8 * 3, "words");
static_assert(sizeof(AmosState) == 8 * 2, "words");
static_assert(sizeof(Clock) == 8 * 11 && sizeof(Board) == 8 * 16, "words");
static_assert(sizeof(Window) == 8 * (WINDOW + 10), "words");

HD const void* pointer_of(u64 gradient) { return (const void*)(gradient & ((1ull << 60) - 1)); }
