//! SIGKILL at random moments. `CPR_KILLS` is how many in all (20 without it).

use std::{
    fs,
    os::unix::process::ExitStatusExt as _,
    process::Stdio,
    thread::{sleep, yield_now},
    time::Instant,
};

use super::{Moments, Place, assert_same, grokking};

const KINDS: [&str; 2] = [
    "--kappa-init inflection=3 --adaptive on-release --checkpoint-every 2",
    "--reg std --kappa-init dependent=0.9 --order before-base --clip 1 --checkpoint-every 5 --keep 1",
];

#[test]
fn killed_at_any_moment_a_run_is_resumed_to_the_same_bytes() {
    let kills: usize = match std::env::var("CPR_KILLS") {
        Ok(kills) => kills.parse().expect("CPR_KILLS is a number"),
        Err(_) => 20,
    };
    for (index, kind) in KINDS.into_iter().enumerate() {
        let line = grokking(kind);
        let whole = Place::new();
        let start = Instant::now();
        whole.cpr(&line);
        let limit = start.elapsed() / 3;

        let mut moments = Moments(index as u64);
        let (mut killed, mut finished, mut anew) = (0, 0, 0);
        let mut place = Place::new();
        let resume = "resume runs/grokking/run";
        while killed < kills.div_ceil(KINDS.len()) {
            let exists = place.run().exists();
            let checkpoints = fs::read_dir(place.run().join("checkpoints"));
            let saved = checkpoints.is_ok_and(|mut entries| {
                entries.any(|entry| {
                    entry.unwrap().path().extension().is_some_and(|end| end == "safetensors")
                })
            });
            if exists && !saved {
                // Killed before its first checkpoint: the run says so.
                let error = place.error(resume);
                assert!(
                    error.contains("has no checkpoint") || error.contains("is no run"),
                    "{error}"
                );
                place = Place::new();
                anew += 1;
            }
            let mut command = place.command(if saved { resume } else { &line });
            let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
            sleep(moments.below(limit));
            child.kill().unwrap();
            let output = child.wait_with_output().unwrap();
            if output.status.signal() == Some(9) {
                killed += 1;
                continue;
            }
            // It was faster than the kill.
            assert!(output.status.success(), "{kind}: {}", String::from_utf8_lossy(&output.stderr));
            assert_same(&whole, &place, kind);
            place = Place::new();
            finished += 1;
        }
        if !place.last().exists() {
            // On a busy machine the last kills may all come too early: one more, as soon as there is a checkpoint.
            place = Place::new();
            let mut child = place.command(&line).stdout(Stdio::null()).spawn().unwrap();
            while !place.last().exists() && child.try_wait().unwrap().is_none() {
                yield_now();
            }
            child.kill().unwrap();
            child.wait().unwrap();
        }
        place.cpr(resume);
        assert_same(&whole, &place, kind);
        finished += 1;
        println!("{killed} kills, {finished} runs finished, {anew} begun anew: {kind}");
    }
}
