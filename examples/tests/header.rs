//! `cpr-capi/include/cpr.h`, which the examples in C and Python are written to, is what cbindgen makes of the sources.

use std::{env, fs, path::Path};

#[test]
fn the_header_is_that_of_the_sources() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../cpr-capi");
    let config = cbindgen::Config::from_file(root.join("cbindgen.toml")).unwrap();
    let sources = root.join("src/lib.rs");
    let bindings = cbindgen::Builder::new().with_config(config).with_src(sources).generate();
    let mut made = Vec::new();
    bindings.unwrap().write(&mut made);
    // The contract stands once, at the head.
    let made = String::from_utf8(made)
        .unwrap()
        .replace("//\n// # Safety\n// The module's contract.\n", "");
    let header = root.join("include/cpr.h");
    if env::var_os("CPR_HEADER").is_some() {
        fs::write(&header, &made).unwrap();
    }
    let kept = fs::read_to_string(&header).unwrap_or_default();
    assert!(
        kept == made,
        "cpr.h is not that of the sources: CPR_HEADER=write cargo test -p cpr-examples --test header"
    );
}
