// x^a for x >= 0: the bits of cpr_core's power.rs for every a of the crate, at most 64; its comments say why. Double is it operation
// by operation; float clamps n before it is rounded, takes k as it is and adds the bias of an exponent later, where power.rs clamps
// the bits, takes k times 2^23 and has the bias in the rounding constant.
#pragma once
#include "real.cuh"

enum PowerRule : u32 { SQUARE_ROOT, IDENTITY, THREE_HALVES, SQUARE, GENERAL };

/// a cut in two, and 2a/ln 2.
template <class T>
struct Power {
    u32 rule;
    T exponent_high, exponent_low, factor;
};

template <class T>
HD Power<T> power_of(double exponent);

HD u32 power_rule(double exponent) {
    return exponent == 0.5   ? SQUARE_ROOT
           : exponent == 1.0 ? IDENTITY
           : exponent == 1.5 ? THREE_HALVES
           : exponent == 2.0 ? SQUARE
                             : GENERAL;
}

constexpr double TWO_OVER_LN_2 = 2.8853900817779268;

template <>
HD Power<double> power_of<double>(double exponent) {
    double high = leading_bits(exponent, 11);
    return {power_rule(exponent), high, exponent - high, exponent * TWO_OVER_LN_2};
}

template <>
HD Power<float> power_of<float>(double exponent) {
    double high = leading_bits(exponent, 37);
    return {power_rule(exponent), (float)high, (float)(exponent - high),
            (float)(exponent * TWO_OVER_LN_2)};
}

template <class T>
HD T clamped(T value, T limit) {
    value = value < limit ? value : limit;
    return value > -limit ? value : -limit;
}

constexpr float ROUND_SINGLE = 12582912.0f; // 1.5·2^23
constexpr double ROUND = 6755399441055744.0; // 1.5·2^52

/// 2^r for |r| a little above ½ at most.
HD float power_of_rest(float r) {
    float r2 = r * r;
    return 1.0f
           + r * (((float)LN_2 + 0.2402265f * r)
                  + r2 * ((5.550343e-2f + 9.61807e-3f * r)
                          + r2 * (1.3397961e-3f + 1.5459307e-4f * r)));
}

/// `mantissa`·2^n for `shifted` = n + 1.5·2^23, by two powers of two.
HD float times_power_of_two(float mantissa, float shifted) {
    u32 exponent = bits<u32>(shifted) - (bits<u32>(ROUND_SINGLE) - 254u);
    u32 half = exponent >> 1, other_half = exponent - half;
    return mantissa * bits<float>(half << 23) * bits<float>(other_half << 23);
}

HD float raise_general(float x, const Power<float>& a) {
    bool subnormal = x < Real<float>::SMALLEST_NORMAL;
    float m, k;
    split_exponent(x * (subnormal ? 16777216.0f : 1.0f), &m, &k);
    k = k - (subnormal ? 24.0f : 0.0f);
    float s = (m - 1.0f) / (m + 1.0f);
    float square = s * s;
    float tail = (0.33333343f + 0.1999439f * square) + 0.14789975f * (square * square);
    float whole = a.exponent_high * k;
    float part = a.factor * (s + (s * square) * tail);
    float shifted = clamped(whole + part, 250.0f) + ROUND_SINGLE;
    float n = shifted - ROUND_SINGLE;
    float r = (whole - n) + (part + a.exponent_low * k);
    bool ordinary = x >= Real<float>::TINIEST && x <= Real<float>::MAX;
    return ordinary ? times_power_of_two(power_of_rest(r), shifted) : x;
}

HD double cubic(double c0, double c1, double c2, double c3, double x, double x2) {
    return (c0 + c1 * x) + (c2 + c3 * x) * x2;
}

/// 2^n for `shifted` = n + 1.5·2^52.
HD double power_of_two(double shifted) {
    return bits<double>((bits<u64>(shifted) << 52) + 0x3ff0000000000000ull);
}

/// 2^r for |r| a little above ½ at most.
HD double power_of_rest(double r) {
    double r2 = r * r, r4 = r2 * r2;
    double upper = cubic(1.3333558146410099e-3, 1.5403530461987697e-4, 1.5252733840630631e-5,
                         1.3215430975328317e-6, r, r2)
                   + ((1.0178056256133606e-7 + 7.0747733321519556e-9 * r)
                      + 4.456126507941785e-10 * r2)
                         * r4;
    double lower = cubic(LN_2, 0.2402265069591012, 5.5504108664821604e-2, 9.61812910759406e-3, r,
                         r2);
    return 1.0 + r * (lower + upper * r4);
}

HD double raise_general(double x, const Power<double>& a) {
    bool subnormal = x < Real<double>::SMALLEST_NORMAL;
    double m, k;
    split_exponent(x * (subnormal ? 18014398509481984.0 : 1.0), &m, &k);
    k = k - (subnormal ? 54.0 : 0.0);
    double s = (m - 1.0) / (m + 1.0);
    double square = s * s, fourth = square * square;
    double tail = cubic(0.3333333333333333, 0.2000000000000044, 0.14285714285401804,
                        0.11111111195857372, square, fourth)
                  + cubic(9.090897820022362e-2, 7.693119853805562e-2, 6.634386505101608e-2,
                          6.543313745598621e-2, square, fourth)
                        * (fourth * fourth);
    double whole = a.exponent_high * k;
    double part = a.factor * (s + (s * square) * tail);
    double shifted = clamped(whole + part, 1100.0) + ROUND;
    double n = shifted - ROUND;
    double r = clamped((whole - n) + (part + a.exponent_low * k), 1.0);
    double mantissa = power_of_rest(r);
    double half = n * 0.5 + ROUND;
    double other_half = (n - (half - ROUND)) + ROUND;
    bool ordinary = x >= Real<double>::TINIEST && x <= Real<double>::MAX;
    return ordinary ? mantissa * power_of_two(half) * power_of_two(other_half) : x;
}

template <class T>
HD T raise(T x, const Power<T>& a) {
    switch (a.rule) {
        case SQUARE_ROOT: return root(x);
        case IDENTITY: return x;
        case THREE_HALVES: return x * root(x);
        case SQUARE: return x * x;
        default: return raise_general(x, a);
    }
}
