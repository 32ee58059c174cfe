// The element-wise rules of a correction, from (θ before the base step, θ after it): cpr_core's shrink.rs.
#pragma once
#include "power.cuh"

enum CorrectionKind : u64 { UNMOVED, PULL, SCALE, SIGN, SOFT_THRESHOLD, CLIP, HUBER_PROX, POWER };

/// A correction as phase 3 leaves it in memory; its scalars are rounded where they meet a slice.
///
/// PULL: a = rate, b = center, flag = proximal. SCALE: a = scale, b = center. SIGN: a = step, flag = guard.
/// SOFT_THRESHOLD: a = threshold. CLIP: a = step, b = δ, flag = guard. HUBER_PROX: a = step, b = δ.
/// POWER: a = p, b = step, flag = flush.
struct Correction {
    u64 kind, flag;
    double a, b;
};

/// A step length: at most the largest number, since ∞·0 would be NaN.
template <class T>
HD T length(double step) {
    T rounded = (T)step;
    return rounded > Real<T>::MAX ? Real<T>::MAX : rounded;
}

/// θ·X/(X + strength), X = |x|^(2 − p), and its forms for p >= 2.
template <class T>
struct PowerStep {
    u32 form; // 0 ratio, 1 constant, 2 reciprocal
    bool late;
    T strength, smallest;
    Power<T> power;

    HD void set(double p, double given, bool is_late, bool flush) {
        form = p < 2.0 ? 0 : p == 2.0 ? 1 : 2;
        late = is_late;
        // So that X = 0 means all of the shrinkage also where the strength rounds to 0.
        T least = form == 0 ? Real<T>::SMALLEST_NORMAL : (T)0;
        strength = length<T>(given);
        strength = strength > least ? strength : least;
        smallest = flush ? Real<T>::SMALLEST_NORMAL : (T)0;
        power = power_of<T>(form == 0 ? 2.0 - p : p - 2.0);
    }

    HD T element(T before, T after) const {
        T x = (T)1;
        if (form != 1) x = raise(magnitude(late ? after : before), power);
        x = x > Real<T>::MAX ? Real<T>::MAX : x;
        T w;
        if (form == 0) {
            w = after * (x / (x + strength));
        } else if (form == 1) {
            w = after / ((T)1 + strength);
        } else {
            w = after / ((T)1 + strength * x);
        }
        return magnitude(w) < smallest ? (T)0 : w;
    }
};

template <class T>
HD T soft_threshold(T x, T threshold) {
    T rest = magnitude(x) - threshold;
    T kept = rest <= (T)0 ? (T)0 : rest; // NaN stays NaN
    return x < (T)0 ? -kept : kept;
}

template <class T>
HD T sign(T x) {
    return x > (T)0 ? (T)1 : x < (T)0 ? (T)-1 : (T)0;
}

/// A correction in the parameters' type.
template <class T>
struct Shrink {
    u32 kind;
    bool flag;
    T a, b, c;
    PowerStep<T> power;

    HD void set(const Correction& given) {
        kind = (u32)given.kind;
        flag = given.flag != 0;
        a = (T)given.a;
        b = (T)given.b;
        c = (T)0;
        switch (kind) {
            case PULL:
            case SIGN:
            case CLIP: a = length<T>(given.a); break;
            case HUBER_PROX: // within, limit, beyond
                a = (T)(1.0 / (1.0 + given.a));
                b = (T)(given.b * (1.0 + given.a));
                c = (T)(given.a * given.b);
                break;
            case POWER: power.set(given.a, given.a * given.b, false, flag); break;
            default: break;
        }
    }

    /// θ − direction; where the guard is on and that crosses zero, 0, which is counted.
    HD T descend(T after, T direction, u32* stopped) const {
        T moved = after - direction;
        bool crosses = flag && ((after > (T)0 && moved < (T)0) || (after < (T)0 && moved > (T)0));
        *stopped += crosses ? 1 : 0;
        return crosses ? (T)0 : moved;
    }

    HD T element(T before, T after, u32* stopped) const {
        switch (kind) {
            case PULL: return after - a * ((flag ? after : before) - b);
            case SCALE: return b + a * (after - b);
            case SIGN: return descend(after, a * sign(before), stopped);
            case SOFT_THRESHOLD: return soft_threshold(after, a);
            case CLIP: {
                T above = before > b ? b : before;
                T clipped = above < -b ? -b : above;
                return descend(after, a * clipped, stopped);
            }
            case HUBER_PROX:
                return magnitude(after) <= b ? after * a : after - c * sign(after);
            case POWER: return power.element(before, after);
            default: return after;
        }
    }
};
