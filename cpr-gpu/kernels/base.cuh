// Base optimizers: cpr_core's bias.rs and base/.
#pragma once
#include "board.cuh"
#include "exponential.cuh"

/// ln `value` as high + low for 0 < value < 1.
HD double logarithm(double value, double* low) {
    const double ln_2 = leading_bits(LN_2, 11);
    const double ln_2_rest = (LN_2 - ln_2) + 2.3190468138462996e-17;
    double m, exponent;
    if (value < Real<double>::SMALLEST_NORMAL) {
        split_exponent(value * 18014398509481984.0, &m, &exponent);
        exponent = exponent - 54.0;
    } else {
        split_exponent(value, &m, &exponent);
    }
    double numerator = m - 1.0, denominator_rest, error;
    double denominator = two_sum(m, 1.0, &denominator_rest);
    double s = numerator / denominator;
    double product = two_product(s, denominator, &error);
    double s_rest = ((numerator - product) - error - s * denominator_rest) / denominator;
    double square = s * s, series = 0.0;
    for (int k = 12; k >= 1; --k) series = square * (series + 1.0 / (double)(2 * k + 1));
    double small = 2.0 * (s_rest + s * series) + exponent * ln_2_rest;
    double sum = two_sum(exponent * ln_2, 2.0 * s, &error);
    return two_sum(sum, error + small, low);
}

/// 1 − βᵗ for t >= 1, from ln β = log + rest; −∞ stands for β = 0.
HD double bias_correction(double log, double rest, u64 t) {
    if (log == -HUGE_VAL) return 1.0;
    double steps = (double)t, error;
    double power = two_product(steps, log, &error);
    double left = error + steps * rest;
    double difference = expm1(power);
    return -(difference + left * (1.0 + difference));
}

/// A strength of decay times `factor`: none for one that is negative or NaN, and at most the largest number.
HD double scaled(double strength, double factor) {
    const double most = Real<double>::MAX;
    double product = strength * factor;
    return factor > 0.0 ? (product < most ? product : most) : 0.0;
}

/// The scalars of step `t` at learning rate `lr`, every decay times `factor`; not those of Amos's base.
HD Plan plan_step(const Set& set, u64 t, double lr, double factor) {
    double decay = scaled(set.decay, factor);
    Plan plan = {};
    plan.lr = lr;
    plan.sign = set.maximize ? -1.0 : 1.0;
    plan.coupled = set.decay_kind == COUPLED ? decay : 0.0;
    plan.keep = set.decay_kind == DECOUPLED ? 1.0 - lr * decay : 1.0;
    switch (set.kind) {
        case MOMENTUM:
            plan.s[0] = set.momentum;
            plan.s[1] = t <= 1 ? 1.0 : 1.0 - set.dampening;
            plan.s[2] = set.nesterov ? 1.0 : 0.0;
            plan.s[3] = set.nesterov ? set.momentum : 1.0;
            break;
        case ADAM:
        case AMSGRAD:
            plan.s[0] = 1.0 - set.beta1;
            plan.s[1] = set.beta2;
            plan.s[2] = 1.0 - set.beta2;
            plan.s[3] = lr / bias_correction(set.log1, set.log1_rest, t);
            plan.s[4] = 1.0 / sqrt(bias_correction(set.log2, set.log2_rest, t));
            plan.s[5] = set.eps;
            break;
        default: break;
    }
    double strength = lr * scaled(set.lambda, factor);
    double l1_weight_decay = lr * scaled(set.l1_weight_decay, factor);
    plan.late = set.late;
    plan.flush = set.flush;
    switch (set.after) {
        case P_NORM:
            plan.after = strength == 0.0 ? NOTHING : P_NORM;
            plan.after_a = set.p;
            plan.after_b = set.p * strength;
            break;
        case L1_DECAY:
            plan.after = strength == 0.0 && l1_weight_decay == 0.0 ? NOTHING : L1_DECAY;
            plan.after_a = strength;
            plan.after_b = 1.0 + l1_weight_decay;
            break;
        case THREE_HALVES_DECAY:
            plan.after = strength == 0.0 ? NOTHING : THREE_HALVES_DECAY;
            plan.after_a = strength / 2.0;
            plan.after_b = plan.after_a * plan.after_a;
            break;
        default: break;
    }
    return plan;
}

/// A base optimizer's step of one element, in the parameters' type.
template <class T, u64 KIND>
struct Base {
    static constexpr int MOMENTS = KIND == SGD || KIND == AMOS                 ? 0
                                   : KIND == MOMENTUM || KIND == AMOS_MOMENTUM ? 1
                                   : KIND == ADAM                              ? 2
                                                                               : 3;
    T sign, coupled, keep, lr, s[6];

    HD void set(const Plan& plan) {
        sign = (T)plan.sign;
        coupled = (T)plan.coupled;
        keep = (T)plan.keep;
        lr = (T)plan.lr;
#pragma unroll
        for (int i = 0; i < 6; ++i) s[i] = (T)plan.s[i];
    }

    HD T element(T theta, T gradient, T& m, T& v, T& top) const {
        if (KIND == AMOS || KIND == AMOS_MOMENTUM) {
            T update = s[0] * gradient + s[1] * theta;
            if (KIND == AMOS) return theta - update;
            m = s[2] * m + s[3] * update;
            return theta - m;
        }
        T kept = theta * keep, g = sign * gradient + coupled * theta;
        if (KIND == SGD) return kept - lr * g;
        if (KIND == MOMENTUM) {
            m = s[0] * m + s[1] * g;
            return kept - lr * (s[2] * g + s[3] * m);
        }
        m = m + s[0] * (g - m);
        v = s[1] * v + s[2] * (g * g);
        if (KIND == AMSGRAD) top = v < top ? top : v;
        T second = KIND == AMSGRAD ? top : v;
        return kept - s[3] * (m / (root(second) * s[4] + s[5]));
    }
};

/// AdaDecay: the decay of an element before its base step, by the magnitude of its gradient.
template <class T>
struct ElementDecay {
    T mean, rate, twice;

    HD void set(const Plan& plan) {
        mean = (T)plan.mean;
        rate = (T)plan.rate;
        twice = (T)plan.twice;
        // Of a deviation of 0, or one too small to divide by, nothing is to be seen.
        if (!is_finite(rate)) rate = (T)0;
    }

    HD T element(T theta, T gradient) const {
        if (twice == (T)0) return theta;
        T power = exp2_bounded((magnitude(gradient) - mean) * rate);
        return theta * ((T)1 - twice / ((T)1 + power));
    }
};

/// The decay after a base step.
template <class T>
struct After {
    u32 kind;
    T a, b;
    PowerStep<T> power;

    HD void set(const Plan& plan) {
        kind = (u32)plan.after;
        a = (T)plan.after_a;
        b = (T)plan.after_b;
        if (kind == P_NORM) power.set(plan.after_a, plan.after_b, plan.late != 0, plan.flush != 0);
    }

    HD T element(T before, T after) const {
        switch (kind) {
            case P_NORM: return power.element(before, after);
            case L1_DECAY: return soft_threshold(after, a) / b;
            case THREE_HALVES_DECAY: {
                T size = magnitude(after);
                T denominator = a + root(b + size);
                T r = size == (T)0 ? (T)0 : size / denominator;
                return after < (T)0 ? -(r * r) : r * r;
            }
            default: return after;
        }
    }
};
