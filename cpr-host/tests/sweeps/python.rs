//! The metrics in other programs' hands: pandas and TensorBoard's own reader.

use super::*;

#[test]
fn pandas_and_tensorboard_read_the_metrics() {
    let python = std::env::var("CPR_PYTHON").unwrap_or_else(|_| "python3".to_owned());
    let has = Command::new(&python)
        .args(["-c", "import pandas, tensorboard"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    if !has.is_ok_and(|status| status.success()) {
        eprintln!(
            "SKIPPED: pandas and TensorBoard (python3 without them; `pip install pandas tensorboard`)"
        );
        return;
    }
    let place = Place::with(&STUDY.replace("seeds = 3", "seeds = 1"));
    place.cpr("sweep study.toml");
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/check_metrics.py");
    let output = Command::new(python)
        .arg(script)
        .arg(place.path("study/grokking/warm-start-seed1"))
        .output()
        .unwrap();
    let (stdout, stderr) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{stdout}{stderr}");
    assert!(stdout.contains("20 rows") && stdout.contains("agree"), "{stdout}");
}
