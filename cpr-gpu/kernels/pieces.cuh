// Chunks of parameters: how they are loaded and stored, and how their measures are summed.
#pragma once
#include "constraint.cuh"

/// One chunk of one parameter.
struct Piece {
    u64 at;
    u32 tensor, count;
    u64 start;

    HD Piece(const Board& board, u64 index) {
        at = index;
        u64 entry = board.pieces[index];
        tensor = (u32)entry;
        start = (entry >> 32) * CHUNK;
        u64 left = board.tensors[tensor].elements - start;
        count = left / CHUNK == 0 ? (u32)left % CHUNK : CHUNK;
    }
};

/// Four neighbours that move as one where their address allows it.
template <class S>
struct alignas(sizeof(S) * QUAD < 16 ? sizeof(S) * QUAD : 16) Pack {
    S v[QUAD];
};

/// Whether an array's quads can move as one.
template <class S>
HD bool even(const S* array) {
    return (u64)array % alignof(Pack<S>) == 0;
}

HD bool even_gradient(u64 gradient, bool wide) {
    const void* array = pointer_of(gradient);
    if (gradient >> 60 != OWN) return even((const u16*)array);
    return wide ? even((const double*)array) : even((const float*)array);
}

/// A quad of a chunk, as one where it is WHOLE.
template <bool WHOLE, class S>
HD void load(const S* array, const Piece& piece, u32 quad, S* to) {
    const S* base = array + piece.start;
    GLOBAL(base);
    if (WHOLE) {
        Pack<S> pack = ((const Pack<S>*)base)[quad];
#pragma unroll
        for (u32 i = 0; i < QUAD; ++i) to[i] = pack.v[i];
    } else {
#pragma unroll
        for (u32 i = 0; i < QUAD; ++i) {
            to[i] = quad * QUAD + i < piece.count ? base[quad * QUAD + i] : (S)0;
        }
    }
}

template <bool WHOLE, class S>
HD void store(S* array, const Piece& piece, u32 quad, const S* from) {
    S* base = array + piece.start;
    GLOBAL(base);
    if (WHOLE) {
        Pack<S> pack;
#pragma unroll
        for (u32 i = 0; i < QUAD; ++i) pack.v[i] = from[i];
        ((Pack<S>*)base)[quad] = pack;
    } else {
#pragma unroll
        for (u32 i = 0; i < QUAD; ++i) {
            if (quad * QUAD + i < piece.count) base[quad * QUAD + i] = from[i];
        }
    }
}

template <bool WHOLE, class T>
HD void load_gradient(u64 gradient, const Piece& piece, u32 quad, T* to) {
    u64 kind = gradient >> 60;
    if (kind == OWN) {
        load<WHOLE>((const T*)pointer_of(gradient), piece, quad, to);
        return;
    }
    u16 half[QUAD];
    load<WHOLE>((const u16*)pointer_of(gradient), piece, quad, half);
#pragma unroll
    for (u32 i = 0; i < QUAD; ++i) to[i] = kind == BF16 ? from_bf16(half[i]) : from_f16(half[i]);
}

/// The variable of a half type, from its master weights.
template <bool WHOLE, class T>
HD void store_low(const Tensor& tensor, const Piece& piece, u32 quad, const T* from) {
    u16 half[QUAD];
#pragma unroll
    for (u32 i = 0; i < QUAD; ++i) {
        half[i] = tensor.low_kind == BF16 ? to_bf16((float)from[i]) : to_f16((float)from[i]);
    }
    store<WHOLE>((u16*)tensor.low, piece, quad, half);
}

HD bool whole(const Piece& piece, u32 quad) { return (quad + 1) * QUAD <= piece.count; }

template <class S>
HD void load(const S* array, const Piece& piece, u32 quad, S* to) {
    if (even(array) && whole(piece, quad)) {
        load<true>(array, piece, quad, to);
    } else {
        load<false>(array, piece, quad, to);
    }
}

template <class T>
HD void load_gradient(u64 gradient, const Piece& piece, u32 quad, T* to) {
    if (even_gradient(gradient, sizeof(T) == 8) && whole(piece, quad)) {
        load_gradient<true>(gradient, piece, quad, to);
    } else {
        load_gradient<false>(gradient, piece, quad, to);
    }
}

/// Asks for what `load` and `load_gradient` will read.
template <class S>
HD void ask(const S* array, const Piece& piece, u32 quad) {
    PREFETCH(array + piece.start + quad * QUAD);
}

template <class T>
HD void ask_gradient(u64 gradient, const Piece& piece, u32 quad) {
    if (gradient >> 60 == OWN) {
        ask((const T*)pointer_of(gradient), piece, quad);
    } else {
        ask((const u16*)pointer_of(gradient), piece, quad);
    }
}

/// A quad of a parameter on its way through a step.
template <class T, int MOMENTS>
struct Quad {
    T x[QUAD], g[QUAD], m[QUAD], v[QUAD], top[QUAD];

    template <bool WHOLE>
    HD void load_from(const Tensor& tensor, u64 gradient, const Piece& piece, u32 quad) {
        load<WHOLE>((const T*)tensor.theta, piece, quad, x);
        load_gradient<WHOLE>(gradient, piece, quad, g);
        if (MOMENTS > 0) load<WHOLE>((const T*)tensor.moments[0], piece, quad, m);
        if (MOMENTS > 1) load<WHOLE>((const T*)tensor.moments[1], piece, quad, v);
        if (MOMENTS > 2) load<WHOLE>((const T*)tensor.moments[2], piece, quad, top);
    }

    template <bool WHOLE>
    HD void store_to(const Tensor& tensor, const Piece& piece, u32 quad) const {
        store<WHOLE>((T*)tensor.theta, piece, quad, x);
        if (MOMENTS > 0) store<WHOLE>((T*)tensor.moments[0], piece, quad, m);
        if (MOMENTS > 1) store<WHOLE>((T*)tensor.moments[1], piece, quad, v);
        if (MOMENTS > 2) store<WHOLE>((T*)tensor.moments[2], piece, quad, top);
        if (tensor.low != 0) store_low<WHOLE>(tensor, piece, quad, x);
    }
};

/// Whether all arrays of a parameter's step can move quads as one.
template <class T>
HD bool even_step(const Tensor& tensor, u64 gradient) {
    const u64 arrays = tensor.theta | tensor.moments[0] | tensor.moments[1] | tensor.moments[2];
    return even((const T*)arrays) && even((const u16*)tensor.low)
           && even_gradient(gradient, sizeof(T) == 8);
}

/// The sums of one chunk in sixteen lanes, as cpr_core's observer.rs: element i belongs to lane i % LANES.
struct Lanes {
    double sums[LANES], squares[LANES];
};

/// `sum` + x²: the square of an f32 is exact in f64, so both roundings of the sum are one.
HD double add_square(double sum, float x) { return fma((double)x, (double)x, sum); }
HD double add_square(double sum, double x) { return sum + x * x; }

/// Adds `count` values to the sums of the lane that is this thread's number; `more`: to what it has already.
///
/// The first value belongs to lane 0. `origin` is the first of the chunk, for STD; for LP the values are the powers.
template <class S>
HD void add_to_lane(Lanes& lanes, const S* values, u32 count, bool more, u32 measure, double delta,
                    S origin) {
    const u32 lane = number_in_warp();
    double sum = more ? lanes.sums[lane] : 0.0;
    switch (measure) {
        case L2: {
            // The next values are read while these are added: an addition waits for the one before it.
            constexpr u32 BATCH = 4;
            u32 i = lane;
            if (count >= 2 * BATCH * LANES) {
                S now[BATCH];
#pragma unroll
                for (u32 j = 0; j < BATCH; ++j) now[j] = values[i + j * LANES];
#pragma unroll 1
                for (i += BATCH * LANES; i + (BATCH - 1) * LANES < count; i += BATCH * LANES) {
                    S next[BATCH];
#pragma unroll
                    for (u32 j = 0; j < BATCH; ++j) next[j] = values[i + j * LANES];
#pragma unroll
                    for (u32 j = 0; j < BATCH; ++j) {
                        sum = add_square(sum, now[j]);
                        now[j] = next[j];
                    }
                }
#pragma unroll
                for (u32 j = 0; j < BATCH; ++j) sum = add_square(sum, now[j]);
            }
#pragma unroll 1
            for (; i < count; i += LANES) sum = add_square(sum, values[i]);
            break;
        }
        case STD: {
            double squares = more ? lanes.squares[lane] : 0.0;
#pragma unroll 2
            for (u32 i = lane; i < count; i += LANES) {
                double deviation = (double)values[i] - (double)origin;
                sum += deviation;
                squares += deviation * deviation;
            }
            lanes.squares[lane] = squares;
            break;
        }
        case HUBER:
#pragma unroll 2
            for (u32 i = lane; i < count; i += LANES) {
                double x = magnitude((double)values[i]);
                double inside = 0.5 * x * x, outside = delta * (x - 0.5 * delta);
                sum += x <= delta ? inside : outside;
            }
            break;
        default: // L1, and the powers of LP, which are no less than 0
#pragma unroll 4
            for (u32 i = lane; i < count; i += LANES) sum += magnitude((double)values[i]);
    }
    lanes.sums[lane] = sum;
}

/// The fixed tree of the lanes: lane i takes lane i + 8, then i + 4, i + 2, i + 1.
HD double fold_lanes(const double* shared) {
    double lanes[LANES];
#pragma unroll
    for (u32 i = 0; i < LANES; ++i) lanes[i] = shared[i];
#pragma unroll
    for (u32 half = LANES / 2; half > 0; half /= 2) {
#pragma unroll
        for (u32 i = 0; i < LANES / 2; ++i) {
            if (i < half) lanes[i] += lanes[i + half];
        }
    }
    return lanes[0];
}

/// The measure of a chunk of `count` elements from its lanes.
HD Statistic measured_by(const Lanes& lanes, u32 count, u32 measure, double origin) {
    double sum = fold_lanes(lanes.sums);
    Statistic measured = {count, sum, 0.0};
    if (measure == STD) {
        double offset = sum / (double)count;
        double m2 = fold_lanes(lanes.squares) - sum * offset;
        measured.x = origin + offset;
        measured.y = m2 < 0.0 ? 0.0 : m2; // NaN stays NaN
    }
    return measured;
}

/// The measure of a chunk whose elements stand in shared memory.
template <class S>
__device__ void fold_chunk(const S* values, u32 count, u32 measure, double delta, Statistic* to) {
    __shared__ Lanes lanes;
    THREADS {
        if (threadIdx.x < LANES) {
            add_to_lane<S>(lanes, values, count, false, measure, delta, count > 0 ? values[0] : (S)0);
        }
    }
    SYNC;
    THREADS {
        if (threadIdx.x == 0) *to = measured_by(lanes, count, measure, (double)values[0]);
    }
}

/// Measures that are merged at once, in shared memory.
constexpr u32 TILE = 1024;

/// Merges up to TILE neighbours pairwise, level by level, the odd one carried up: the tree of cpr_core's Pairwise.
__device__ void reduce_tile(const Statistic* from, u32 count, bool moments, Statistic* to) {
    __shared__ Statistic tile[TILE];
    THREADS {
        for (u32 i = threadIdx.x; i < count; i += BLOCK) {
            tile[i] = {fresh(&from[i].count), fresh(&from[i].x), fresh(&from[i].y)};
        }
    }
    SYNC;
    for (u32 step = 1; step < count; step *= 2) {
        THREADS {
            for (u32 i = threadIdx.x * 2 * step; i + step < count; i += BLOCK * 2 * step) {
                tile[i] = merged(tile[i], tile[i + step], moments);
            }
        }
        SYNC;
    }
    THREADS {
        if (threadIdx.x == 0 && count > 0) *to = tile[0];
    }
    SYNC;
}

/// Merges any number of neighbours into the first: full tiles are whole subtrees of the same tree.
__device__ void reduce(Statistic* items, u64 count, bool moments) {
    while (count > 1) {
        u64 tiles = (count + TILE - 1) / TILE;
        for (u64 tile = 0; tile < tiles; ++tile) {
            u64 left = count - tile * TILE;
            reduce_tile(items + tile * TILE, left < TILE ? (u32)left : TILE, moments, items + tile);
        }
        count = tiles;
    }
}
