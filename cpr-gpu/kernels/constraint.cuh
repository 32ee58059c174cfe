// Phase 3, O(1): cpr_core's statistic.rs, bound/, multiplier.rs and constraint.rs over the record in device memory.
#pragma once
#include "board.cuh"

HD Statistic merged(const Statistic& a, const Statistic& b, bool moments) {
    if (a.count == 0) return b;
    if (b.count == 0) return a;
    u64 count = a.count + b.count;
    if (!moments) return {count, a.x + b.x, 0.0};
    double share = (double)b.count / (double)count;
    double delta = b.x - a.x;
    return {count, a.x + delta * share,
            (a.y + b.y) + delta * delta * ((double)a.count * share)};
}

HD double value_of(const Record& record) {
    const Statistic& s = record.carried;
    if (record.regularizer != STD) return s.x;
    return s.count == 0 ? 0.0 : sqrt(s.y / (double)(s.count - 1));
}

enum BoundInit : u32 { UNIFORM, PER_ELEMENT, DEPENDENT, WARM_START, INFLECTION };
enum BoundState : u32 { WARM_UP, WATCHING, WATCHING_ONE, WATCHING_TWO, BOUND_SET };

/// Takes R of the record's step; whether a bound is in force on it. Not on the step that sets it.
HD bool observe_bound(Record& record, double value, double* kappa) {
    u64 t = record.step;
    if (record.bound == BOUND_SET) {
        *kappa = bits<double>(record.bound_numbers[0]);
        return true;
    }
    bool sets = false;
    if (record.bound == WARM_UP) {
        sets = t >= record.init_numbers[0];
    } else if (t % record.init_numbers[0] == 0) {
        double last = bits<double>(record.bound_numbers[0]);
        double now = value;
        if (record.bound != WATCHING && (record.flags & SMOOTHING)) {
            now = last + (1.0 - bits<double>(record.init_numbers[2])) * (value - last);
        }
        double increase = now - last;
        bool inflected =
            record.bound == WATCHING_TWO && increase < bits<double>(record.bound_numbers[1]);
        sets = inflected && t > record.init_numbers[1];
        record.bound_numbers[0] = bits<u64>(now);
        record.bound_numbers[1] = record.bound == WATCHING ? 0 : bits<u64>(increase);
        record.bound = record.bound == WATCHING ? WATCHING_ONE : WATCHING_TWO;
    }
    if (sets) {
        record.bound = BOUND_SET;
        record.bound_numbers[0] = bits<u64>(value);
        record.bound_numbers[1] = t;
    }
    return false;
}

/// center + scale·(θ − center), rate = 1 − scale, in the form that keeps its digits.
HD Correction prox(double scale, double center, double rate) {
    if (scale < 0.5) return {SCALE, 0, scale, center};
    return {PULL, 1, rate, center};
}

HD Correction plan_correction(Record& record, double ell, double value, double kappa) {
    bool guard = record.flags & GUARD, proximal = record.step_rule == 1, before = record.order == 1;
    switch (record.regularizer) {
        case L1:
            if (proximal) return {SOFT_THRESHOLD, 0, ell, 0.0};
            return {SIGN, guard, ell, 0.0};
        case HUBER: return {proximal ? HUBER_PROX : CLIP, guard, ell, record.parameter};
        case LP: return {POWER, (record.flags & FLUSH) != 0, record.parameter, ell};
        default: break;
    }
    bool std = record.regularizer == STD;
    double center = std ? record.carried.x : 0.0, share = 2.0 * ell;
    if (std) {
        if (value == 0.0) return {UNMOVED, 0, 0.0, 0.0};
        share = ell / ((double)(record.carried.count - 1) * value);
    }
    if (proximal) {
        if (std && !before) {
            double scale = 1.0 - share;
            return prox(scale > 0.0 ? scale : 0.0, center, share < 1.0 ? share : 1.0);
        }
        return prox(1.0 / (1.0 + share), center, share / (1.0 + share));
    }
    if (!guard || !(share > 1.0)) return {PULL, 0, share, center};
    double scale = 0.0;
    if (!(value <= kappa || kappa == 0.0)) scale = std ? kappa / value : sqrt(kappa / value);
    record.lambda = 0.0;
    record.guarded += 1;
    if (before) return {PULL, 0, 1.0 - scale, center};
    return {SCALE, 0, scale, center};
}

/// λ and κ by R of this step, which is the record's carried statistic, and the correction.
HD Correction ascend(Record& record, double lr) {
    const Correction unmoved = {UNMOVED, 0, 0.0, 0.0};
    record.step += 1;
    if (record.count == 0) return unmoved;
    double value = value_of(record), kappa = 0.0;
    if (!is_finite(value)) {
        record.non_finite += 1;
        return unmoved;
    }
    if (!observe_bound(record, value, &kappa) || kappa == HUGE_VAL) return unmoved;
    double rate = record.regularizer == STD ? record.mu : record.mu / (double)record.count;
    double before = record.lambda;
    double raised = before + rate * (value - kappa);
    if (raised == raised) {
        const double most = Real<double>::MAX;
        record.lambda = raised < 0.0 ? 0.0 : raised > most ? most : raised;
    }
    double lambda = record.lambda;
    bool tightens = (record.adaptive == 1 && before > 0.0 && lambda == 0.0)
                    || (record.adaptive == 2 && (record.flags & HAS_RISEN) && lambda == 0.0);
    if (tightens && value < kappa) record.bound_numbers[0] = bits<u64>(value);
    double ell = record.flags & SCALE_BY_LR ? lr * lambda : lambda;
    if (lambda > 0.0) {
        record.flags |= HAS_RISEN;
        record.active += 1;
    }
    return ell > 0.0 ? plan_correction(record, ell, value, kappa) : unmoved;
}

/// Takes the measure of the θ just written. Of no elements it is a sum, whatever the regularizer.
HD void carry(Record& record, const Statistic& measured) {
    record.carried = measured;
    record.form = record.regularizer == STD && measured.count > 0;
}
