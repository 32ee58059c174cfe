// Runs the kernels' own source on the CPU: jobs of 8-byte words on standard input, results on standard output.
// The format of both is what tests/emulated.rs writes and reads; the order of the launches is that of src/cuda/.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "../../kernels/cpr.cu"

using std::vector;

static u64 word() {
    u64 value;
    if (fread(&value, 8, 1, stdin) != 1) exit(0); // the end of the jobs
    return value;
}

template <class T>
static void words(T* into, size_t count) {
    static_assert(sizeof(T) % 8 == 0, "words");
    if (count > 0 && fread(into, sizeof(T), count, stdin) != count) exit(1);
}

static void put(const void* from, size_t bytes) { fwrite(from, 1, bytes, stdout); }

template <class F>
static void launch(u64 blocks, F kernel, u32 threads = BLOCK) {
    gridDim.x = (unsigned)blocks;
    blockDim.x = threads;
    for (u64 block = 0; block < blocks; ++block) {
        blockIdx.x = (unsigned)(backwards ? blocks - 1 - block : block);
        ended = true;
        handed = 0;
        kernel();
    }
}

/// Elements of 2, 4 or 8 bytes, `shift` elements after an aligned address.
struct Buffer {
    vector<u64> memory;
    size_t width, shift, count;

    Buffer(size_t width, size_t shift, size_t count)
        : memory((count + shift + 8) * width / 8 + 4), width(width), shift(shift), count(count) {}
    char* data() {
        uintptr_t address = ((uintptr_t)memory.data() + 15) / 16 * 16;
        return (char*)address + shift * width;
    }
    void read() {
        for (size_t i = 0; i < count; ++i) {
            u64 value = word();
            memcpy(data() + i * width, &value, width);
        }
    }
    void write() {
        for (size_t i = 0; i < count; ++i) {
            u64 value = 0;
            memcpy(&value, data() + i * width, width);
            put(&value, 8);
        }
    }
};

struct Parameter {
    u64 shift;
    Buffer theta, m, v, top, low;
};

static void job() {
    const u64 tensor_count = word(), set_count = word(), record_count = word(), calls = word();
    backwards = word() != 0;
    const u64 capacity = word();
    vector<Set> sets(set_count);
    words(sets.data(), set_count);
    vector<Tensor> tensors;
    vector<Parameter> parameters;
    vector<u64> pieces, tile_table;
    for (u64 i = 0; i < tensor_count; ++i) {
        u64 wide = word(), low_kind = word(), elements = word(), set = word(), record = word();
        u64 shift = word();
        double eta = 0.0;
        words(&eta, 1);
        size_t width = wide ? 8 : 4;
        Buffer own(width, shift, elements);
        own.read();
        parameters.push_back({shift, own, Buffer(width, shift, elements),
                              Buffer(width, shift, elements), Buffer(width, shift, elements),
                              Buffer(2, shift, low_kind ? elements : 0)});
        Tensor tensor = {0, {0, 0, 0}, 0, low_kind, wide, elements, set, record, pieces.size(),
                         (elements + CHUNK - 1) / CHUNK, tile_table.size(), eta};
        const u64 tiles = tensor.pieces == 0 ? 1 : (tensor.pieces + TILE - 1) / TILE;
        for (u64 tile = 0; record && tile < tiles; ++tile) tile_table.push_back(i | tile << 32);
        for (u64 chunk = 0; chunk < tensor.pieces; ++chunk) pieces.push_back(i | chunk << 32);
        tensors.push_back(tensor);
    }
    vector<Record> records(record_count);
    words(records.data(), record_count);
    bool any_wide = false, any_narrow = false, averages = false, observes = false;
    for (u64 i = 0; i < tensor_count; ++i) {
        Tensor& tensor = tensors[i];
        Parameter& own = parameters[i];
        tensor.theta = (u64)own.theta.data();
        tensor.moments[0] = (u64)own.m.data();
        tensor.moments[1] = (u64)own.v.data();
        tensor.moments[2] = (u64)own.top.data();
        tensor.low = tensor.low_kind ? (u64)own.low.data() : 0;
        (tensor.wide ? any_wide : any_narrow) = true;
        averages = averages || measure_of(sets[tensor.set], WEIGHTS) != NO_REGULARIZER;
        observes = observes || measure_of(sets[tensor.set], GRADIENTS) != NO_REGULARIZER;
    }
    vector<u64> steps(tensor_count);
    vector<Plan> plans(tensor_count);
    vector<Correction> corrections(tensor_count);
    vector<Statistic> seen(tensor_count);
    vector<AmosState> amos(tensor_count);
    // As src/kernel.rs has them: `average` needs one a parameter, however few the chunks.
    vector<Statistic> partials(pieces.size() > tensor_count ? pieces.size() : tensor_count);
    vector<Statistic> tops(std::max((pieces.size() + TILE - 1) / TILE, tile_table.size()));
    Clock clock = {};
    Board board = {tensors.data(),     sets.data(),    pieces.data(), tile_table.data(), steps.data(),
                   plans.data(),       corrections.data(), records.data(), partials.data(),
                   tops.data(),        &clock,         seen.data(),     amos.data(),
                   pieces.size(),      set_count,      tensor_count};
    launch(1, [&] { prepare(board); });

    for (u64 attempt = 1; attempt <= calls; ++attempt) {
        Window call = {};
        call.attempt = attempt;
        words(&call.lr, 1);
        words(&call.limit, 1);
        call.check = word();
        call.clip = word();
        words(&call.decay, 1);
        vector<Buffer> gradients;
        vector<u64> kinds;
        for (u64 i = 0; i < tensor_count; ++i) {
            kinds.push_back(word()); // 0 none, else 1 + GradientKind
            size_t width = kinds[i] > 1 ? 2 : tensors[i].wide ? 8 : 4;
            gradients.emplace_back(width, parameters[i].shift, kinds[i] ? tensors[i].elements : 0);
            gradients[i].read();
        }
        vector<Window> windows;
        vector<u64> counts;
        for (u64 first = 0; first < tensor_count; first += capacity) {
            Window window = call;
            window.first_tensor = first;
            window.tensors = tensor_count - first < capacity ? tensor_count - first : capacity;
            window.first_piece = tensors[first].first_piece;
            u64 count = 0;
            for (u64 i = 0; i < window.tensors; ++i) {
                u64 at = first + i;
                count += tensors[at].pieces;
                if (kinds[at]) {
                    window.gradients[i] = (u64)gradients[at].data() | (kinds[at] - 1) << 60;
                }
            }
            windows.push_back(window);
            counts.push_back(count);
        }
        for (size_t w = 0; w < windows.size() && (call.check || call.clip); ++w) {
            const Window& window = windows[w];
            if (any_narrow) launch(counts[w], [&] { check_f32(board, window); });
            if (any_wide) launch(counts[w], [&] { check_f64(board, window); });
        }
        if (call.clip) launch((pieces.size() + TILE - 1) / TILE, [&] { squares(board); });
        launch(1, [&] { settle(board, call); });
        for (u64 kind : {(u64)WEIGHTS, (u64)GRADIENTS}) {
            if (kind == WEIGHTS ? !averages : !observes) continue;
            call.observe = kind;
            for (size_t w = 0; w < windows.size(); ++w) {
                Window& window = windows[w];
                window.observe = kind;
                if (any_narrow) launch(counts[w], [&] { observe_f32(board, window); });
                if (any_wide) launch(counts[w], [&] { observe_f64(board, window); });
                launch(window.tensors, [&] { gather(board, window); });
            }
            if (averages) launch(1, [&] { average(board, call); });
        }
        for (const Window& window : windows) {
            launch((window.tensors + BLOCK - 1) / BLOCK, [&] { begin(board, window); });
        }
        typedef void (*Step)(const Board, const Window);
#define BASES(form)                                                                           \
    form##_sgd, form##_momentum, form##_adam, form##_amsgrad, form##_amos, form##_amos_momentum
        const Step all[] = {BASES(step_f32), BASES(full_f32), BASES(step_f64), BASES(full_f64)};
        for (size_t w = 0; w < windows.size(); ++w) {
            for (Step step : all) launch(counts[w], [&] { step(board, windows[w]); }, STEPPERS);
        }
        launch(tile_table.size(), [&] { update(board, attempt); });
        if (any_narrow) launch(3, [&] { correct_f32(board, attempt); });
        if (any_wide) launch(3, [&] { correct_f64(board, attempt); });
    }

    put(&clock, sizeof clock);
    put(steps.data(), 8 * steps.size());
    put(records.data(), sizeof(Record) * records.size());
    put(amos.data(), sizeof(AmosState) * amos.size());
    for (Parameter& own : parameters) {
        for (Buffer* buffer : {&own.theta, &own.m, &own.v, &own.top, &own.low}) buffer->write();
    }
}

int main() {
    for (;;) {
        job();
        fflush(stdout);
    }
}
