//! A failure before, within or after any operation leaves the old or the new file, whole.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use super::*;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum When {
    Before,
    /// In the middle of a write; for any other operation the same as before it.
    Within,
    After,
}

/// Fails at one operation; if `dead`, at every one from there on, as after a kill.
#[derive(Debug)]
pub(super) struct Failing {
    at: usize,
    when: When,
    dead: bool,
    /// Operations seen so far.
    pub(super) count: usize,
}

impl Failing {
    pub(super) fn new(at: usize, when: When, dead: bool) -> Self {
        Self { at, when, dead, count: 0 }
    }

    fn run<T>(
        &mut self,
        operation: impl FnOnce(&mut Disk, Option<When>) -> io::Result<T>,
    ) -> io::Result<T> {
        let index = self.count;
        self.count += 1;
        let killed = self.dead && index > self.at;
        let fail = (index == self.at).then_some(self.when);
        let full = || io::Error::from(io::ErrorKind::StorageFull);
        if killed || fail == Some(When::Before) {
            return Err(full());
        }
        let result = operation(&mut Disk, fail);
        if fail.is_some() { Err(full()) } else { result }
    }

    fn whole<T>(&mut self, operation: impl FnOnce(&mut Disk) -> io::Result<T>) -> io::Result<T> {
        self.run(|disk, fail| match fail {
            Some(When::Within) => Err(io::ErrorKind::StorageFull.into()),
            _ => operation(disk),
        })
    }
}

impl Store for Failing {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        self.whole(|disk| disk.create(path))
    }
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.run(|disk, fail| match fail {
            Some(When::Within) => disk.write(file, &bytes[..bytes.len() / 2]),
            _ => disk.write(file, bytes),
        })
    }
    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.whole(|disk| disk.sync(file))
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.whole(|disk| disk.rename(from, to))
    }
    fn link(&mut self, file: &Path, name: &Path) -> io::Result<()> {
        self.whole(|disk| disk.link(file, name))
    }
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.whole(|disk| disk.remove(path))
    }
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.whole(|disk| disk.sync_folder(folder))
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn any_failure_leaves_the_old_or_the_new_checkpoint() {
    let mut counting = Failing::new(usize::MAX, When::Before, false);
    let folder = tempfile::tempdir().unwrap();
    sample(1).write_to(&mut counting, folder.path().join("a.safetensors")).unwrap();
    let operations = counting.count;
    // create, header, seven tensors that are not empty, sync, rename, sync of the folder
    assert_eq!(operations, 12);

    let (old, new) = (bytes(&sample(1)), bytes(&sample(2)));
    let mut outcomes = [0; 2];
    for at in 0..operations {
        for when in [When::Before, When::Within, When::After] {
            for dead in [false, true] {
                let title = format!("{when:?} operation {at}, dead: {dead}");
                let folder = tempfile::tempdir().unwrap();
                let path = folder.path().join("last.safetensors");
                sample(1).write(&path).unwrap();

                let mut store = Failing::new(at, when, dead);
                let error = sample(2).write_to(&mut store, &path).unwrap_err();
                assert!(error.to_string().contains("last.safetensors"), "{title}: {error}");

                let found = fs::read(&path).unwrap();
                assert!(found == old || found == new, "{title}");
                let step = Checkpoint::read(&path).unwrap().meta.step;
                outcomes[usize::from(step == 2)] += 1;
                match error {
                    CheckpointError::FolderSync { .. } => assert_eq!(step, 2, "{title}"),
                    // A rename that took place and then reported a failure.
                    _ if when == When::After && at == operations - 2 => assert_eq!(step, 2),
                    _ => assert_eq!(step, 1, "{title}: {error}"),
                }
                // A file that was created by a call that then failed cannot be known.
                let unknown = at == 0 && when == When::After;
                if !dead && !unknown {
                    assert_eq!(names(folder.path()), ["last.safetensors"], "{title}");
                }

                // The next write goes through and leaves nothing behind, whatever the last one did.
                sample(3).write(&path).unwrap();
                assert_eq!(Checkpoint::read(&path).unwrap().meta.step, 3, "{title}");
                assert_eq!(names(folder.path()), ["last.safetensors"], "{title}");
            }
        }
    }
    assert!(outcomes[0] > 50 && outcomes[1] >= 8, "{outcomes:?}");
}

#[test]
fn the_first_write_leaves_nothing_or_everything() {
    for at in 0..12 {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("last.safetensors");
        sample(1).write_to(&mut Failing::new(at, When::Before, true), &path).unwrap_err();
        if path.exists() {
            Checkpoint::read(&path).unwrap();
        }
    }
}

#[test]
fn a_full_disk_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("last.safetensors");
    let mut store = Failing::new(3, When::Within, false);
    let error = sample(1).write_to(&mut store, &path).unwrap_err().to_string();
    assert!(error.starts_with("cannot write ") && error.contains("free some space"), "{error}");
    assert!(error.contains("what was there before is unchanged"), "{error}");
}

#[test]
fn a_folder_that_cannot_be_written_says_so() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("file");
    fs::write(&file, "untouched").unwrap();
    for (path, message) in [
        (folder.path().join("none/last.safetensors"), "check the path"),
        (file.join("last.safetensors"), "choose another folder"),
        (folder.path().join(".."), "not a regular file"),
    ] {
        let error = sample(1).write(&path).unwrap_err().to_string();
        assert!(error.contains(message), "{error}");
    }
    // A folder in the way of the file.
    let path = folder.path().join("last.safetensors");
    fs::create_dir(&path).unwrap();
    let error = sample(1).write(&path).unwrap_err().to_string();
    assert!(error.contains("rename to"), "{error}");
    assert_eq!(names(folder.path()), ["file", "last.safetensors"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "untouched");
}

/// A sweep takes what a dead writer left, and nothing that somebody is writing or that only looks
/// similar.
#[test]
fn the_sweep_knows_whose_files_are_whose() {
    let folder = tempfile::tempdir().unwrap();
    let make = |name: &str| File::create(folder.path().join(name)).unwrap();
    make("last.safetensors.7-0.tmp");
    let living = make("last.safetensors.8-0.tmp");
    living.lock().unwrap();
    make("best.safetensors.7-0.tmp");
    make("last.safetensors.tmp");
    make("last.safetensors.a-0.tmp");
    sample(1).write(folder.path().join("last.safetensors")).unwrap();
    assert_eq!(
        names(folder.path()),
        [
            "best.safetensors.7-0.tmp",
            "last.safetensors",
            "last.safetensors.8-0.tmp",
            "last.safetensors.a-0.tmp",
            "last.safetensors.tmp",
        ]
    );
}

/// Readers and writers of one path at the same time: every read is whole.
#[test]
fn a_reader_never_sees_half_a_file() {
    let folder = tempfile::tempdir().unwrap();
    let path = &folder.path().join("last.safetensors");
    sample(0).write(path).unwrap();
    std::thread::scope(|scope| {
        for writer in 1..=2 {
            scope.spawn(move || {
                for step in 0..20 {
                    sample(writer * 100 + step).write(path).unwrap();
                }
            });
        }
        for _ in 0..200 {
            Checkpoint::read(path).unwrap();
        }
    });
    assert_eq!(names(folder.path()), ["last.safetensors"]);
}
