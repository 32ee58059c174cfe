// 2^x within bounds: cpr_core's exponential.rs, the same bits; its comments say why.
#pragma once
#include "power.cuh"

HD float exp2_bounded(float x) {
    float bounded = clamped(x, 120.0f);
    float shifted = bounded + ROUND_SINGLE;
    return times_power_of_two(power_of_rest(bounded - (shifted - ROUND_SINGLE)), shifted);
}

HD double exp2_bounded(double x) {
    double bounded = clamped(x, 1000.0);
    double shifted = bounded + ROUND;
    return power_of_rest(bounded - (shifted - ROUND)) * power_of_two(shifted);
}
