// Layers of training in one or two passes over memory each; src/nn/fused.rs launches them. A row, a channel or a
// chunk of rows is a block. Sums run in f32 (in f64 for batch norm) and in an order that depends on the shapes alone.
// No tensor has 2^32 elements.
#include "real.cuh"

/// What a launch takes: addresses, counts, and floats as the bits of an f64.
struct Words {
    u64 at[12];
};

/// An element of bf16.
struct Half {
    u16 raw;
};

HD float get(const float* x, u64 i) { return x[i]; }
HD float get(const Half* x, u64 i) { return from_bf16(x[i].raw); }
HD void put(float* y, u64 i, float value) { y[i] = value; }
HD void put(Half* y, u64 i, float value) { y[i].raw = to_bf16(value); }

template <class S>
HD S* array(const Words& w, u32 word) {
    return (S*)w.at[word];
}
HD float real(const Words& w, u32 word) { return (float)bits<double>(w.at[word]); }

HD float larger(float a, float b) { return a > b ? a : b; }

struct Sum {
    template <class T>
    static HD T join(T a, T b) {
        return a + b;
    }
};
struct Most {
    static HD float join(float a, float b) { return larger(a, b); }
};

/// Joins the numbers of the threads of a block in a fixed tree; the outcome is `shared[0]`.
template <class Join, class T>
__device__ void fold(T* shared) {
    for (u32 half = BLOCK / 2; half > 0; half /= 2) {
        THREADS {
            u32 i = threadIdx.x;
            if (i < half) shared[i] = Join::join(shared[i], shared[i + half]);
        }
        SYNC;
    }
}

/// Probabilities of the keys up to each query, 0 after it: scores, y (which may be the scores), T, factor of the scores.
template <class S>
__device__ void softmax_forward_block(const Words& w) {
    __shared__ float most[BLOCK], sums[BLOCK];
    const u64 length = w.at[2], query = blockIdx.x % length;
    const S* x = array<const S>(w, 0) + blockIdx.x * length;
    S* y = array<S>(w, 1) + blockIdx.x * length;
    const float factor = real(w, 3);
    THREADS {
        float top = -HUGE_VALF;
        for (u64 i = threadIdx.x; i <= query; i += BLOCK) top = larger(top, get(x, i) * factor);
        most[threadIdx.x] = top;
    }
    SYNC;
    fold<Most>(most);
    THREADS {
        float sum = 0.0f;
        for (u64 i = threadIdx.x; i <= query; i += BLOCK) sum += expf(get(x, i) * factor - most[0]);
        sums[threadIdx.x] = sum;
    }
    SYNC;
    fold<Sum>(sums);
    THREADS {
        const float inverse = 1.0f / sums[0];
        for (u64 i = threadIdx.x; i < length; i += BLOCK) {
            put(y, i, i <= query ? expf(get(x, i) * factor - most[0]) * inverse : 0.0f);
        }
    }
    SYNC;
}

/// factor·p·(g − Σ p·g): probabilities, their gradient, that of the scores (may be the same array), T, factor.
template <class S>
__device__ void softmax_backward_block(const Words& w) {
    __shared__ float sums[BLOCK];
    const u64 length = w.at[3], query = blockIdx.x % length, start = blockIdx.x * length;
    const S* p = array<const S>(w, 0) + start;
    const S* g = array<const S>(w, 1) + start;
    S* dx = array<S>(w, 2) + start;
    const float factor = real(w, 4);
    THREADS {
        float sum = 0.0f;
        for (u64 i = threadIdx.x; i <= query; i += BLOCK) sum += get(p, i) * get(g, i);
        sums[threadIdx.x] = sum;
    }
    SYNC;
    fold<Sum>(sums);
    THREADS {
        for (u64 i = threadIdx.x; i < length; i += BLOCK) {
            put(dx, i, i <= query ? factor * get(p, i) * (get(g, i) - sums[0]) : 0.0f);
        }
    }
    SYNC;
}

HD u32 turned(u32 x, u32 by) { return x << by | x >> (32 - by); }

HD void quarter(u32& a, u32& b, u32& c, u32& d) {
    a += b, d = turned(d ^ a, 16);
    c += d, b = turned(b ^ c, 12);
    a += b, d = turned(d ^ a, 8);
    c += d, b = turned(b ^ c, 7);
}

/// Block number `block` of ChaCha with 8 rounds, nonce 0.
HD void chacha8(const u32 (&key)[8], u64 block, u32 (&out)[16]) {
    u32 start[16] = {0x61707865u, 0x3320646eu, 0x79622d32u, 0x6b206574u};
#pragma unroll
    for (u32 i = 0; i < 8; ++i) start[4 + i] = key[i];
    start[12] = (u32)block;
    start[13] = (u32)(block >> 32);
#pragma unroll
    for (u32 i = 0; i < 16; ++i) out[i] = start[i];
#pragma unroll
    for (u32 round = 0; round < 4; ++round) {
#pragma unroll
        for (u32 i = 0; i < 4; ++i) quarter(out[i], out[4 + i], out[8 + i], out[12 + i]);
#pragma unroll
        for (u32 i = 0; i < 4; ++i) {
            quarter(out[i], out[4 + (i + 1) % 4], out[8 + (i + 2) % 4], out[12 + (i + 3) % 4]);
        }
    }
#pragma unroll
    for (u32 i = 0; i < 16; ++i) out[i] += start[i];
}

/// Neighbours that move as one.
template <class S>
struct alignas(16) Line {
    static constexpr u32 COUNT = 16 / sizeof(S);
    S v[COUNT];
};

/// What is dropped of 16 elements.
struct Drop {
    u32 random[16], below;
    float scale;

    HD float operator()(u32 i, float x) const { return random[i] < below ? 0.0f : x * scale; }
};

/// The mask of nn::dropout, 16 elements a thread: x, y (may be x), elements, elements of a part, threshold, scale, the key.
///
/// Of sixteen zeros in whole lines, as causal attention has them, no mask is drawn: dropped or kept they are 0 (not −0, which counts
/// as no zero here).
template <class S>
__device__ void dropout_block(const Words& w) {
    const S* x = array<const S>(w, 0);
    S* y = array<S>(w, 1);
    const u64 count = w.at[2], part = w.at[3];
    // No tensor has 2^32 elements, and divisions of 64 bits are long.
    const u32 blocks = (u32)((part + 15) / 16);
    Drop drop;
    drop.below = (u32)w.at[4];
    drop.scale = real(w, 5);
    THREADS {
        const u32 number = blockIdx.x * BLOCK + threadIdx.x, index = number / blocks, block = number % blocks;
        const u64 first = index * part + (u64)block * 16;
        if (first < count) {
            u32 key[8];
#pragma unroll
            for (u32 i = 0; i < 4; ++i) {
                key[2 * i] = (u32)w.at[6 + i];
                key[2 * i + 1] = (u32)(w.at[6 + i] >> 32);
            }
            key[6] |= index; // the low half of the part's number
            u64 left = part - (u64)block * 16;
            if (left > count - first) left = count - first;
            if (left >= 16 && ((u64)(x + first) | (u64)(y + first)) % 16 == 0) {
                constexpr u32 LINES = 16 / Line<S>::COUNT;
                Line<S> lines[LINES];
                bool is_zero = true;
#pragma unroll
                for (u32 line = 0; line < LINES; ++line) {
                    lines[line] = ((const Line<S>*)(x + first))[line];
#pragma unroll
                    for (u32 i = 0; i < Line<S>::COUNT; ++i) {
                        is_zero = is_zero && bits<u32>(get(lines[line].v, i)) == 0;
                    }
                }
                if (!is_zero) {
                    chacha8(key, block, drop.random);
#pragma unroll
                    for (u32 line = 0; line < LINES; ++line) {
#pragma unroll
                        for (u32 i = 0; i < Line<S>::COUNT; ++i) {
                            put(lines[line].v, i,
                                drop(line * Line<S>::COUNT + i, get(lines[line].v, i)));
                        }
                    }
                }
#pragma unroll
                for (u32 line = 0; line < LINES; ++line) {
                    ((Line<S>*)(y + first))[line] = lines[line];
                }
            } else {
                chacha8(key, block, drop.random);
#pragma unroll
                for (u32 i = 0; i < 16; ++i) {
                    if (i < left) put(y, first + i, drop(i, get(x, first + i)));
                }
            }
        }
    }
    SYNC;
}

/// ln Σ e^x of a row in two numbers, the largest x and ln Σ e^(x − largest), and Σ x.
template <class S>
__device__ void normalizer(const S* x, u64 classes, float* top, float* log_sum, float* total) {
    __shared__ float most[BLOCK], sums[BLOCK], totals[BLOCK];
    THREADS {
        float m = -HUGE_VALF, t = 0.0f;
        for (u64 i = threadIdx.x; i < classes; i += BLOCK) {
            float value = get(x, i);
            m = larger(m, value);
            t += value;
        }
        most[threadIdx.x] = m;
        totals[threadIdx.x] = t;
    }
    SYNC;
    fold<Most>(most);
    fold<Sum>(totals);
    THREADS {
        float sum = 0.0f;
        for (u64 i = threadIdx.x; i < classes; i += BLOCK) sum += expf(get(x, i) - most[0]);
        sums[threadIdx.x] = sum;
    }
    SYNC;
    fold<Sum>(sums);
    *top = most[0];
    *log_sum = logf(sums[0]);
    *total = totals[0];
}

/// The loss of a row, NaN for a label that is no class: logits, labels, losses, classes, smoothing.
template <class S>
__device__ void entropy_forward_block(const Words& w) {
    const u64 classes = w.at[3];
    const S* x = array<const S>(w, 0) + blockIdx.x * classes;
    const u32 label = array<const u32>(w, 1)[blockIdx.x];
    const float smoothing = real(w, 4);
    float top, log_sum, total;
    normalizer(x, classes, &top, &log_sum, &total);
    THREADS {
        if (threadIdx.x == 0) {
            // Differences first: they are exact where the loss is small.
            float own = label < classes ? log_sum + (top - get(x, label)) : bits<float>(0x7fc00000u);
            float rest = smoothing > 0.0f ? smoothing * (log_sum + (top - total / (float)classes)) : 0.0f;
            array<float>(w, 2)[blockIdx.x] = (1.0f - smoothing) * own + rest;
        }
    }
    SYNC;
}

/// g·(p − q) of a row: logits, labels, gradient of the losses, that of the logits, classes, smoothing.
template <class S>
__device__ void entropy_backward_block(const Words& w) {
    const u64 classes = w.at[4];
    const S* x = array<const S>(w, 0) + blockIdx.x * classes;
    S* dx = array<S>(w, 3) + blockIdx.x * classes;
    const u32 label = array<const u32>(w, 1)[blockIdx.x];
    const float g = array<const float>(w, 2)[blockIdx.x];
    const float smoothing = real(w, 5), uniform = smoothing / (float)classes;
    float top, log_sum, total;
    normalizer(x, classes, &top, &log_sum, &total);
    THREADS {
        for (u64 i = threadIdx.x; i < classes; i += BLOCK) {
            float log_p = get(x, i) - top - log_sum;
            // p − 1 would cancel where the fit is good.
            float difference = i == label ? expm1f(log_p) + (smoothing - uniform) : expf(log_p) - uniform;
            put(dx, i, g * difference);
        }
    }
    SYNC;
}

/// Mean and 1/√(variance + ε) of a row.
template <class S>
__device__ void row_statistics(const S* x, u64 columns, float eps, float* mean, float* scale) {
    __shared__ float sums[BLOCK], squares[BLOCK];
    THREADS {
        float sum = 0.0f;
        for (u64 i = threadIdx.x; i < columns; i += BLOCK) sum += get(x, i);
        sums[threadIdx.x] = sum;
    }
    SYNC;
    fold<Sum>(sums);
    THREADS {
        const float center = sums[0] / (float)columns;
        float sum = 0.0f;
        for (u64 i = threadIdx.x; i < columns; i += BLOCK) {
            float difference = get(x, i) - center;
            sum += difference * difference;
        }
        squares[threadIdx.x] = sum;
    }
    SYNC;
    fold<Sum>(squares);
    *mean = sums[0] / (float)columns;
    *scale = 1.0f / sqrtf(squares[0] / (float)columns + eps);
}

/// Layer norm: x, weight, bias, y, columns, ε.
template <class S>
__device__ void norm_forward_block(const Words& w) {
    const u64 columns = w.at[4], start = blockIdx.x * columns;
    const S* x = array<const S>(w, 0) + start;
    const S *weight = array<const S>(w, 1), *bias = array<const S>(w, 2);
    S* y = array<S>(w, 3) + start;
    float mean, scale;
    row_statistics(x, columns, real(w, 5), &mean, &scale);
    THREADS {
        for (u64 i = threadIdx.x; i < columns; i += BLOCK) {
            put(y, i, (get(x, i) - mean) * scale * get(weight, i) + get(bias, i));
        }
    }
    SYNC;
}

/// The gradient of x, and mean and scale of the row for norm_columns: x, weight, g, dx, statistics, columns, ε.
template <class S>
__device__ void norm_backward_block(const Words& w) {
    __shared__ float plain[BLOCK], along[BLOCK];
    const u64 columns = w.at[5], start = blockIdx.x * columns;
    const S* x = array<const S>(w, 0) + start;
    const S* weight = array<const S>(w, 1);
    const S* g = array<const S>(w, 2) + start;
    S* dx = array<S>(w, 3) + start;
    float* statistics = array<float>(w, 4) + 2 * (u64)blockIdx.x;
    float mean, scale;
    row_statistics(x, columns, real(w, 6), &mean, &scale);
    THREADS {
        float sum = 0.0f, product = 0.0f;
        for (u64 i = threadIdx.x; i < columns; i += BLOCK) {
            float weighted = get(g, i) * get(weight, i);
            sum += weighted;
            product += weighted * ((get(x, i) - mean) * scale);
        }
        plain[threadIdx.x] = sum;
        along[threadIdx.x] = product;
    }
    SYNC;
    fold<Sum>(plain);
    fold<Sum>(along);
    THREADS {
        const float inverse = 1.0f / (float)columns;
        for (u64 i = threadIdx.x; i < columns; i += BLOCK) {
            float normal = (get(x, i) - mean) * scale;
            put(dx, i, scale * (get(g, i) * get(weight, i) - inverse * (plain[0] + normal * along[0])));
        }
        if (threadIdx.x == 0) {
            statistics[0] = mean;
            statistics[1] = scale;
        }
    }
    SYNC;
}

/// Rows that a block of the next two sums.
constexpr u64 ROWS = 64;

/// Σ g·(x − mean)·scale and Σ g of a chunk of rows: x, g, statistics, sums (chunks, 2, columns), rows, columns.
template <class S>
__device__ void norm_columns_block(const Words& w) {
    const S *x = array<const S>(w, 0), *g = array<const S>(w, 1);
    const float* statistics = array<const float>(w, 2);
    const u64 rows = w.at[4], columns = w.at[5], first = blockIdx.x * ROWS;
    const u64 end = first + ROWS < rows ? first + ROWS : rows;
    float* sums = array<float>(w, 3) + 2 * blockIdx.x * columns;
    THREADS {
        for (u64 i = threadIdx.x; i < columns; i += BLOCK) {
            float along = 0.0f, plain = 0.0f;
            for (u64 row = first; row < end; ++row) {
                float value = get(g, row * columns + i);
                float normal = (get(x, row * columns + i) - statistics[2 * row]) * statistics[2 * row + 1];
                along += value * normal;
                plain += value;
            }
            sums[i] = along;
            sums[columns + i] = plain;
        }
    }
    SYNC;
}

/// Σ g of a chunk of rows: g, sums (chunks, columns), rows, columns.
template <class S>
__device__ void columns_block(const Words& w) {
    const S* g = array<const S>(w, 0);
    const u64 rows = w.at[2], columns = w.at[3], first = blockIdx.x * ROWS;
    const u64 end = first + ROWS < rows ? first + ROWS : rows;
    float* sums = array<float>(w, 1) + blockIdx.x * columns;
    THREADS {
        for (u64 i = threadIdx.x; i < columns; i += BLOCK) {
            float sum = 0.0f;
            for (u64 row = first; row < end; ++row) sum += get(g, row * columns + i);
            sums[i] = sum;
        }
    }
    SYNC;
}

/// Elements that a block of the element-wise kernels takes.
constexpr u64 SPAN = 4 * BLOCK;

/// x + bias of the column: x, bias, y, elements, columns.
template <class S>
__device__ void bias_block(const Words& w) {
    const S *x = array<const S>(w, 0), *bias = array<const S>(w, 1);
    S* y = array<S>(w, 2);
    const u64 count = w.at[3], columns = w.at[4];
    THREADS {
#pragma unroll
        for (u64 turn = 0; turn < SPAN; turn += BLOCK) {
            u64 i = blockIdx.x * SPAN + turn + threadIdx.x;
            if (i < count) put(y, i, get(x, i) + get(bias, (u32)i % (u32)columns));
        }
    }
    SYNC;
}

/// Cosine and sine of an angle in half turns, which take no table for large angles and so no local memory.
#ifdef __CUDACC__
HD float cosine(double half_turns) { return (float)cospi(half_turns); }
HD float sine(double half_turns) { return (float)sinpi(half_turns); }
#else
HD float cosine(double half_turns) { return (float)cos(M_PI * half_turns); }
HD float sine(double half_turns) { return (float)sin(M_PI * half_turns); }
#endif

/// Sizes of heads, and the angles of their rotary positions, from word `first` on.
struct Heads {
    u32 batch, length, heads, size, half;
    double base;

    HD Heads(const Words& w, u32 first) {
        batch = (u32)w.at[first], length = (u32)w.at[first + 1];
        heads = (u32)w.at[first + 2], size = (u32)w.at[first + 3];
        half = (u32)w.at[first + 4] / 2;
        base = bits<double>(w.at[first + 5]);
    }

    /// Elements of q, k or v.
    HD u32 part() const { return batch * length * heads * size; }

    /// x[i], number `at` of a head at a position, turned by its angle (`sign` 1) or back (−1).
    template <class S>
    HD float turned(const S* x, u32 i, u32 at, u32 position, double sign) const {
        float value = get(x, i);
        if (at >= 2 * half) return value;
        u32 pair = at < half ? at : at - half;
        const double inverse_pi = 0.318309886183790671537767526745028724;
        double angle = (double)position * pow(base, -(double)pair / (double)half) * sign * inverse_pi;
        float other = get(x, at < half ? i + half : i - half);
        return value * cosine(angle) + (at < half ? -other : other) * sine(angle);
    }
};

/// (B, T, 3, heads, size) to (3, B, heads, T, size), queries and keys turned: x, y, sizes.
template <class S>
__device__ void split_block(const Words& w) {
    const Heads s(w, 2);
    THREADS {
        u32 i = blockIdx.x * BLOCK + threadIdx.x;
        if (i < 3 * s.part()) {
            u32 at = i % s.size, position = i / s.size % s.length;
            u32 head = i / (s.size * s.length) % s.heads;
            u32 sequence = i / (s.size * s.length * s.heads);
            u32 part = sequence / s.batch;
            sequence -= part * s.batch;
            u32 from = (((sequence * s.length + position) * 3 + part) * s.heads + head) * s.size + at;
            const S* x = array<const S>(w, 0);
            put(array<S>(w, 1), i, part < 2 ? s.turned(x, from, at, position, 1.0) : get(x, from));
        }
    }
    SYNC;
}

/// The way back: three of (B, heads, T, size) to (B, T, 3, heads, size): q, k, v, y, sizes.
template <class S>
__device__ void join_block(const Words& w) {
    const Heads s(w, 4);
    THREADS {
        u32 i = blockIdx.x * BLOCK + threadIdx.x;
        if (i < 3 * s.part()) {
            u32 at = i % s.size, head = i / s.size % s.heads, part = i / (s.size * s.heads) % 3;
            u32 place = i / (s.size * s.heads * 3), position = place % s.length;
            u32 from = ((place / s.length * s.heads + head) * s.length + position) * s.size + at;
            const S* x = array<const S>(w, part);
            put(array<S>(w, 3), i, part < 2 ? s.turned(x, from, at, position, -1.0) : get(x, from));
        }
    }
    SYNC;
}

enum ActivationKind : u64 { GELU_TANH, RELU };

/// The function (0) or its derivative (1) at x.
HD float activation(u64 kind, float x, bool derivative) {
    if (kind == RELU) {
        // A comparison that NaN fails both ways passes it on.
        if (x <= 0.0f) return 0.0f;
        return derivative ? 1.0f : x;
    }
    const float root = 0.797884560802865355879892119868763737f, cubic = 0.044715f;
    float t = tanhf(root * x * (1.0f + cubic * x * x));
    if (!derivative) return 0.5f * x * (1.0f + t);
    return 0.5f * (1.0f + t) + 0.5f * x * (1.0f - t * t) * root * (1.0f + 3.0f * cubic * x * x);
}

/// x, y, elements, kind.
template <class S>
__device__ void activation_forward_block(const Words& w) {
    const S* x = array<const S>(w, 0);
    S* y = array<S>(w, 1);
    THREADS {
#pragma unroll
        for (u64 turn = 0; turn < SPAN; turn += BLOCK) {
            u64 i = blockIdx.x * SPAN + turn + threadIdx.x;
            if (i < w.at[2]) put(y, i, activation(w.at[3], get(x, i), false));
        }
    }
    SYNC;
}

/// x, g, dx, elements, kind.
template <class S>
__device__ void activation_backward_block(const Words& w) {
    const S *x = array<const S>(w, 0), *g = array<const S>(w, 1);
    S* dx = array<S>(w, 2);
    THREADS {
#pragma unroll
        for (u64 turn = 0; turn < SPAN; turn += BLOCK) {
            u64 i = blockIdx.x * SPAN + turn + threadIdx.x;
            if (i < w.at[3]) put(dx, i, get(g, i) * activation(w.at[4], get(x, i), true));
        }
    }
    SYNC;
}

/// Columns that a row of embedding_backward may have.
constexpr u64 WIDEST = 4096;

/// The gradient of one row of an embedding, Σ over its places in their order: ids, g, dx, places, columns.
template <class S>
__device__ void embedding_backward_block(const Words& w) {
    __shared__ float sums[WIDEST];
    __shared__ u32 ids[BLOCK];
    __shared__ u32 found;
    const u32* all = array<const u32>(w, 0);
    const S* g = array<const S>(w, 1);
    const u64 places = w.at[3], columns = w.at[4];
    THREADS {
        for (u64 i = threadIdx.x; i < columns; i += BLOCK) sums[i] = 0.0f;
        if (threadIdx.x == 0) found = 0;
    }
    SYNC;
    for (u64 first = 0; first < places; first += BLOCK) {
        THREADS {
            u64 at = first + threadIdx.x;
            u32 id = at < places ? all[at] : ~0u;
            ids[threadIdx.x] = id;
            if (id == blockIdx.x) found = (u32)(first / BLOCK) + 1;
        }
        SYNC;
        if (found == (u32)(first / BLOCK) + 1) {
            THREADS {
                for (u32 j = 0; j < BLOCK; ++j) {
                    if (ids[j] != blockIdx.x) continue;
                    const S* row = g + (first + j) * columns;
                    for (u64 i = threadIdx.x; i < columns; i += BLOCK) sums[i] += get(row, i);
                }
            }
        }
        SYNC;
    }
    THREADS {
        S* dx = array<S>(w, 2) + blockIdx.x * columns;
        for (u64 i = threadIdx.x; i < columns; i += BLOCK) put(dx, i, sums[i]);
    }
    SYNC;
}

/// Sizes of a convolution, two to a word: channels and images, height and width, kernel, output, stride and padding.
struct Geometry {
    u32 channels, images, height, width, rows, columns, down, right, stride, padding;

    HD Geometry(const Words& w) {
        channels = (u32)w.at[2], images = (u32)(w.at[2] >> 32);
        height = (u32)w.at[3], width = (u32)(w.at[3] >> 32);
        rows = (u32)w.at[4], columns = (u32)(w.at[4] >> 32);
        down = (u32)w.at[5], right = (u32)(w.at[5] >> 32);
        stride = (u32)w.at[6], padding = (u32)(w.at[6] >> 32);
    }

    /// `distance` in strides; where it is no whole number of them, more than any output has.
    HD u32 whole(u32 distance) const {
        if (stride == 1) return distance;
        return distance % stride == 0 ? distance / stride : ~0u;
    }
};

/// Patches (channels·rows·columns, images·down·right) of the images: x, patches, geometry. As many blocks for each tap as
/// its places take.
__device__ void patches_block(const Words& w) {
    const Geometry s(w);
    const float* x = array<const float>(w, 0);
    const u32 places = s.images * s.down * s.right, blocks = (places + (u32)SPAN - 1) / (u32)SPAN;
    const u32 tap = blockIdx.x / blocks, first = blockIdx.x % blocks * (u32)SPAN;
    const u32 column = tap % s.columns, row = tap / s.columns % s.rows;
    const u32 channel = tap / (s.rows * s.columns);
    float* patches = array<float>(w, 1) + (u64)tap * places;
    THREADS {
#pragma unroll
        for (u32 turn = 0; turn < SPAN; turn += BLOCK) {
            u32 place = first + turn + threadIdx.x;
            if (place < places) {
                u32 across = place / s.right, image = across / s.down;
                u32 at = (place - across * s.right) * s.stride + column - s.padding;
                u32 line = (across - image * s.down) * s.stride + row - s.padding;
                // Below 0 is beyond every height: the numbers wrap.
                bool inside = line < s.height && at < s.width;
                u32 from = ((image * s.channels + channel) * s.height + line) * s.width + at;
                patches[place] = inside ? x[from] : 0.0f;
            }
        }
    }
    SYNC;
}

/// The sum over the patches that hold it, for every element of the images: patches, dx, geometry.
__device__ void images_block(const Words& w) {
    const Geometry s(w);
    const float* patches = array<const float>(w, 0);
    const u32 places = s.images * s.down * s.right;
    const u32 count = s.images * s.channels * s.height * s.width;
    THREADS {
        u32 i = blockIdx.x * BLOCK + threadIdx.x;
        if (i < count) {
            u32 at = i % s.width, line = i / s.width % s.height;
            u32 channel = i / (s.width * s.height) % s.channels;
            u32 image = i / (s.width * s.height * s.channels);
            float sum = 0.0f;
            for (u32 row = 0; row < s.rows; ++row) {
                if (line + s.padding < row) continue;
                u32 y = s.whole(line + s.padding - row);
                if (y >= s.down) continue;
                for (u32 column = 0; column < s.columns; ++column) {
                    if (at + s.padding < column) continue;
                    u32 x = s.whole(at + s.padding - column);
                    if (x >= s.right) continue;
                    u32 tap = (channel * s.rows + row) * s.columns + column;
                    sum += patches[tap * places + (image * s.down + y) * s.right + x];
                }
            }
            array<float>(w, 1)[i] = sum;
        }
    }
    SYNC;
}

/// The part of a channel that a block of the batch norm takes: its values plane after plane, in `slices` parts.
struct Slice {
    u32 channels, plane, channel, number, first, end, count;

    HD Slice(u64 images, u64 all_channels, u64 of_plane, u64 slices) {
        channels = (u32)all_channels, plane = (u32)of_plane, count = (u32)images * plane;
        channel = blockIdx.x / (u32)slices, number = blockIdx.x % (u32)slices;
        u32 length = (count + (u32)slices - 1) / (u32)slices;
        first = number * length < count ? number * length : count;
        end = count - first < length ? count : first + length;
    }

    /// Where value `i` of the channel lies.
    HD u32 place(u32 i) const {
        u32 image = i / plane;
        return (image * channels + channel) * plane + (i - image * plane);
    }
};

/// Joins two sums of a block's threads into `to`.
__device__ void give_sums(double* first, double* second, double* to) {
    fold<Sum>(first);
    fold<Sum>(second);
    THREADS {
        if (threadIdx.x == 0) {
            to[0] = first[0];
            to[1] = second[0];
        }
    }
    SYNC;
}

/// The sums of all slices of a channel, in their order.
HD void take_sums(const double* sums, u64 slices, double* first, double* second) {
    *first = *second = 0.0;
    for (u64 slice = 0; slice < slices; ++slice) {
        *first += sums[2 * slice];
        *second += sums[2 * slice + 1];
    }
}

/// Σ and Σ of squares of what differs from the channel's first value: x, sums, images, channels, plane, slices.
__device__ void batch_sums_block(const Words& w) {
    __shared__ double plain[BLOCK], squares[BLOCK];
    const Slice s(w.at[2], w.at[3], w.at[4], w.at[5]);
    const float* x = array<const float>(w, 0);
    const float origin = x[s.place(0)];
    THREADS {
        double sum = 0.0, square = 0.0;
#pragma unroll 4
        for (u32 i = s.first + threadIdx.x; i < s.end; i += BLOCK) {
            double difference = x[s.place(i)] - origin;
            sum += difference;
            square += difference * difference;
        }
        plain[threadIdx.x] = sum;
        squares[threadIdx.x] = square;
    }
    SYNC;
    give_sums(plain, squares, array<double>(w, 1) + 2 * (u64)blockIdx.x);
}

/// Batch norm: x, weight, bias, y, moments (mean and variance of all), sums, images, channels, plane, slices, ε.
__device__ void batch_forward_block(const Words& w) {
    __shared__ float mean, scale, shift;
    const Slice s(w.at[6], w.at[7], w.at[8], w.at[9]);
    const float* x = array<const float>(w, 0);
    THREADS {
        if (threadIdx.x == 0) {
            double sum, squares, count = (double)s.count;
            take_sums(array<const double>(w, 5) + 2 * s.channel * w.at[9], w.at[9], &sum, &squares);
            double variance = (squares - sum * (sum / count)) / count;
            if (variance < 0.0) variance = 0.0;
            mean = (float)(x[s.place(0)] + sum / count);
            scale = (float)(array<const float>(w, 1)[s.channel] / sqrt(variance + bits<double>(w.at[10])));
            shift = array<const float>(w, 2)[s.channel];
            if (s.number == 0) {
                array<float>(w, 4)[s.channel] = mean;
                array<float>(w, 4)[s.channels + s.channel] = (float)variance;
            }
        }
    }
    SYNC;
    THREADS {
#pragma unroll 4
        for (u32 i = s.first + threadIdx.x; i < s.end; i += BLOCK) {
            u32 at = s.place(i);
            array<float>(w, 3)[at] = (x[at] - mean) * scale + shift;
        }
    }
    SYNC;
}

/// 1/√(variance + ε) of the moments.
HD float inverse_deviation(const float* moments, const Slice& s, u64 eps) {
    return (float)(1.0 / sqrt((double)moments[s.channels + s.channel] + bits<double>(eps)));
}

/// Σ g and Σ g·normal: x, g, moments, sums, images, channels, plane, slices, ε.
__device__ void batch_gradient_sums_block(const Words& w) {
    __shared__ double plain[BLOCK], along[BLOCK];
    const Slice s(w.at[4], w.at[5], w.at[6], w.at[7]);
    const float *x = array<const float>(w, 0), *g = array<const float>(w, 1), *moments = array<const float>(w, 2);
    THREADS {
        const float mean = moments[s.channel], inverse = inverse_deviation(moments, s, w.at[8]);
        double sum = 0.0, product = 0.0;
#pragma unroll 4
        for (u32 i = s.first + threadIdx.x; i < s.end; i += BLOCK) {
            u32 at = s.place(i);
            sum += g[at];
            product += g[at] * ((x[at] - mean) * inverse);
        }
        plain[threadIdx.x] = sum;
        along[threadIdx.x] = product;
    }
    SYNC;
    give_sums(plain, along, array<double>(w, 3) + 2 * (u64)blockIdx.x);
}

/// The gradients: x, weight, g, moments, sums, dx, those of weight and bias, images, channels, plane, slices, ε.
__device__ void batch_backward_block(const Words& w) {
    __shared__ double plain, along;
    const Slice s(w.at[7], w.at[8], w.at[9], w.at[10]);
    const float *x = array<const float>(w, 0), *g = array<const float>(w, 2), *moments = array<const float>(w, 3);
    THREADS {
        if (threadIdx.x == 0) {
            take_sums(array<const double>(w, 4) + 2 * s.channel * w.at[10], w.at[10], &plain, &along);
            if (s.number == 0) {
                array<float>(w, 6)[s.channel] = (float)along;
                array<float>(w, 6)[s.channels + s.channel] = (float)plain;
            }
        }
    }
    SYNC;
    THREADS {
        const float mean = moments[s.channel], inverse = inverse_deviation(moments, s, w.at[11]);
        const float scale = array<const float>(w, 1)[s.channel] * inverse;
        const float level = (float)(plain / (double)s.count), slope = (float)(along / (double)s.count);
#pragma unroll 4
        for (u32 i = s.first + threadIdx.x; i < s.end; i += BLOCK) {
            u32 at = s.place(i);
            array<float>(w, 5)[at] = scale * (g[at] - level - (x[at] - mean) * inverse * slope);
        }
    }
    SYNC;
}

#define KERNEL(name, block) \
    extern "C" __global__ void BLOCKS(BLOCK, 4) name(const __grid_constant__ Words w) { block(w); }
#define TYPED(name) KERNEL(name##_f32, name##_block<float>) KERNEL(name##_bf16, name##_block<Half>)
TYPED(softmax_forward)
TYPED(softmax_backward)
TYPED(dropout)
TYPED(entropy_forward)
TYPED(entropy_backward)
TYPED(norm_forward)
TYPED(norm_backward)
TYPED(norm_columns)
TYPED(columns)
TYPED(bias)
TYPED(split)
TYPED(join)
TYPED(activation_forward)
TYPED(activation_backward)
TYPED(embedding_backward)
KERNEL(patches, patches_block)
KERNEL(images, images_block)
KERNEL(batch_sums, batch_sums_block)
KERNEL(batch_forward, batch_forward_block)
KERNEL(batch_gradient_sums, batch_gradient_sums_block)
KERNEL(batch_backward, batch_backward_block)
