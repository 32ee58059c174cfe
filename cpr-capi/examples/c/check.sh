#!/usr/bin/env bash
# Compiles train.c against the library with gcc and runs it, plain and with gcc's sanitizers; then, where there is an
# arm-none-eabi-gcc, for a Cortex-M4: no panic may be in the image, and in emulation it must come to the host's bits.
set -euo pipefail
cd "$(dirname "$0")"

root=../../..
out=$root/target/c-example
mkdir -p "$out"
fail() {
    echo "cpr-capi/examples/c: $*" >&2
    exit 1
}
flags=(-std=c11 -O2 -ffp-contract=off -Wall -Wextra -Werror -Wpedantic -I../../include)

cargo build --quiet --locked -p cpr-capi
library=$root/target/debug/libcpr_capi.a
gcc "${flags[@]}" train.c host.c "$library" -lm -lpthread -ldl -o "$out/train"
"$out/train" | tee "$out/host.txt"
gcc "${flags[@]}" -g -fsanitize=address,undefined train.c host.c "$library" -lm -lpthread -ldl -o "$out/train-checked"
"$out/train-checked" | cmp - "$out/host.txt" || fail "with sanitizers it says something else"
if command -v g++ >/dev/null; then
    g++ -x c++ -fsyntax-only -Wall -Wextra -Werror ../../include/cpr.h
fi

if ! command -v arm-none-eabi-gcc >/dev/null; then
    echo "SKIPPED: no arm-none-eabi-gcc (Debian: apt-get install gcc-arm-none-eabi); not compiled for the target"
    exit
fi
target=thumbv7em-none-eabihf
cargo rustc --quiet --locked -p cpr-capi --profile embedded --no-default-features --features libm \
    --target "$target" --target-dir "$root/target/bare" --crate-type staticlib
arm-none-eabi-gcc "${flags[@]}" -Os -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 -ffreestanding \
    -ffunction-sections -nostdlib -Wl,--gc-sections,-z,noexecstack -T target.ld train.c target.c \
    "$root/target/bare/$target/embedded/libcpr_capi.a" -lgcc -o "$out/train.elf"
if arm-none-eabi-nm "$out/train.elf" | grep -i panic; then
    fail "the image holds code that panics"
fi
arm-none-eabi-size "$out/train.elf"
if ! command -v qemu-system-arm >/dev/null; then
    echo "SKIPPED: no qemu-system-arm; compiled for the target, not run"
    exit
fi
timeout 300 qemu-system-arm -machine mps2-an386 -nographic -monitor none -serial none \
    -semihosting-config enable=on,target=native -kernel "$out/train.elf" </dev/null >"$out/target.txt" 2>&1 ||
    fail "the target failed: $(cat "$out/target.txt")"
diff <(awk '{ print $1, $NF }' "$out/host.txt") "$out/target.txt" || fail "the target comes to other bits"
echo "the target comes to the host's bits"
