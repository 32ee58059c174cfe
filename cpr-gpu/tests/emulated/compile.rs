//! The kernels' source as a C++ program.

use std::{
    path::{Path, PathBuf},
    process::Command,
};

/// Compiles tests/emulated/`name`.cpp with these flags more; none where there is no compiler, with a message.
pub(crate) fn program(name: &str, flags: &[&str]) -> Option<PathBuf> {
    let compiler = std::env::var("CXX").unwrap_or_else(|_| "c++".into());
    let source =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/emulated").join(format!("{name}.cpp"));
    let program = format!("emulated-{name}-{}", std::process::id());
    let program = Path::new(env!("CARGO_TARGET_TMPDIR")).join(program);
    let compile = Command::new(&compiler)
        .args(["-std=c++17", "-O1", "-fno-strict-aliasing"])
        .args(["-Wall", "-Wextra", "-Werror", "-Wno-unknown-pragmas"])
        .args(flags)
        .arg("-o")
        .args([&program, &source])
        .status();
    match compile {
        Ok(status) => {
            assert!(status.success(), "{compiler} refuses {}", source.display());
            Some(program)
        }
        Err(error) => {
            eprintln!("skipped: no C++ compiler ({compiler}: {error}); set CXX");
            None
        }
    }
}
