// The kernels of a step timed apart on a GPU, without Rust: GPT-2's 148 tensors of 124.4 million f32 parameters as AdamW, and as
// AdamCPR with no λ and with every λ active.
//
//     nvcc -O3 -std=c++17 --fmad=false -arch=native -o kernels cpr-gpu/benches/kernels.cu && ./kernels
//
// Prints milliseconds of a step, medians of 8 rounds of 20, with and without the check for non-finite gradients; microseconds of
// each kernel, which hold about one of the events' own; and a hash of θ, λ and R, for comparison with another form of the
// kernels on the same device.
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <vector>

#include "../kernels/cpr.cu"

using std::vector;

static void ok(cudaError_t error) {
    if (error == cudaSuccess) return;
    printf("CUDA: %s\n", cudaGetErrorString(error));
    exit(1);
}

template <class T>
static T* on_device(const vector<T>& values) {
    T* at;
    ok(cudaMalloc(&at, std::max<size_t>(1, values.size()) * sizeof(T)));
    ok(cudaMemcpy(at, values.data(), values.size() * sizeof(T), cudaMemcpyHostToDevice));
    return at;
}

template <class T>
static T* zeros(size_t count) {
    return (T*)on_device(vector<u8>(count * sizeof(T)));
}

__global__ void fill(float* at, u64 count, u32 seed, float scale) {
    for (u64 i = blockIdx.x * (u64)blockDim.x + threadIdx.x; i < count; i += gridDim.x * blockDim.x) {
        u32 hash = (u32)i * 2654435761u + seed;
        hash = (hash ^ hash >> 15) * 2246822519u;
        hash = (hash ^ hash >> 13) * 3266489917u;
        at[i] = ((float)((hash ^ hash >> 16) >> 8) / 8388608.0f - 1.0f) * scale;
    }
}

static vector<u64> gpt2() {
    const u64 dim = 768;
    vector<u64> sizes = {50257 * dim, 1024 * dim};
    for (int block = 0; block < 12; ++block) {
        for (u64 rows : {1ull, 1ull, 3 * dim, 3ull, dim, 1ull, 1ull, 1ull, 4 * dim, 4ull, 4 * dim, 1ull}) {
            sizes.push_back(rows * dim);
        }
    }
    sizes.insert(sizes.end(), {dim, dim});
    return sizes;
}

static int multiprocessors() {
    int count;
    ok(cudaDeviceGetAttribute(&count, cudaDevAttrMultiProcessorCount, 0));
    return count;
}

/// All parameters of a model under one rule, and the tables of kernels/board.cuh.
struct Model {
    vector<u64> sizes;
    vector<float*> thetas;
    Board board = {};
    Window window = {};
    unsigned records = 0, tiles = 0, correcting = 0;

    /// κ is the bound of every tensor on its squared L2 norm; none without `regularized`.
    Model(const vector<u64>& given, bool regularized, double kappa) : sizes(given) {
        vector<Tensor> tensors;
        vector<u64> pieces, tile_table;
        vector<Record> table;
        for (u64 i = 0; i < sizes.size(); ++i) {
            const u64 count = sizes[i];
            float* theta = zeros<float>(count);
            float* gradient = zeros<float>(count);
            fill<<<512, 256>>>(theta, count, (u32)i * 77 + 1, 0.05f);
            fill<<<512, 256>>>(gradient, count, (u32)i * 77 + 5, 1e-3f);
            Tensor tensor = {};
            tensor.theta = (u64)theta;
            for (int moment = 0; moment < 2; ++moment) tensor.moments[moment] = (u64)zeros<float>(count);
            tensor.elements = count;
            tensor.first_piece = pieces.size();
            tensor.pieces = (count + CHUNK - 1) / CHUNK;
            tensor.first_tile = tile_table.size();
            for (u64 chunk = 0; chunk < tensor.pieces; ++chunk) pieces.push_back(i | chunk << 32);
            if (regularized) {
                Record record = {};
                record.regularizer = L2;
                record.bound = BOUND_SET;
                record.bound_numbers[0] = bits<u64>(kappa);
                record.flags = GUARD;
                record.mu = 1e-3;
                record.count = count;
                record.tensor = i;
                table.push_back(record);
                tensor.record = table.size();
                for (u64 tile = 0; tile * TILE < tensor.pieces; ++tile) tile_table.push_back(i | tile << 32);
            }
            window.gradients[i] = (u64)gradient;
            thetas.push_back(theta);
            tensors.push_back(tensor);
        }
        Set set = {};
        set.kind = ADAM;
        set.lr_factor = 1.0;
        set.beta1 = 0.9;
        set.beta2 = 0.999;
        set.eps = 1e-8;
        set.decay_kind = DECOUPLED;
        set.decay = regularized ? 0.0 : 0.01;
        const size_t count = sizes.size();
        board = {on_device(tensors), on_device(vector<Set>{set}), on_device(pieces), on_device(tile_table),
                 zeros<u64>(count), zeros<Plan>(count), zeros<Correction>(count), on_device(table),
                 zeros<Statistic>(pieces.size()), zeros<Statistic>(pieces.size()), zeros<Clock>(1),
                 zeros<Statistic>(count), zeros<AmosState>(count), pieces.size(), 1, count};
        window.tensors = count;
        window.lr = 1e-4;
        window.decay = 1.0;
        records = (unsigned)table.size();
        tiles = (unsigned)tile_table.size();
        correcting = (unsigned)std::min<u64>(pieces.size(), CORRECTING * multiprocessors());
        prepare<<<1, BLOCK>>>(board);
        ok(cudaDeviceSynchronize());
    }

    /// The launches of src/cuda/fused.rs; an event before each kernel and one behind the last, where there are events.
    void step(bool check, cudaEvent_t* events = nullptr) {
        const unsigned blocks = (unsigned)board.piece_count;
        auto mark = [&] {
            if (events) cudaEventRecord(*events++);
        };
        window.attempt += 1;
        window.check = check;
        mark();
        if (check) check_f32<<<blocks, BLOCK>>>(board, window);
        mark();
        settle<<<1, BLOCK>>>(board, window);
        begin<<<1, BLOCK>>>(board, window);
        mark();
        step_f32_adam<<<blocks, STEPPERS>>>(board, window);
        mark();
        if (records) update<<<tiles, BLOCK>>>(board, window.attempt);
        mark();
        if (records) correct_f32<<<correcting, BLOCK>>>(board, window.attempt);
        mark();
    }

    u64 hash() const {
        u64 hash = 14695981039346656037ull;
        auto add = [&](u64 word) { hash = (hash ^ word) * 1099511628211ull; };
        for (u64 i : {(u64)0, (u64)4, (u64)5, (u64)sizes.size() - 1}) {
            vector<u32> theta(std::min<u64>(sizes[i], 1 << 20));
            ok(cudaMemcpy(theta.data(), thetas[i], theta.size() * 4, cudaMemcpyDeviceToHost));
            for (u32 word : theta) add(word);
        }
        vector<Record> table(records);
        ok(cudaMemcpy(table.data(), board.records, table.size() * sizeof(Record), cudaMemcpyDeviceToHost));
        for (const Record& record : table) {
            add(bits<u64>(record.lambda));
            add(bits<u64>(record.carried.x));
        }
        return hash;
    }
};

static double median(vector<float> times) {
    std::sort(times.begin(), times.end());
    return times[times.size() / 2];
}

int main() {
    const vector<u64> sizes = gpt2();
    Model models[] = {{sizes, false, 0.0}, {sizes, true, 1e30}, {sizes, true, 1e-9}};
    const char* names[] = {"AdamW", "AdamCPR, no λ active", "AdamCPR, every λ active"};
    constexpr int ROUNDS = 8, STEPS = 20, KERNELS = 5;
    vector<float> whole[3][2], parts[3][KERNELS];
    cudaEvent_t events[KERNELS + 1];
    for (cudaEvent_t& event : events) ok(cudaEventCreate(&event));
    for (int round = 0; round <= ROUNDS; ++round) {
        for (int i = 0; i < 3; ++i) {
            float ms;
            for (int check = 0; check < 2; ++check) {
                models[i].step(check);
                cudaEventRecord(events[0]);
                for (int step = 0; step < STEPS; ++step) models[i].step(check);
                cudaEventRecord(events[1]);
                ok(cudaDeviceSynchronize());
                ok(cudaEventElapsedTime(&ms, events[0], events[1]));
                if (round > 0) whole[i][check].push_back(ms / STEPS);
            }
            models[i].step(true, events);
            ok(cudaDeviceSynchronize());
            for (int kernel = 0; kernel < KERNELS; ++kernel) {
                ok(cudaEventElapsedTime(&ms, events[kernel], events[kernel + 1]));
                if (round > 0) parts[i][kernel].push_back(1e3f * ms);
            }
        }
    }
    for (int i = 0; i < 3; ++i) {
        const double bare = median(whole[i][0]), checked = median(whole[i][1]);
        printf("%s: %.4f ms, %.3f of AdamW; unchecked %.4f ms, %.3f\n", names[i], checked,
               checked / median(whole[0][1]), bare, bare / median(whole[0][0]));
        printf("  us: check %.1f, settle and begin %.1f, step %.1f, update %.1f, correct %.1f; hash %016llx\n",
               median(parts[i][0]), median(parts[i][1]), median(parts[i][2]), median(parts[i][3]),
               median(parts[i][4]), models[i].hash());
    }
}
