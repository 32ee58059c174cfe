#!/usr/bin/env bash
# Builds the firmware for Cortex-M with and without an FPU, checks that no panic can be reached in it and that it formats
# no float, runs it in emulation, compares its bits with the host's, and prints what it takes: bytes of flash, RAM
# and stack, instructions a step and a parameter. Then the same cases and more on an emulated AArch64.
#
# Needs the Rust targets thumbv7em-none-eabihf, thumbv6m-none-eabi and aarch64-unknown-linux-musl, llvm-tools (`rustup
# component add llvm-tools`) or an LLVM on the path, qemu-system-arm and qemu-aarch64; without an emulator it builds
# and says what it does not run.
set -euo pipefail
cd "$(dirname "$0")"

cases=(gradient adam padam minimal_sgd minimal set any_sgd any_adam head)
targets=(thumbv7em-none-eabihf thumbv6m-none-eabi)
machine=mps2-an386
seconds=300

fail() {
    echo "tests/embedded: $*" >&2
    exit 1
}

tool() {
    local found
    for found in "$(rustc --print sysroot)"/lib/rustlib/*/bin/"$1" "$(command -v "$1" || true)"; do
        if [[ -x $found ]]; then
            echo "$found"
            return
        fi
    done
    fail "no $1: rustup component add llvm-tools"
}

size=$(tool llvm-size)
nm=$(tool llvm-nm)

emulate() {
    timeout "$seconds" qemu-system-arm -machine "$machine" -nographic -monitor none -serial none \
        -semihosting-config enable=on,target=native -kernel "$@" </dev/null
}

if ! command -v qemu-system-arm >/dev/null; then
    echo "SKIPPED: no qemu-system-arm (Debian: apt-get install qemu-system-arm); built, not run"
    run=no
else
    run=yes
fi

cargo test --quiet --locked

# The code that formats floats: the search must find it where it is.
float_formatting='flt2dec|float_to_(decimal|exponential)|fmt5float'

out=target/out
mkdir -p "$out"
cargo run --quiet --locked --example bits >"$out/bits.txt"
grep -E '^(loss|first|second|right) ' "$out/bits.txt" >"$out/head.txt"

for target in "${targets[@]}"; do
    build=(cargo build --quiet --locked --release --target "$target")
    "${build[@]}" --features firmware
    printf '\n%-22s %-12s %8s %8s %8s\n' "$target" "" text data bss
    for case in "${cases[@]}"; do
        image=target/$target/release/$case
        if "$nm" "$image" | grep -i panic; then
            fail "$case for $target holds code that panics"
        fi
        if "$nm" "$image" | grep -E "$float_formatting"; then
            fail "$case for $target holds code that formats floats"
        fi
        read -r text data bss _ < <("$size" "$image" | tail -n 1)
        printf '%-22s %-12s %8s %8s %8s\n' "" "$case" "$text" "$data" "$bss"
        if [[ $run == yes ]]; then
            emulate "$image" || fail "$case for $target failed in emulation"
        fi
    done

    # A firmware that can panic does not link: else the builds above would prove nothing.
    if refusal=$("${build[@]}" --features control --bin panicking 2>&1); then
        fail "a firmware with a panic links for $target"
    fi
    grep -q a_panic_can_be_reached <<<"$refusal" || fail "the control failed otherwise: $refusal"
    # Nor is the search for the formatting of floats an empty one, in a build that lets it link.
    "${build[@]}" --features control,lenient --bin formatting
    "$nm" "target/$target/release/formatting" | grep -qE "$float_formatting" ||
        fail "the search does not find the formatting of a float for $target"
done

if [[ $run == yes ]]; then
    tick=40 # instructions: one takes 1 ns under -icount shift=0, and the machine's counter runs at 25 MHz
    steps=100
    for target in "${targets[@]}"; do
        printf '\n%-22s %-12s %14s %8s\n' "$target" "" instructions stack
        cargo build --quiet --locked --release --target "$target" --features cost --target-dir target/cost
        for case in "${cases[@]}"; do
            said=$(emulate "target/cost/$target/release/$case" -icount shift=0 2>&1) ||
                fail "$case for $target failed in emulation: $said"
            ticks=$(awk '$1 == "ticks" { print $2 }' <<<"$said")
            stack=$(awk '$1 == "stack" { print $2 }' <<<"$said")
            case $case in
            any_*) runs=$((5 * steps)) ;;       # one for each regularizer
            padam) runs=$((2 * steps)) ;;       # one for each decay
            head) runs=180 ;;                   # of 30 times 6 batches
            *) runs=$steps ;;
            esac
            printf '%-22s %-12s %14s %8s\n' "" "$case" $((ticks * tick / runs)) "$stack"
            if [[ $case == head ]]; then
                grep -vE '^(ticks|stack) ' <<<"$said" | tee "$out/head-$target.txt"
                cmp "$out/head.txt" "$out/head-$target.txt" || fail "the head says something else than on the host"
            fi
        done
        printf '\n%-22s %-14s %10s %10s\n' "$target" "instructions of" parameter step
        emulate "target/cost/$target/release/per_parameter" -icount shift=0 2>&1 | awk '
            $1 == "case" { name = $2 }
            $1 == "each" { each = $2 }
            $1 == "step" { printf "%-22s %-14s %10s %10s\n", "", name, each, $2; n++ }
            END { exit n != 11 }' || fail "per_parameter for $target failed in emulation"
    done
fi

# rust-lld links what Rust brings for musl: no C compiler for the target is needed.
arm=aarch64-unknown-linux-musl
CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER=rust-lld \
    cargo build --quiet --locked --target "$arm" --example bits
if command -v qemu-aarch64 >/dev/null; then
    qemu-aarch64 "target/$arm/debug/examples/bits" >"$out/bits-$arm.txt" || fail "bits failed on $arm"
    cmp "$out/bits.txt" "$out/bits-$arm.txt" || fail "$arm comes to other bits"
    printf '\n%s: the host'"'"'s bits in all %s lines\n' "$arm" "$(wc -l <"$out/bits.txt")"
else
    echo "SKIPPED: no qemu-aarch64 (Debian: apt-get install qemu-user); built for $arm, not run"
fi
