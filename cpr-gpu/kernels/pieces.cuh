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
        count = left < CHUNK ? (u32)left : CHUNK;
    }
};

/// Four neighbours that move as one where their address allows it.
template <class S>
struct alignas(sizeof(S) * QUAD < 16 ? sizeof(S) * QUAD : 16) Pack {
    S v[QUAD];
};

template <class S>
HD bool whole(const S* base, const Piece& piece, u32 quad) {
    return (u64)base % alignof(Pack<S>) == 0 && (quad + 1) * QUAD <= piece.count;
}

template <class S>
HD void load(const S* array, const Piece& piece, u32 quad, S* to) {
    const S* base = array + piece.start;
    if (whole(base, piece, quad)) {
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

template <class S>
HD void store(S* array, const Piece& piece, u32 quad, const S* from) {
    S* base = array + piece.start;
    if (whole(base, piece, quad)) {
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

template <class T>
HD void load_gradient(u64 gradient, const Piece& piece, u32 quad, T* to) {
    u64 kind = gradient >> 60;
    if (kind == OWN) {
        load((const T*)pointer_of(gradient), piece, quad, to);
        return;
    }
    u16 half[QUAD];
    load((const u16*)pointer_of(gradient), piece, quad, half);
#pragma unroll
    for (u32 i = 0; i < QUAD; ++i) to[i] = kind == BF16 ? from_bf16(half[i]) : from_f16(half[i]);
}

/// The variable of a half type, from its master weights.
template <class T>
HD void store_low(const Tensor& tensor, const Piece& piece, u32 quad, const T* from) {
    u16 half[QUAD];
#pragma unroll
    for (u32 i = 0; i < QUAD; ++i) {
        half[i] = tensor.low_kind == BF16 ? to_bf16((float)from[i]) : to_f16((float)from[i]);
    }
    store((u16*)tensor.low, piece, quad, half);
}

/// lanes[0] takes the fixed tree: lane i takes lane i + 8, then i + 4, i + 2, i + 1.
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

/// The measure of one chunk in sixteen lanes, as cpr_core's observer.rs; for LP the values are the powers.
template <class S>
__device__ void fold_chunk(const S* values, u32 count, u32 measure, double delta, Statistic* to) {
    __shared__ double first[LANES];
    __shared__ double second[LANES];
    THREADS {
        u32 lane = threadIdx.x;
        if (lane < LANES) {
            double sum = 0.0, squares = 0.0;
            switch (measure) {
                case L2:
#pragma unroll 8
                    for (u32 i = lane; i < count; i += LANES) {
                        double x = (double)values[i];
                        sum += x * x;
                    }
                    break;
                case STD: {
                    double origin = count > 0 ? (double)values[0] : 0.0;
#pragma unroll 4
                    for (u32 i = lane; i < count; i += LANES) {
                        double deviation = (double)values[i] - origin;
                        sum += deviation;
                        squares += deviation * deviation;
                    }
                    break;
                }
                case HUBER:
#pragma unroll 4
                    for (u32 i = lane; i < count; i += LANES) {
                        double x = magnitude((double)values[i]);
                        double inside = 0.5 * x * x, outside = delta * (x - 0.5 * delta);
                        sum += x <= delta ? inside : outside;
                    }
                    break;
                default: // L1, and the powers of LP, which are no less than 0
#pragma unroll 8
                    for (u32 i = lane; i < count; i += LANES) sum += magnitude((double)values[i]);
            }
            first[lane] = sum;
            second[lane] = squares;
        }
    }
    SYNC;
    THREADS {
        if (threadIdx.x == 0) {
            double sum = fold_lanes(first);
            Statistic measured = {count, sum, 0.0};
            if (measure == STD) {
                double offset = sum / (double)count;
                double m2 = fold_lanes(second) - sum * offset;
                measured.x = (double)values[0] + offset;
                measured.y = m2 < 0.0 ? 0.0 : m2; // NaN stays NaN
            }
            *to = measured;
        }
    }
}

/// Measures that are merged at once, in shared memory.
constexpr u32 TILE = 1024;

/// Merges up to TILE neighbours pairwise, level by level, the odd one carried up: the tree of cpr_core's Pairwise.
__device__ void reduce_tile(const Statistic* from, u32 count, bool moments, Statistic* to) {
    __shared__ Statistic tile[TILE];
    THREADS {
        for (u32 i = threadIdx.x; i < count; i += BLOCK) tile[i] = from[i];
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
