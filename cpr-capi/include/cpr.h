/* Constrained Parameter Regularization. Made by cbindgen from the crate cpr-capi: change the sources, not this file.
 *
 * Every function returns a cpr_status, 0 where it did what it says; where it did not, nothing was changed.
 * Nothing is allocated or kept: all memory is the caller's, and every struct may be copied, moved and stored.
 * A constraint is used by one thread at a time; different constraints are independent.
 *
 * What a pointer leads to must be as large as is said, be initialised where it is read, and be left alone by other
 * threads during the call; pointers that are null, misaligned or overlap are refused. */

#ifndef CPR_H
#define CPR_H

#include <stddef.h>
#include <stdint.h>

// Bytes of a constraint.
#define CPR_CONSTRAINT_LEN 148

// What became of a call. Anything but `Ok` changed nothing, `Panicked` aside.
enum cpr_status
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : int32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Done.
    CPR_STATUS_OK = 0,
    // The gradient is not finite: the step was not taken. Do not count it in t.
    CPR_STATUS_SKIPPED = 1,
    // A pointer is null.
    CPR_STATUS_NULL_POINTER = -1,
    // A pointer is not aligned for what it points to.
    CPR_STATUS_MISALIGNED = -2,
    // Two buffers share memory.
    CPR_STATUS_OVERLAP = -3,
    // A length is not that of the matrix that the constraint was started with, or too large for memory.
    CPR_STATUS_LENGTH = -4,
    // A field that chooses one of several has a value that is none of them.
    CPR_STATUS_CHOICE = -5,
    // A flag is neither 0 nor 1.
    CPR_STATUS_FLAG = -6,
    // The constraint was never started, was altered, or is of a version that this library does not know.
    CPR_STATUS_NO_CONSTRAINT = -7,
    // `parameter` is out of range: delta must be finite and above 0, p above 0 and at most 64.
    CPR_STATUS_PARAMETER = -10,
    // `mu` must be finite and at least 0.
    CPR_STATUS_MU = -11,
    // `kappa` is out of range: a bound must be at least 0, a factor finite and above 0.
    CPR_STATUS_KAPPA = -12,
    // `steps` must be at least 1.
    CPR_STATUS_STEPS = -13,
    // `smoothing` must be at least 0 and below 1.
    CPR_STATUS_SMOOTHING = -14,
    // A bound per element needs a regularizer that is a sum: not std.
    CPR_STATUS_PER_ELEMENT_OF_NO_SUM = -15,
    // lp with p <= 1 needs the order before base.
    CPR_STATUS_POWER_NEEDS_BEFORE_BASE = -16,
    // `beta1` or `beta2` is not at least 0 and below 1.
    CPR_STATUS_BETA = -20,
    // `eps` must be finite and at least 0.
    CPR_STATUS_EPS = -21,
    // `weight_decay` must be finite and at least 0.
    CPR_STATUS_WEIGHT_DECAY = -22,
    // `lr` must be finite and at least 0.
    CPR_STATUS_LEARNING_RATE = -23,
    // `t` counts steps from 1.
    CPR_STATUS_STEP_NUMBER = -24,
    // After a step of one's own only a constraint of the order after base can act.
    CPR_STATUS_OWN_STEP_NEEDS_AFTER_BASE = -25,
    // The standard deviation needs at least two elements.
    CPR_STATUS_TOO_FEW_ELEMENTS = -30,
    // A dependent bound is a multiple of R at the start, and R is 0.
    CPR_STATUS_DEPENDENT_ON_ZERO = -31,
    // The dependent bound overflows, or underflows to 0.
    CPR_STATUS_DEPENDENT_OUT_OF_RANGE = -32,
    // R of the parameters is not finite.
    CPR_STATUS_NON_FINITE = -33,
    // An option is out of its range.
    CPR_STATUS_OPTION = -40,
    // A defect of this library: it panicked, and the memory it was given may be half written.
    CPR_STATUS_PANICKED = -99,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cpr_status cpr_status;
#else
typedef int32_t cpr_status;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Measures R of a matrix.
enum cpr_regularizer
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // The sum of squares.
    CPR_REGULARIZER_L2 = 0,
    // The sum of magnitudes.
    CPR_REGULARIZER_L1 = 1,
    // The sample standard deviation.
    CPR_REGULARIZER_STD = 2,
    // The Huber norm; `parameter` is its delta.
    CPR_REGULARIZER_HUBER = 3,
    // The sum of magnitudes to the power of p; `parameter` is p.
    CPR_REGULARIZER_LP = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cpr_regularizer cpr_regularizer;
#else
typedef uint32_t cpr_regularizer;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Ways to set kappa, the upper bound of R.
enum cpr_bound
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // `kappa` itself.
    CPR_BOUND_UNIFORM = 0,
    // `kappa` times the number of elements; not for std.
    CPR_BOUND_UNIFORM_PER_ELEMENT = 1,
    // `kappa` times R of the parameters at the start.
    CPR_BOUND_DEPENDENT = 2,
    // R after `steps` steps; free until then.
    CPR_BOUND_WARM_START = 3,
    // R at its first inflection, sampled every `steps` steps; free until then.
    CPR_BOUND_INFLECTION = 4,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cpr_bound cpr_bound;
#else
typedef uint32_t cpr_bound;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Whether kappa falls during training (AdaCPR).
enum cpr_adaptive
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // It stays.
    CPR_ADAPTIVE_OFF = 0,
    // To R where lambda falls back to 0.
    CPR_ADAPTIVE_ON_RELEASE = 1,
    // To R on every step with lambda at 0, once lambda was above 0.
    CPR_ADAPTIVE_WHILE_INACTIVE = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cpr_adaptive cpr_adaptive;
#else
typedef uint32_t cpr_adaptive;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// Where R and its gradient are taken.
enum cpr_order
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // At the parameters after the base step, as the published code.
    CPR_ORDER_AFTER_BASE = 0,
    // At the parameters before it, as Algorithm 1 of the paper.
    CPR_ORDER_BEFORE_BASE = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cpr_order cpr_order;
#else
typedef uint32_t cpr_order;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How the correction is made.
enum cpr_step_rule
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // theta - l * grad R.
    CPR_STEP_RULE_GRADIENT = 0,
    // The prox of l * R.
    CPR_STEP_RULE_PROXIMAL = 1,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cpr_step_rule cpr_step_rule;
#else
typedef uint32_t cpr_step_rule;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// How weights decay inside a base step.
enum cpr_decay
#if defined(__cplusplus) || __STDC_VERSION__ >= 202311L
  : uint32_t
#endif // defined(__cplusplus) || __STDC_VERSION__ >= 202311L
 {
    // Not at all.
    CPR_DECAY_NONE = 0,
    // In the gradient: g + w * theta.
    CPR_DECAY_COUPLED = 1,
    // Beside it, as AdamW: theta * (1 - lr * w).
    CPR_DECAY_DECOUPLED = 2,
};
#ifndef __cplusplus
#if __STDC_VERSION__ >= 202311L
typedef enum cpr_decay cpr_decay;
#else
typedef uint32_t cpr_decay;
#endif // __STDC_VERSION__ >= 202311L
#endif // __cplusplus

// The configuration of a constraint. Fill it with `cpr_config_default`, then change what you like.
typedef struct cpr_config {
    // A `cpr_regularizer`.
    uint32_t regularizer;
    // A `cpr_bound`.
    uint32_t bound;
    // A `cpr_adaptive`.
    uint32_t adaptive;
    // A `cpr_order`.
    uint32_t order;
    // A `cpr_step_rule`.
    uint32_t step_rule;
    // 1: a gradient correction carries nothing through zero; 0: it may.
    uint32_t guard;
    // 1: lr * lambda in place of lambda in the correction; 0: lambda.
    uint32_t scale_by_lr;
    // 1: the samples of an inflection are smoothed; 0: they are not.
    uint32_t smoothed;
    // delta of huber, p of lp; not looked at for the others.
    double parameter;
    // Rate of lambda, finite and at least 0: mu/n per violation and step for sums, mu for std.
    double mu;
    // The bound (at least 0) or the factor (finite, above 0) of the first three rules for kappa.
    double kappa;
    // Steps of a warm start or between the samples of an inflection, at least 1.
    uint64_t steps;
    // Steps within which no sample of an inflection sets kappa.
    uint64_t burn_in;
    // Weight of the past in the smoothed samples, at least 0 and below 1.
    double smoothing;
} cpr_config;

// Adam. Fill it with `cpr_adam_default`, then change what you like.
typedef struct cpr_adam {
    // Decay of the first moment, at least 0 and below 1.
    double beta1;
    // Decay of the second moment, at least 0 and below 1.
    double beta2;
    // Added to the root of the second moment, finite and at least 0.
    double eps;
    // w, finite and at least 0; not looked at without a decay.
    double weight_decay;
    // A `cpr_decay`.
    uint32_t decay;
    // 1: ascend in place of descend; 0: descend.
    uint32_t maximize;
} cpr_adam;

// One matrix under a bound: rule and state, all of it.
//
// The bytes are the encoding that cpr-core documents, the same on every machine: store them as they are, and go on
// from them. `cpr_constraint_start` makes one, `cpr_constraint_report` reads it.
typedef struct cpr_constraint {
    // The record, with a checksum at its end.
    uint8_t record[CPR_CONSTRAINT_LEN];
} cpr_constraint;

// How a constraint stands.
typedef struct cpr_report {
    // Updates so far.
    uint64_t step;
    // Elements of the matrix.
    uint64_t elements;
    // R as last measured: in the order after base, before the correction of that step.
    double value;
    // The bound; 0 and without meaning while `kappa_is_set` is 0.
    double kappa;
    // The step at which kappa was set, 0 for before the first; without meaning while `kappa_is_set` is 0.
    uint64_t kappa_set_at;
    // The multiplier, at least 0; above 0 the bound acts.
    double lambda;
    // Steps with lambda above 0.
    uint64_t active_steps;
    // What the guard did: steps for l2 and std, elements for l1 and huber.
    uint64_t guarded;
    // Steps without an update because R was not finite.
    uint64_t non_finite;
    // Whether there is a bound yet: 1 or 0.
    uint32_t kappa_is_set;
    // Whether it acts, lambda above 0: 1 or 0.
    uint32_t is_active;
} cpr_report;

// The buffers of one matrix, each of `len` elements; none overlaps another.
typedef struct cpr_shard_f32 {
    // The parameters.
    float *theta;
    // Their gradient.
    const float *grad;
    // Adam's first moment, zeros at the start.
    float *m;
    // Adam's second moment, zeros at the start.
    float *v;
    // Elements.
    size_t len;
} cpr_shard_f32;

// The buffers of one matrix, each of `len` elements; none overlaps another.
typedef struct cpr_shard_f64 {
    // The parameters.
    double *theta;
    // Their gradient.
    const double *grad;
    // Adam's first moment, zeros at the start.
    double *m;
    // Adam's second moment, zeros at the start.
    double *v;
    // Elements.
    size_t len;
} cpr_shard_f64;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Fills `out` with the library's defaults for a `cpr_regularizer`; kappa is R at the start, to be chosen by you.
//
// `parameter` is delta of huber and p of lp, and not looked at for the others.
cpr_status cpr_config_default(uint32_t regularizer, double parameter, struct cpr_config *out);

// Fills `out` with Adam's defaults: beta 0.9 and 0.999, eps 1e-8, no decay.
cpr_status cpr_adam_default(struct cpr_adam *out);

// Points `out` to a text that says what a status means and what to do; it ends with a zero and is never freed.
cpr_status cpr_status_text(int32_t status, const char **out);

// Says how a constraint stands.
cpr_status cpr_constraint_report(const struct cpr_constraint *constraint, struct cpr_report *out);

// Makes the constraint of a matrix from its parameters before the first step.
cpr_status cpr_constraint_start_f32(const struct cpr_config *config,
                                    const float *theta,
                                    size_t len,
                                    struct cpr_constraint *out);

// As `cpr_constraint_start_f32`.
cpr_status cpr_constraint_start_f64(const struct cpr_config *config,
                                    const double *theta,
                                    size_t len,
                                    struct cpr_constraint *out);

// Measures parameters that were changed from outside between two steps; needed in the order before base.
cpr_status cpr_constraint_reobserve_f32(struct cpr_constraint *constraint, const float *theta, size_t len);

// As `cpr_constraint_reobserve_f32`.
cpr_status cpr_constraint_reobserve_f64(struct cpr_constraint *constraint, const double *theta, size_t len);

// Holds a whole matrix to its bound after a base step of your own, taken at learning rate `lr`.
cpr_status cpr_constrain_f32(struct cpr_constraint *constraint, double lr, float *theta, size_t len);

// As `cpr_constrain_f32`.
cpr_status cpr_constrain_f64(struct cpr_constraint *constraint, double lr, double *theta, size_t len);

// Step `t` = 1, 2, ... of Adam on a whole matrix and its constraint, at learning rate `lr`.
//
// A gradient that is not finite changes nothing, and the status says so: with several matrices look at all gradients
// first (`cpr_all_finite_f32`), so that a step is taken by all or by none.
cpr_status cpr_adam_step_f32(struct cpr_constraint *constraint,
                             const struct cpr_adam *adam,
                             uint64_t t,
                             double lr,
                             const struct cpr_shard_f32 *shard);

// As `cpr_adam_step_f32`.
cpr_status cpr_adam_step_f64(struct cpr_constraint *constraint,
                             const struct cpr_adam *adam,
                             uint64_t t,
                             double lr,
                             const struct cpr_shard_f64 *shard);

// Adam alone, for biases and whatever else is under no bound.
cpr_status cpr_adam_free_step_f32(const struct cpr_adam *adam,
                                  uint64_t t,
                                  double lr,
                                  const struct cpr_shard_f32 *shard);

// As `cpr_adam_free_step_f32`.
cpr_status cpr_adam_free_step_f64(const struct cpr_adam *adam,
                                  uint64_t t,
                                  double lr,
                                  const struct cpr_shard_f64 *shard);

// Sets `out` to 1 where every element is finite, else to 0.
cpr_status cpr_all_finite_f32(const float *values, size_t len, uint32_t *out);

// As `cpr_all_finite_f32`.
cpr_status cpr_all_finite_f64(const double *values, size_t len, uint32_t *out);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* CPR_H */
