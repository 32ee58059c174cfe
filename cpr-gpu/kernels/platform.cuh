// What the kernels are written in: CUDA, or C++ that runs the same source block by block on a CPU.
//
// A kernel is a sequence of phases: `THREADS { ... }` runs once for each thread of the block, and `SYNC` ends the
// phase (`APART` where the next one needs nothing of it). No variable of a thread lives across a SYNC; what does is shared by the block and the same in all of its
// threads. On CUDA a phase is plain code and SYNC a barrier; on the CPU it is a loop over the threads, in an order
// that a test may turn around, and a phase that begins before the last one was ended stops the program.
//
// `HAND(id)` ends a phase for a block of STEPPERS threads whose first warp waits at `TAKE(id)`, inside a later phase, for what
// the others wrote before; they wait for nothing. `WARP_SYNC` ends a phase after which only the first warp works.
#pragma once

#ifdef __CUDACC__
#include <math.h>
#define HD __host__ __device__ __forceinline__
#define THREADS
#define SYNC __syncthreads()
#define APART
#define BLOCKS(threads, per_multiprocessor) __launch_bounds__(threads, per_multiprocessor)
#define WARP_SYNC __syncwarp()
#define HAND(id)                                  \
    do {                                          \
        if (threadIdx.x >= WARP) hand_over(id);   \
    } while (0)
#define TAKE(id) take_over(id)
#define FENCE __threadfence()
/// Pointers of the tables lead to device memory only.
#define GLOBAL(at) __builtin_assume(__isGlobal(at))
#define PREFETCH(at) asm volatile("prefetch.global.L2 [%0];" ::"l"(__cvta_generic_to_global(at)))
#else
#include <cmath>
#include <cstdio>
#include <cstdlib>
#define HD inline
#define __global__
#define __device__
#define __shared__ static
#define __grid_constant__
#define BLOCKS(threads, per_multiprocessor)
struct Index {
    unsigned x;
};
inline Index blockIdx, gridDim, blockDim, threadIdx;
inline bool backwards = false;
inline bool ended = true;
inline unsigned open_phase() {
    if (!ended) {
        fprintf(stderr, "a phase begins without a SYNC after the last one\n");
        abort();
    }
    ended = false;
    return 0;
}
#define THREADS                                                                       \
    for (unsigned turn = open_phase();                                                \
         turn < blockDim.x                                                            \
         && ((threadIdx.x = backwards ? blockDim.x - 1 - turn : turn), true);         \
         ++turn)
#define SYNC ended = true
#define APART SYNC
#define WARP_SYNC SYNC
inline unsigned handed = 0;
inline void check_handed(unsigned id) {
    if (!(handed >> id & 1)) {
        fprintf(stderr, "nothing was handed over as %u\n", id);
        abort();
    }
}
#define HAND(id) (ended = true, handed |= 1u << (id))
#define TAKE(id) check_handed(id)
#define FENCE
#define GLOBAL(at) (void)(at)
#define PREFETCH(at) (void)(at)
using u64_ = unsigned long long;
inline u64_ atomicAdd(u64_* at, u64_ more) {
    u64_ before = *at;
    *at += more;
    return before;
}
#endif

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/// Elements of a chunk, and lanes of its sums: those of cpr_core.
constexpr u32 CHUNK = 4096;
constexpr u32 LANES = 16;
/// Threads of a block of every kernel but those that step.
constexpr u32 BLOCK = 256;
/// Threads of a block that steps. While a chunk's sum is completed its block loads nothing: the smaller the block, the
/// less of the multiprocessor stands still.
constexpr u32 STEPPERS = 128;
constexpr u32 WARP = 32;
/// Blocks that correct f32 and that a multiprocessor holds at once.
constexpr u32 CORRECTING = 5;
/// Elements that a thread loads at once.
constexpr u32 QUAD = 4;

/// The bits of a value as another type of its size.
template <class To, class From>
HD To bits(From from) {
    static_assert(sizeof(To) == sizeof(From), "bits of one size");
    union {
        From from;
        To to;
    } both;
    both.from = from;
    return both.to;
}

#ifdef __CUDACC__
// A barrier's number in a register would claim all sixteen of a block, and a multiprocessor has 64.
#define NUMBERED(what, id)                                                                    \
    switch (id) {                                                                             \
        case 1: asm volatile(what " 1, %0;" ::"n"(STEPPERS) : "memory"); break;               \
        default: asm volatile(what " 2, %0;" ::"n"(STEPPERS) : "memory");                     \
    }
__device__ __forceinline__ void hand_over(u32 id) {
    __syncwarp();
    NUMBERED("bar.arrive", id)
}
__device__ __forceinline__ void take_over(u32 id) {
    __syncwarp();
    NUMBERED("bar.sync", id)
}
/// This thread's number, of the first warp's, read anew: what was computed from it before would keep a register.
HD u32 number_in_warp() {
    u32 number;
    asm volatile("mov.u32 %0, %%laneid;" : "=r"(number));
    return number;
}
/// What another block wrote before its FENCE: not from this multiprocessor's own cache.
template <class T>
HD T fresh(const T* at) { return __ldcg(at); }
#else
inline u32 number_in_warp() { return threadIdx.x; }
template <class T>
inline T fresh(const T* at) { return *at; }
#endif
