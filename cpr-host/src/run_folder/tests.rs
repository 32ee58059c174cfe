use std::time::Duration;

use tempfile::tempdir;

use super::*;
use crate::store::{Disk, Store};

fn make(runs: &Path, summary: &str) -> RunFolder {
    RunFolder::create(runs, "grokking", RunName::Made { summary, seed: 3 }).unwrap()
}

#[test]
fn a_made_name_takes_the_first_free_suffix_and_a_given_one_has_to_be_free() {
    let runs = tempdir().unwrap();
    let name = |run: &RunFolder| run.path().file_name().unwrap().to_str().unwrap().to_owned();
    assert_eq!(name(&make(runs.path(), "adamcpr std")), "adamcpr-std-seed3");
    assert_eq!(name(&make(runs.path(), "adamcpr std")), "adamcpr-std-seed3-2");
    assert_eq!(name(&make(runs.path(), "adamcpr/std")), "adamcpr-std-seed3-3");
    assert_eq!(name(&make(runs.path(), "")), "seed3");
    assert_eq!(name(&make(runs.path(), "../../up")), "up-seed3");
    let long = make(runs.path(), &"x".repeat(1000));
    assert!(name(&long).len() <= LONGEST);
    assert!(long.checkpoints().is_dir());

    let given = |name| RunFolder::create(runs.path(), "grokking", RunName::Given(name));
    let run = given("mine").unwrap();
    run.write("config.toml", b"seed = 3\n").unwrap();
    let error = given("mine").unwrap_err();
    assert!(matches!(&error, RunFolderError::Exists { path } if path.ends_with("grokking/mine")));
    assert!(error.to_string().contains("choose another name"), "{error}");
    assert_eq!(fs::read(run.file("config.toml")).unwrap(), b"seed = 3\n");
    for bad in ["", ".", "..", "a/b", "a b", "-rf", "\u{e9}", &"x".repeat(161)] {
        assert!(matches!(given(bad), Err(RunFolderError::Name { what: "run", .. })), "{bad}");
    }
    let experiment = RunFolder::create(runs.path(), "../x", RunName::Given("a"));
    assert!(matches!(experiment, Err(RunFolderError::Name { what: "experiment", .. })));
}

#[test]
fn processes_that_start_together_get_folders_of_their_own() {
    let runs = tempdir().unwrap();
    let paths: std::collections::BTreeSet<_> = std::thread::scope(|scope| {
        let threads: Vec<_> = (0..8).map(|_| scope.spawn(|| make(runs.path(), "same"))).collect();
        threads.into_iter().map(|run| run.join().unwrap().path().to_owned()).collect()
    });
    assert_eq!(paths.len(), 8);
}

#[test]
fn a_run_is_open_once() {
    let runs = tempdir().unwrap();
    let run = make(runs.path(), "a");
    let path = run.path().to_owned();
    assert!(matches!(RunFolder::open(&path), Err(RunFolderError::NotARun { .. })));
    run.write("config.toml", b"").unwrap();
    let error = RunFolder::open(&path).unwrap_err();
    assert!(matches!(error, RunFolderError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("in use by another process"), "{error}");
    drop(run);
    fs::remove_dir(path.join(CHECKPOINTS)).unwrap();
    let run = RunFolder::open(&path).unwrap();
    assert!(run.checkpoints().is_dir());
    assert!(matches!(RunFolder::open(&path), Err(RunFolderError::InUse { .. })));
    let nowhere = RunFolder::open(&runs.path().join("nowhere"));
    assert!(matches!(nowhere, Err(RunFolderError::NotARun { .. })));
}

/// The test above asks within one process; this one asks a second one, which holds the lock with
/// the system's own `flock` command.
#[cfg(target_os = "linux")]
#[test]
fn the_lock_holds_between_processes() {
    let runs = tempdir().unwrap();
    let run = make(runs.path(), "a");
    let path = run.path().to_owned();
    run.write("config.toml", b"").unwrap();
    drop(run);
    let mut holder = std::process::Command::new("flock")
        .arg(path.join(LOCK))
        .arg("cat")
        .stdin(std::process::Stdio::piped())
        .spawn()
        .expect("this test needs the command flock of util-linux");
    let refused = (0..500).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        matches!(RunFolder::open(&path), Err(RunFolderError::InUse { .. }))
    });
    // The end of its input ends `cat` and with it the lock.
    drop(holder.stdin.take());
    holder.wait().unwrap();
    RunFolder::open(&path).unwrap();
    assert!(refused);
}

/// A disk that is full after a few bytes.
struct Full;

impl Store for Full {
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        Disk.write(file, &bytes[..bytes.len() / 2])?;
        Err(io::Error::other("the disk is full"))
    }
}

#[test]
fn a_failed_write_leaves_the_old_file() {
    let folder = tempdir().unwrap();
    let path = folder.path().join("summary.json");
    replace(&mut Disk, &path, b"old").unwrap();
    let error = replace(&mut Full, &path, b"half of the new");
    assert_eq!(error.unwrap_err().to_string(), "the disk is full");
    assert_eq!(fs::read(&path).unwrap(), b"old");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    // What a kill leaves behind does not get in the way.
    fs::write(folder.path().join(".summary.json.tmp"), b"remains of an earlier attempt").unwrap();
    replace(&mut Disk, &path, b"new").unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"new");
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);

    // The rename fails: a folder stands where the file should.
    let taken = folder.path().join("taken");
    fs::create_dir_all(taken.join("inside")).unwrap();
    assert!(replace(&mut Disk, &taken, b"x").is_err());
    assert!(taken.join("inside").is_dir());
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2);
    assert!(replace(&mut Disk, Path::new("/"), b"").is_err());
}

#[test]
fn errors_name_the_path_and_what_to_do() {
    let runs = tempdir().unwrap();
    let file = runs.path().join("file");
    fs::write(&file, b"").unwrap();
    let error = RunFolder::create(&file, "grokking", RunName::Given("a")).unwrap_err();
    let text = error.to_string();
    assert!(text.contains("file/grokking") && text.contains("choose another place"), "{text}");
    let run = make(runs.path(), "a");
    fs::create_dir(run.file("plot.svg")).unwrap();
    let text = run.write("plot.svg", b"").unwrap_err().to_string();
    assert!(text.contains("cannot write") && text.contains("plot.svg"), "{text}");
}

#[test]
fn the_environment_is_the_same_twice_and_says_nothing_private() {
    let environment = Environment::current(9);
    let json = environment.to_json();
    assert_eq!(json, Environment::current(9).to_json());
    let back: Environment = serde_json::from_str(&json).unwrap();
    assert_eq!(back, environment);
    let fields: serde_json::Map<_, _> = serde_json::from_str(&json).unwrap();
    let names: Vec<_> = fields.keys().map(String::as_str).collect();
    assert_eq!(names, ["version", "git_commit", "cpu", "cores", "os", "arch", "seed"]);
    assert!(!json.contains('\\') && !json.contains(env!("CARGO_MANIFEST_DIR")), "{json}");
    if let Some(commit) = environment.git_commit {
        assert!(commit.len() >= 40 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()));
    }
    let cpuinfo = "processor\t: 0\nmodel name\t: Some CPU @ 2.0GHz: fast\nmodel name\t: Other\n";
    assert_eq!(environment::cpu_model(cpuinfo).unwrap(), "Some CPU @ 2.0GHz: fast");
    assert_eq!(environment::cpu_model("processor : 0\nmodel name :\n"), None);
}
