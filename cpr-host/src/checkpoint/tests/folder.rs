//! `last`, `best` and `step-N`.

use std::fs;
use std::num::NonZeroUsize;

use super::atomic::{Failing, When};
use super::*;

fn keep(count: usize) -> Keep {
    Keep::Newest(NonZeroUsize::new(count).unwrap())
}

#[test]
fn the_newest_stay() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = CheckpointFolder::open(root.path().join("run/checkpoints"), keep(2)).unwrap();
    assert!(folder.latest().unwrap().is_none());
    for step in [5, 10, 100, 1000] {
        let path = folder.save_step(&sample(step)).unwrap();
        assert_eq!(path, folder.step_path(step));
        assert_eq!(fs::read(path).unwrap(), fs::read(folder.last_path()).unwrap());
    }
    assert_eq!(folder.steps().unwrap(), [100, 1000]);
    folder.save_best(&sample(5)).unwrap();
    folder.save_last(&sample(1001)).unwrap();
    assert_eq!(Checkpoint::read(folder.best_path()).unwrap().meta.step, 5);
    assert_eq!(folder.latest().unwrap().unwrap().checkpoint.meta.step, 1001);
    // `last` was the same file as step-1000; replacing it must not have changed that.
    assert_eq!(Checkpoint::read(folder.step_path(1000)).unwrap().meta.step, 1000);
    assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 4);

    let mut all = CheckpointFolder::open(folder.path(), Keep::All).unwrap();
    all.save_step(&sample(2000)).unwrap();
    assert_eq!(all.steps().unwrap(), [100, 1000, 2000]);
}

#[test]
fn without_numbered_files_last_and_best_are_all_there_is() {
    let root = tempfile::tempdir().unwrap();
    CheckpointFolder::open(root.path(), Keep::All).unwrap().save_step(&sample(1)).unwrap();
    let mut folder = CheckpointFolder::open(root.path(), Keep::None).unwrap();
    for step in [5, 10] {
        assert_eq!(folder.save_step(&sample(step)).unwrap(), folder.last_path());
        assert_eq!(folder.latest().unwrap().unwrap().checkpoint.meta.step, step);
    }
    folder.save_best(&sample(5)).unwrap();
    assert!(folder.steps().unwrap().is_empty());
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}

/// A run that was continued from an earlier checkpoint keeps what it writes now.
#[test]
fn later_steps_are_neither_counted_nor_removed() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = CheckpointFolder::open(root.path(), keep(2)).unwrap();
    for step in [200, 300, 110, 120, 130] {
        folder.save_step(&sample(step)).unwrap();
    }
    assert_eq!(folder.steps().unwrap(), [120, 130, 200, 300]);
    folder.save_step(&sample(200)).unwrap();
    assert_eq!(folder.steps().unwrap(), [130, 200, 300]);
    assert_eq!(folder.latest().unwrap().unwrap().checkpoint.meta.step, 200);
}

#[test]
fn saving_a_step_twice_leaves_no_second_name() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = CheckpointFolder::open(root.path(), keep(1)).unwrap();
    for _ in 0..2 {
        folder.save_step(&sample(4)).unwrap();
    }
    let (step, last) = (folder.step_path(4), folder.last_path());
    store::relink(&mut Disk, &step, &last).unwrap();
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 2);
}

#[test]
fn foreign_names_are_left_alone() {
    let root = tempfile::tempdir().unwrap();
    for name in ["step-007.safetensors", "step-+7.safetensors", "step-7.txt", "notes"] {
        fs::write(root.path().join(name), name).unwrap();
    }
    let mut folder = CheckpointFolder::open(root.path(), keep(1)).unwrap();
    folder.save_step(&sample(8)).unwrap();
    folder.save_step(&sample(9)).unwrap();
    assert_eq!(folder.steps().unwrap(), [9]);
    assert_eq!(fs::read_dir(root.path()).unwrap().count(), 6);
}

#[test]
fn a_damaged_last_gives_way_and_is_reported() {
    let root = tempfile::tempdir().unwrap();
    let mut folder = CheckpointFolder::open(root.path(), keep(3)).unwrap();
    for step in [1, 2, 3] {
        folder.save_step(&sample(step)).unwrap();
    }
    let mut bytes = fs::read(folder.last_path()).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    fs::remove_file(folder.last_path()).unwrap();
    fs::write(folder.last_path(), &bytes).unwrap();
    fs::write(folder.step_path(3), &bytes[..100]).unwrap();

    let latest = folder.latest().unwrap().unwrap();
    assert_eq!((latest.path, latest.checkpoint.meta.step), (folder.step_path(2), 2));
    assert_eq!(latest.damaged.len(), 2);

    for step in [1, 2] {
        fs::write(folder.step_path(step), "").unwrap();
    }
    let error = folder.latest().unwrap_err();
    assert!(matches!(error, CheckpointError::Checksum { .. }), "that of `last`: {error}");

    // Another version is no damage: an older file must not stand in for it.
    folder.save_step(&sample(4)).unwrap();
    let text = fs::read(folder.last_path()).unwrap();
    let at = HEADER_START.find('1').unwrap() + 8;
    let text: Vec<u8> =
        text.iter().enumerate().map(|(i, &b)| if i == at { b'2' } else { b }).collect();
    fs::remove_file(folder.last_path()).unwrap();
    fs::write(folder.last_path(), text).unwrap();
    assert!(matches!(folder.latest(), Err(CheckpointError::Version { found: 2, .. })));
}

/// A kill before, within and after every operation of a save with links and removals.
#[test]
fn any_failure_leaves_a_folder_to_go_on_from() {
    let prepare = |root: &std::path::Path| {
        let mut folder = CheckpointFolder::open(root, keep(2)).unwrap();
        for step in [10, 20] {
            folder.save_step(&sample(step)).unwrap();
        }
    };
    let root = tempfile::tempdir().unwrap();
    prepare(root.path());
    let counting = Failing::new(usize::MAX, When::Before, false);
    let mut folder = CheckpointFolder::open_with(root.path(), keep(2), counting).unwrap();
    folder.save_step(&sample(30)).unwrap();
    // 12 to write, then link, rename, sync of the folder, removal of the oldest
    let operations = 16;
    assert_eq!(folder.store().count, operations);

    for at in 0..operations {
        for when in [When::Before, When::Within, When::After] {
            for dead in [false, true] {
                let title = format!("{when:?} operation {at}, dead: {dead}");
                let root = tempfile::tempdir().unwrap();
                prepare(root.path());
                let store = Failing::new(at, when, dead);
                let mut folder = CheckpointFolder::open_with(root.path(), keep(2), store).unwrap();
                let saved = folder.save_step(&sample(30));
                // Where links fail the file is written again, so a living run goes on.
                let linking = (12..15).contains(&at) && !dead;
                assert_eq!(saved.is_ok(), linking, "{title}");

                let mut folder = CheckpointFolder::open(root.path(), keep(2)).unwrap();
                let latest = folder.latest().unwrap().unwrap();
                assert!(latest.damaged.is_empty(), "{title}");
                let step = latest.checkpoint.meta.step;
                assert!(step == 20 || step == 30, "{title}: {step}");
                assert!(step == 30 || saved.is_err(), "{title}");

                folder.save_step(&sample(30)).unwrap();
                folder.save_step(&sample(40)).unwrap();
                assert_eq!(folder.steps().unwrap(), [30, 40], "{title}");
                assert_eq!(fs::read_dir(root.path()).unwrap().count(), 3, "{title}");
            }
        }
    }
}

#[test]
fn a_folder_that_cannot_be_made_says_so() {
    let root = tempfile::tempdir().unwrap();
    let file = root.path().join("file");
    fs::write(&file, "").unwrap();
    let error = CheckpointFolder::open(file.join("checkpoints"), Keep::All).unwrap_err();
    assert!(error.to_string().starts_with("cannot make the folder "), "{error}");
}
