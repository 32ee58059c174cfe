//! Replays recorded trajectories: `cargo run --release --example conformance -- [--json] FILE…`

use std::{
    io::{self, Write},
    process::ExitCode,
};

fn main() -> anyhow::Result<ExitCode> {
    let (options, files): (Vec<String>, Vec<String>) =
        std::env::args().skip(1).partition(|argument| argument == "--json");
    let mut out = io::BufWriter::new(io::stdout().lock());
    let passed = cpr_host::conformance::run(&files, &mut out, !options.is_empty())?;
    out.flush()?;
    Ok(if passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
