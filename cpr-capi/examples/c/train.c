/* AdamCPR from C: least squares under a bound, in static memory. The same file runs on the host (host.c) and on a
 * Cortex-M4 (target.c), and comes to the same bits. */
#include "train.h"

#include "cpr.h"

#define WEIGHTS 24
#define SAMPLES 32

static float weights[WEIGHTS], weights_grad[WEIGHTS], weights_m[WEIGHTS], weights_v[WEIGHTS];
static float bias[1], bias_grad[1], bias_m[1], bias_v[1];
static uint32_t seed;

static float uniform(void) { /* 16 bits in [-1, 1) */
    seed = seed * 1664525u + 1013904223u;
    return (float)(int16_t)(seed >> 16) / 32768.0f;
}

/* The gradient of the mean squared residual over two; returns that loss. */
static float differentiate(void) {
    float loss = 0.0f;
    for (int i = 0; i < WEIGHTS; i++) weights_grad[i] = 0.0f;
    bias_grad[0] = 0.0f;
    seed = 2;
    for (int s = 0; s < SAMPLES; s++) {
        float x[WEIGHTS], residual = bias[0] - 0.25f;
        for (int i = 0; i < WEIGHTS; i++) {
            x[i] = uniform();
            residual += x[i] * (weights[i] - 0.125f * (float)(i % 5));
        }
        for (int i = 0; i < WEIGHTS; i++) weights_grad[i] += x[i] * residual / SAMPLES;
        bias_grad[0] += residual / SAMPLES;
        loss += residual * residual / (2 * SAMPLES);
    }
    return loss;
}

/* Leaves the function with a text where a call did not do what it was asked for. */
#define CHECK(call)                                                   \
    do {                                                              \
        cpr_status status = (call);                                   \
        if (status != CPR_STATUS_OK) {                                \
            const char *text = "";                                    \
            if (cpr_status_text(status, &text) == CPR_STATUS_OK) say_text(text); \
            return 1;                                                 \
        }                                                             \
    } while (0)

int train(void) {
    const cpr_shard_f32 matrix = {weights, weights_grad, weights_m, weights_v, WEIGHTS};
    const cpr_shard_f32 vector = {bias, bias_grad, bias_m, bias_v, 1};
    const double lr = 0.01;
    cpr_config config;
    cpr_adam adam;
    cpr_constraint constraint;
    cpr_report report;
    float loss = 0.0f;

    seed = 1;
    for (int i = 0; i < WEIGHTS; i++) weights[i] = 0.25f * uniform();
    CHECK(cpr_adam_default(&adam));
    CHECK(cpr_config_default(CPR_REGULARIZER_L2, 0.0, &config));
    config.kappa = 2.0; /* times R of the weights as they are now */
    CHECK(cpr_constraint_start_f32(&config, weights, WEIGHTS, &constraint));
    for (uint64_t t = 1; t <= 200; t++) {
        loss = differentiate();
        CHECK(cpr_adam_step_f32(&constraint, &adam, t, lr, &matrix));
        CHECK(cpr_adam_free_step_f32(&adam, t, lr, &vector)); /* a bias is under no bound */
    }
    CHECK(cpr_constraint_report(&constraint, &report));
    say("loss", loss);
    say("R", report.value);
    say("kappa", report.kappa);
    say("lambda", report.lambda);
    return 0;
}
