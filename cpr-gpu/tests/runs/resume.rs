//! Stopped and resumed in another process, a run on the CPU leaves the same bytes.

use std::{fs, process::Command, time::Duration};

use super::{Place, SAME, assert_same, grokking, same_but_best, text};

/// Every kind of state that a checkpoint has to hold here.
const KINDS: [&str; 13] = [
    "",
    "--reg std --kappa-init dependent=0.9 --order before-base",
    "--kappa-init inflection=3 --inflection-smoothing 0.5 --adaptive on-release",
    "--kappa-init warm-start=9 --adaptive while-inactive --clip 0.5",
    "--reg lp=0.8 --kappa-init dependent=0.9 --amsgrad",
    "--optimizer adamw --weight-decay 1.0",
    "--optimizer sgdcpr --momentum 0.9 --lr 0.05",
    "--optimizer rescale --rescale-factor 0.8",
    "--optimizer adadecay --adadecay-alpha 8 --weight-decay 1.0 --clip 0.5",
    "--optimizer awd --weight-decay 0.5",
    "--optimizer amos --lr 0.05 --weight-decay 0.01",
    "--optimizer amos --lr 0.05 --beta1 0",
    // One step throws the weights far away, all others are skipped.
    "--optimizer sgd --momentum 0 --lr 1e30 --max-bad-steps 1000",
];

#[test]
fn gone_on_with_in_another_process_a_run_leaves_the_same_bytes() {
    for kind in KINDS {
        let whole = Place::whole(kind);
        // The end of the first part is evaluated anyhow, and is no multiple of the interval of checkpoints.
        let place = Place::whole(&format!("{kind} --steps 27"));
        assert!(fs::read(whole.last()).unwrap() != fs::read(place.last()).unwrap(), "{kind}");
        let said = place.cpr_gpu("resume runs/grokking/run --steps 60 --threads 2");
        assert!(said.contains("goes on after step 27"), "{kind}: {said}");
        assert_same(&whole.run(), &place.run(), kind, same_but_best());
    }
}

#[test]
fn a_signal_saves_the_state_and_resume_leaves_the_same_bytes() {
    for kind in ["", "--optimizer awd --weight-decay 0.2 --weight-decay-end 10"] {
        signalled(&grokking(&format!("{kind} --steps 600")));
    }
}

fn signalled(line: &str) {
    let whole = Place::new();
    whole.cpr_gpu(line);
    // A run that ends before the signal reaches it is made again.
    let place = (0..50)
        .find_map(|attempt| {
            let place = Place::new();
            let child = place.started(line);
            std::thread::sleep(Duration::from_millis(attempt % 7));
            let kill = format!("kill -TERM {}", child.id());
            assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
            let output = child.wait_with_output().unwrap();
            let stdout = text(output.stdout);
            let next = "go on with: cpr-gpu resume runs/grokking/run\n";
            (output.status.code() == Some(130) && stdout.ends_with(next)).then_some(place)
        })
        .expect("a signal in time");
    assert!(!place.run().join("summary.json").exists());
    place.cpr_gpu("resume runs/grokking/run");
    assert_same(&whole.run(), &place.run(), "signal", SAME);
    let said = place.cpr_gpu("resume runs/grokking/run");
    assert!(said.contains("has ended at step 600"), "{said}");
}

#[test]
fn two_threads_leave_the_bytes_of_one() {
    // Large enough that products and parameters are divided.
    let large = "--p 23 --dim 64 --heads 4 --batch 128 --steps 12 --clip 1 --checkpoint-every 0";
    let [one, two] =
        ["1", "2"].map(|threads| Place::whole(&format!("{large} --threads {threads}")));
    assert_same(&one.run(), &two.run(), "threads", SAME);
}
