//! Compiles the CUDA kernels to PTX, with the feature `cuda` only.
#![allow(clippy::print_stdout, reason = "this is how a build script speaks to cargo")]

use std::{
    env,
    ffi::OsString,
    path::{Path, PathBuf},
    process::Command,
};

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=kernels");
    for name in ["NVCC", "CUDA_HOME", "CUDA_PATH", "CUDA_COMPUTE_CAP"] {
        println!("cargo::rerun-if-env-changed={name}");
    }
    if env::var_os("CARGO_FEATURE_CUDA").is_none() {
        return Ok(());
    }
    let out = env::var_os("OUT_DIR").map(PathBuf::from).ok_or("cargo sets OUT_DIR")?;
    let nvcc = compiler();
    let capability = env::var("CUDA_COMPUTE_CAP").unwrap_or_else(|_| "80".into()).replace('.', "");
    // No contraction in the step: a product and a sum round twice, as in cpr-core.
    for (name, contraction) in [("cpr", "--fmad=false"), ("layers", "--fmad=true")] {
        let source = format!("kernels/{name}.cu");
        let status = Command::new(&nvcc)
            .args(["--ptx", "-O3", "-std=c++17", contraction])
            .arg(format!("-arch=compute_{capability}"))
            .arg("-o")
            .args([out.join(format!("{name}.ptx")), PathBuf::from(&source)])
            .status()
            .map_err(|error| {
                format!(
                    "{} does not run ({error}): install a CUDA toolkit of 12.0 or later and set NVCC or CUDA_HOME, \
                     or build without the feature `cuda`",
                    Path::new(&nvcc).display()
                )
            })?;
        if !status.success() {
            return Err(format!(
                "{} cannot compile {source}: {status}",
                Path::new(&nvcc).display()
            ));
        }
    }
    Ok(())
}

/// `NVCC`, the toolkit's under `CUDA_HOME` or `CUDA_PATH`, or what the path has.
fn compiler() -> OsString {
    let of_toolkit = |name| {
        let found = PathBuf::from(env::var_os(name)?).join("bin/nvcc");
        found.exists().then(|| found.into_os_string())
    };
    env::var_os("NVCC")
        .or_else(|| of_toolkit("CUDA_HOME"))
        .or_else(|| of_toolkit("CUDA_PATH"))
        .unwrap_or_else(|| "nvcc".into())
}
