//! Computes on the host what the firmware must come to, and hands the linker the memory map.

use std::{env, error::Error, fmt::Write as _, fs, path::PathBuf};

use cpr_core::L2;

#[path = "src/problem.rs"]
#[allow(dead_code, reason = "the library uses all of it")]
mod problem;

use problem::{
    Buffers, Trained, adam, differentiate_only, regularizers, sgd, train, train_free, train_set,
};

fn main() -> Result<(), Box<dyn Error>> {
    let out = PathBuf::from(env::var("OUT_DIR")?);
    fs::write(out.join("expected.rs"), expected().ok_or("the host cannot train the problem")?)?;
    fs::copy("memory.x", out.join("memory.x"))?;
    println!("cargo::rustc-link-search={}", out.display());
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=src/problem.rs");
    println!("cargo::rerun-if-changed=memory.x");
    if env::var_os("CARGO_FEATURE_FIRMWARE").is_some() {
        println!("cargo::rustc-link-arg-bins=-Tlink.x");
    }
    Ok(())
}

fn expected() -> Option<String> {
    let (mut two, mut none) = (Buffers::<2>::ZERO, Buffers::<0>::ZERO);
    let with_adam = |buffers: &mut _| {
        regularizers().into_iter().map(|r| train(r?, adam(), buffers)).collect::<Option<Vec<_>>>()
    };
    let with_sgd = |buffers: &mut _| {
        regularizers().into_iter().map(|r| train(r?, sgd(), buffers)).collect::<Option<Vec<_>>>()
    };
    let mut code = String::new();
    let mut one = |name: &str, trained: Trained| {
        writeln!(code, "/// Of `{name}`.\npub const {name}: Trained = {trained:?};").ok()
    };
    one("GRADIENT", differentiate_only(&mut none)?)?;
    one("ADAM", train_free(adam(), &mut two)?)?;
    one("L2_ADAM", train(L2, adam(), &mut two)?)?;
    one("L2_SGD", train(L2, sgd(), &mut none)?)?;
    one("SET", train_set(adam(), &mut two)?)?;
    for (name, all) in [("ANY_ADAM", with_adam(&mut two)?), ("ANY_SGD", with_sgd(&mut none)?)] {
        let all: &[Trained] = &all;
        writeln!(code, "/// Of `{name}`.\npub const {name}: [Trained; {}] = {all:?};", all.len())
            .ok()?;
    }
    Some(code)
}
