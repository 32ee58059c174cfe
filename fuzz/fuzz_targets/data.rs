#![no_main]

use libfuzzer_sys::fuzz_target;
use peak_alloc::PeakAlloc;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// Beyond the file's size.
const LIMIT: usize = 64_000_000;

fuzz_target!(|data: &[u8]| {
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    cpr_tests::fuzzing::data(data);
    let most = MEMORY.peak_usage().saturating_sub(before);
    assert!(most <= data.len() + LIMIT, "{most} bytes of memory for {} bytes", data.len());
});
