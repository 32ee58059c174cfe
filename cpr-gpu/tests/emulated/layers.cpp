// Runs one kernel of the layers on the CPU for each job on standard input: the number of the kernel, of its blocks and of
// its buffers, each buffer's bytes and contents, and twelve words, each behind a 1 if it names a buffer. Answers with the
// buffers. tests/emulated_layers.rs writes and reads this.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <vector>

#include "../../kernels/layers.cu"

static u64 word() {
    u64 value;
    if (fread(&value, 8, 1, stdin) != 1) exit(0); // the end of the jobs
    return value;
}

typedef void (*Kernel)(const Words);
#define BOTH(name) name##_f32, name##_bf16
static const Kernel KERNELS[] = {
    BOTH(softmax_forward), BOTH(softmax_backward), BOTH(dropout),       BOTH(entropy_forward),
    BOTH(entropy_backward), BOTH(norm_forward),    BOTH(norm_backward), BOTH(norm_columns),
    BOTH(columns),          BOTH(bias),            BOTH(split),         BOTH(join),
    BOTH(activation_forward),
    BOTH(activation_backward), BOTH(embedding_backward), patches, images, batch_sums, batch_forward,
    batch_gradient_sums, batch_backward};

int main() {
    for (;;) {
        const u64 kernel = word(), blocks = word(), count = word();
        if (kernel >= sizeof KERNELS / sizeof *KERNELS) return 1;
        std::vector<std::vector<u64>> buffers;
        std::vector<u64> bytes;
        for (u64 i = 0; i < count; ++i) {
            bytes.push_back(word());
            // 16 bytes more, filled, in which a write beyond the end shows.
            buffers.emplace_back(bytes[i] / 8 + 3, ~0ull);
            if (fread(buffers[i].data(), 1, bytes[i], stdin) != bytes[i]) return 1;
        }
        Words words;
        for (u64& at : words.at) {
            const u64 is_buffer = word(), value = word();
            at = is_buffer ? (u64)buffers[value].data() : value;
        }
        gridDim.x = (unsigned)blocks;
        blockDim.x = BLOCK;
        for (u64 turn = 0; turn < blocks; ++turn) {
            backwards = turn % 2 == 1;
            blockIdx.x = (unsigned)(blocks - 1 - turn);
            ended = true;
            KERNELS[kernel](words);
        }
        for (u64 i = 0; i < count; ++i) {
            const unsigned char* data = (const unsigned char*)buffers[i].data();
            for (u64 at = bytes[i]; at < buffers[i].size() * 8; ++at) {
                if (data[at] != 0xff) {
                    fprintf(stderr, "kernel %llu writes beyond the end of buffer %llu\n", kernel, i);
                    return 1;
                }
            }
            fwrite(data, 1, bytes[i], stdout);
        }
        fflush(stdout);
    }
}
