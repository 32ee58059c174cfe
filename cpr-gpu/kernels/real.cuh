// The float types of parameters and the tricks on their bits: cpr_core's real.rs and extended.rs.
#pragma once
#include "platform.cuh"

template <class T>
struct Real;

template <>
struct Real<float> {
    static constexpr float MAX = 3.40282346638528859811704183484516925e+38f;
    static constexpr float TINIEST = 1.40129846432481707e-45f;
    static constexpr float SMALLEST_NORMAL = 1.17549435082228750796873653722224568e-38f;
};

template <>
struct Real<double> {
    static constexpr double MAX = 1.79769313486231570814527423731704357e+308;
    static constexpr double TINIEST = 4.94065645841246544e-324;
    static constexpr double SMALLEST_NORMAL = 2.22507385850720138309023271733240406e-308;
};

constexpr double LN_2 = 0.693147180559945309417232121458176568;

HD float root(float x) { return sqrtf(x); }
HD double root(double x) { return sqrt(x); }
HD float magnitude(float x) { return bits<float>(bits<u32>(x) & 0x7fffffffu); }
HD double magnitude(double x) { return bits<double>(bits<u64>(x) & 0x7fffffffffffffffull); }

HD bool is_finite(double x) { return magnitude(x) <= Real<double>::MAX; }
HD bool is_finite(float x) { return magnitude(x) <= Real<float>::MAX; }

/// `value` = m·2^e with m in [√½, √2), for a normal value > 0.
HD void split_exponent(double value, double* m, double* e) {
    const u64 one = 0x3ff0000000000000ull, sqrt_half = 0x3fe6a09e667f3bcdull;
    const u64 whole = 0x4330000000000000ull; // 2^52
    u64 shifted = bits<u64>(value) + (one - sqrt_half);
    *m = bits<double>((shifted & ((1ull << 52) - 1)) + sqrt_half);
    *e = bits<double>((shifted >> 52) | whole) - (4503599627370496.0 + 1023.0);
}

HD void split_exponent(float value, float* m, float* e) {
    const u32 one = 0x3f800000u, sqrt_half = 0x3f3504f3u, whole = 0x4b000000u; // 2^23
    u32 shifted = bits<u32>(value) + (one - sqrt_half);
    *m = bits<float>((shifted & ((1u << 23) - 1)) + sqrt_half);
    *e = bits<float>((shifted >> 23) | whole) - (8388608.0f + 127.0f);
}

/// `value` without the last `dropped` bits of its mantissa.
HD double leading_bits(double value, u32 dropped) {
    return bits<double>(bits<u64>(value) & (~0ull << dropped));
}

/// The rounded product, and in `error` what it lacks of the exact one (Dekker, Veltkamp).
HD double two_product(double a, double b, double* error) {
    const double split = 134217729.0; // 2^27 + 1
    double product = a * b;
    double scaled_a = split * a, a_high = scaled_a - (scaled_a - a), a_low = a - a_high;
    double scaled_b = split * b, b_high = scaled_b - (scaled_b - b), b_low = b - b_high;
    *error = ((a_high * b_high - product) + a_high * b_low + a_low * b_high) + a_low * b_low;
    return product;
}

/// The rounded sum, and in `error` what it lacks of the exact one (Knuth).
HD double two_sum(double a, double b, double* error) {
    double sum = a + b;
    double b_part = sum - a;
    double a_part = sum - b_part;
    *error = (a - a_part) + (b - b_part);
    return sum;
}

/// bf16 and f16 as their bits; nearest, ties to even, as the host's conversions.
HD float from_bf16(u16 half) { return bits<float>((u32)half << 16); }

HD u16 to_bf16(float value) {
    u32 raw = bits<u32>(value);
    if ((raw & 0x7fffffffu) > 0x7f800000u) return (u16)((raw >> 16) | 0x40u); // a NaN stays one
    return (u16)((raw + 0x7fffu + ((raw >> 16) & 1u)) >> 16);
}

HD float from_f16(u16 half) {
    u32 sign = (u32)(half & 0x8000u) << 16, rest = half & 0x7fffu;
    if (rest >= 0x7c00u) { // infinite; a NaN becomes a quiet one
        return bits<float>(sign | 0x7f800000u | (rest > 0x7c00u ? 0x400000u | (rest & 0x3ffu) << 13 : 0));
    }
    // As a float of the same fields, 112 binades lower; the product is exact, subnormal numbers included.
    float scaled = bits<float>(rest << 13) * 5.19229685853482762853e+33f; // 2^112
    return bits<float>(bits<u32>(scaled) | sign);
}

HD u16 to_f16(float value) {
    u32 raw = bits<u32>(value), sign = (raw >> 16) & 0x8000u, rest = raw & 0x7fffffffu;
    if (rest > 0x7f800000u) return (u16)(sign | 0x7e00u | ((rest >> 13) & 0x3ffu)); // NaN
    if (rest >= 0x477ff000u) return (u16)(sign | 0x7c00u);                          // 65520 and more
    if (rest < 0x38800000u) { // subnormal: a sum with 2^-1 leaves the bits of a multiple of 2^-24
        float aligned = bits<float>(rest) + 0.5f;
        return (u16)(sign | (bits<u32>(aligned) - 0x3f000000u));
    }
    u32 rounded = rest + 0xfffu + ((rest >> 13) & 1u);
    return (u16)(sign | ((rounded - 0x38000000u) >> 13));
}
