//! A failure before, within and after every operation that a run writes with: what is resumed leaves the same bytes.

use std::{
    collections::BTreeMap,
    fs::{self, File},
    io,
    path::{Path, PathBuf},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
};

use cpr_host::{
    cli::{self, Command},
    config::GrokkingConfig,
    experiment::{Experiment as _, Grokking},
    run_folder::RunFolderError,
    store::{Disk, Shared, Store},
    train::{Ending, Resume, Resumed, Run, TrainError},
};

use super::Place;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum When {
    Before,
    /// In the middle of a write; for any other operation the same as before it.
    Within,
    After,
}

/// Fails at one operation; if `dead`, at every one from there on, as after a kill. Nothing is synced: no test can pull
/// the plug, and thousands of runs would wait for the disk.
struct Failing {
    at: usize,
    when: When,
    dead: bool,
    count: Arc<AtomicUsize>,
}

impl Failing {
    fn shared(at: usize, when: When, dead: bool) -> (Shared, Arc<AtomicUsize>) {
        let count = Arc::new(AtomicUsize::new(0));
        (Shared::new(Self { at, when, dead, count: Arc::clone(&count) }), count)
    }

    fn run<T>(&mut self, operation: impl FnOnce(bool) -> io::Result<T>) -> io::Result<T> {
        let index = self.count.fetch_add(1, Ordering::Relaxed);
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        if (self.dead && index > self.at) || (index == self.at && self.when == When::Before) {
            return Err(full());
        }
        let result = operation(index == self.at && self.when == When::Within)?;
        if index == self.at { Err(full()) } else { Ok(result) }
    }

    fn whole<T>(&mut self, operation: impl FnOnce() -> io::Result<T>) -> io::Result<T> {
        self.run(|within| if within { Err(io::ErrorKind::StorageFull.into()) } else { operation() })
    }
}

impl Store for Failing {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        self.whole(|| Disk.create(path))
    }
    fn create_log(&mut self, path: &Path) -> io::Result<File> {
        self.whole(|| Disk.create_log(path))
    }
    fn cut(&mut self, file: &File, length: u64) -> io::Result<()> {
        self.whole(|| Disk.cut(file, length))
    }
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.run(|within| Disk.write(file, if within { &bytes[..bytes.len() / 2] } else { bytes }))
    }
    fn sync(&mut self, _: &File) -> io::Result<()> {
        self.whole(|| Ok(()))
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.whole(|| Disk.rename(from, to))
    }
    fn link(&mut self, file: &Path, name: &Path) -> io::Result<()> {
        self.whole(|| Disk.link(file, name))
    }
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.whole(|| Disk.remove(path))
    }
    fn sync_folder(&mut self, _: &Path) -> io::Result<()> {
        self.whole(|| Ok(()))
    }
}

/// Two evaluations and a checkpoint for every two steps; one numbered checkpoint stays.
fn config(place: &Place) -> GrokkingConfig {
    let line = "cpr grokking --p 3 --dim 2 --heads 1 --batch 8 --steps 4 --eval-every 2 --checkpoint-every 2 \
                --keep 1 --threads 1 --name run --optimizer sgdcpr --kappa-init warm-start=1";
    match cli::parse(line.split_whitespace()).unwrap() {
        Command::Grokking { mut config, .. } => {
            config.run.out = place.path().join("runs");
            *config
        }
        _ => unreachable!("grokking"),
    }
}

/// Trains a new run to its end.
fn begun(place: &Place, store: &Shared) -> Result<(), TrainError> {
    let experiment = Grokking::new(config(place))?;
    let ending = Run::create_on(store, experiment)?.train(&AtomicBool::new(false))?;
    assert_eq!(ending, Ending::Completed);
    Ok(())
}

/// Goes on with a run to its end; another test that starts a program holds a copy of its lock for a moment.
fn resumed(place: &Place, store: &Shared) -> Result<(), TrainError> {
    let how = Resume { threads: 1, ..Resume::default() };
    let Resumed { mut run, damaged, .. } = loop {
        match Run::<Grokking>::resume_on(store, &place.run(), how) {
            Err(TrainError::Folder(RunFolderError::InUse { .. })) => std::thread::yield_now(),
            resumed => break resumed?,
        }
    };
    assert!(damaged.is_empty(), "{damaged:?}");
    assert_eq!(run.train(&AtomicBool::new(false))?, Ending::Completed);
    Ok(())
}

/// All files of the run, those of the clock by their name alone.
fn files(place: &Place) -> BTreeMap<PathBuf, Vec<u8>> {
    let files = place.snapshot().into_iter().map(|(path, (bytes, _))| {
        let of_the_clock =
            path.ends_with("timing.jsonl") || path.ends_with("events.out.tfevents.0.cpr");
        (path, if of_the_clock { Vec::new() } else { bytes })
    });
    files.collect()
}

/// Asserts that a run is what the undisturbed one was, file by file.
fn assert_whole(whole: &BTreeMap<PathBuf, Vec<u8>>, place: &Place, title: &str) {
    let found = files(place);
    let names = |files: &BTreeMap<PathBuf, Vec<u8>>| files.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&found), names(whole), "{title}");
    for (path, bytes) in whole {
        assert!(found[path] == *bytes, "{title}: {}", path.display());
    }
}

/// Ways to fail at the operation `at`: before and after it, by turns once and for good; all with `CPR_FAULTS` set.
fn ways(at: usize) -> Vec<(When, bool)> {
    let all = std::env::var_os("CPR_FAULTS").is_some();
    let turns = at.is_multiple_of(2);
    let ways = [
        (When::Before, turns),
        (When::After, !turns),
        (When::Before, !turns),
        (When::After, turns),
        (When::Within, true),
        (When::Within, false),
    ];
    ways[..if all { 6 } else { 2 }].to_vec()
}

#[test]
fn a_run_that_fails_at_any_operation_is_resumed_to_the_same_bytes() {
    let place = Place::new();
    let (quick, operations) = Failing::shared(usize::MAX, When::Before, false);
    begun(&place, &quick).unwrap();
    let operations = operations.load(Ordering::Relaxed);
    let whole = files(&place);
    let (mut tried, mut went_on, mut anew, mut unharmed) = (0, 0, 0, 0);
    for at in 0..operations {
        for (when, dead) in ways(at) {
            let title = format!("{when:?} operation {at} of {operations}, dead: {dead}");
            fs::remove_dir_all(place.path().join("runs")).unwrap();
            let (store, _) = Failing::shared(at, when, dead);
            tried += 1;
            match begun(&place, &store) {
                Ok(()) => unharmed += 1,
                Err(error) => assert!(error.to_string().contains("runs"), "{title}: {error}"),
            }
            match resumed(&place, &quick) {
                Ok(()) => went_on += 1,
                Err(
                    TrainError::NoCheckpoint { .. }
                    | TrainError::Folder(RunFolderError::NotARun { .. }),
                ) => {
                    // Before its first checkpoint: nothing but the start is lost.
                    anew += 1;
                    fs::remove_dir_all(place.path().join("runs")).unwrap();
                    begun(&place, &quick).unwrap();
                }
                Err(error) => panic!("{title}: {error}"),
            }
            assert_whole(&whole, &place, &title);
        }
    }
    // A link that fails is a copy instead; a failure to sync the folder is none that a resume could see.
    println!("{tried} failures: {went_on} resumed, {anew} begun anew, {unharmed} without harm");
    assert!(unharmed < tried / 20, "{unharmed} of {tried}");
    assert!(went_on > 2 * anew && anew > 50, "{went_on} {anew}");
}

#[test]
fn a_resume_that_fails_at_any_operation_is_resumed_to_the_same_bytes() {
    let place = Place::new();
    let (quick, _) = Failing::shared(usize::MAX, When::Before, false);
    begun(&place, &quick).unwrap();
    let whole = files(&place);

    // Stopped after its third step, with a torn line behind what the checkpoint knows.
    fs::remove_dir_all(place.path().join("runs")).unwrap();
    let mut run = Run::create_on(&quick, Grokking::new(config(&place)).unwrap()).unwrap();
    for step in 1..=3 {
        assert_eq!(run.train(&AtomicBool::new(true)).unwrap(), Ending::Interrupted);
        assert_eq!(run.taken(), step);
    }
    drop(run);
    for file in ["metrics.jsonl", "metrics.csv", "timing.jsonl"] {
        let path = place.run().join(file);
        let torn = [&*fs::read(&path).unwrap(), b"{\"step\":3,\"train/lo"].concat();
        fs::write(path, torn).unwrap();
    }
    let stopped = place.snapshot();
    let restore = || {
        fs::remove_dir_all(place.path().join("runs")).unwrap();
        fs::create_dir_all(place.run().join("checkpoints")).unwrap();
        for (path, (bytes, _)) in &stopped {
            fs::write(path, bytes).unwrap();
        }
    };

    let (counting, operations) = Failing::shared(usize::MAX, When::Before, false);
    resumed(&place, &counting).unwrap();
    assert!(files(&place) == whole);
    let operations = operations.load(Ordering::Relaxed);
    for at in 0..operations {
        for (when, dead) in ways(at) {
            let title = format!("{when:?} operation {at} of {operations}, dead: {dead}");
            restore();
            let (store, _) = Failing::shared(at, when, dead);
            let failed = resumed(&place, &store);
            resumed(&place, &quick).unwrap_or_else(|error| panic!("{title}: {failed:?} {error}"));
            assert_whole(&whole, &place, &title);
        }
    }
    assert!(operations > 30, "{operations}");
}
