#!/usr/bin/env bash
# Builds the firmware for Cortex-M with and without an FPU, checks that no panic can be reached in it, runs it
# in emulation, compares its bits with the host's, and prints what it takes: bytes of flash, RAM and stack, and
# instructions a step.
#
# Needs the Rust targets thumbv7em-none-eabihf and thumbv6m-none-eabi, llvm-tools (`rustup component add
# llvm-tools`) or an LLVM on the path, and qemu-system-arm; without the last it builds and says that it runs nothing.
set -euo pipefail
cd "$(dirname "$0")"

cases=(gradient adam minimal_sgd minimal set any_sgd any_adam)
targets=(thumbv7em-none-eabihf thumbv6m-none-eabi)
machine=mps2-an386
seconds=60

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

for target in "${targets[@]}"; do
    build=(cargo build --quiet --locked --release --target "$target")
    "${build[@]}" --features firmware
    printf '\n%-22s %-12s %8s %8s %8s\n' "$target" "" text data bss
    for case in "${cases[@]}"; do
        image=target/$target/release/$case
        if "$nm" "$image" | grep -i panic; then
            fail "$case for $target holds code that panics"
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
done

if [[ $run == yes ]]; then
    tick=40 # instructions: one takes 1 ns under -icount shift=0, and the machine's counter runs at 25 MHz
    steps=100
    for target in "${targets[@]}"; do
        printf '\n%-22s %-12s %14s %8s\n' "$target" "" instructions stack
        cargo build --quiet --locked --release --target "$target" --features cost --target-dir target/cost
        for case in "${cases[@]}"; do
            said=$(emulate "target/cost/$target/release/$case" -icount shift=0) ||
                fail "$case for $target failed in emulation: $said"
            read -r _ ticks _ stack <<<"${said//$'\n'/ }"
            [[ $case == any_* ]] && runs=5 || runs=1 # one for each regularizer
            printf '%-22s %-12s %14s %8s\n' "" "$case" $((10#$ticks * tick / steps / runs)) $((10#$stack))
        done
    done
fi
