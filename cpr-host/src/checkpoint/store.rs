//! The order of operations in which a checkpoint is written, and what a killed writer leaves.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File, TryLockError};
use std::io;
use std::path::{Path, PathBuf};
use std::process;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::error::CheckpointError;
use crate::store::Store;

/// Held while temporary files are swept, made or linked: a file that was made and is not locked yet
/// looks abandoned to a sweep by another thread. Between processes that moment stays; who loses it
/// gets an error from the rename, and nothing is damaged.
static NAMES: Mutex<()> = Mutex::new(());

/// Puts a new file at `path`, all or nothing: `fill` gets an empty sibling, which is then synced,
/// renamed and the folder synced. On an error before the rename the sibling is removed.
pub(super) fn replace(
    store: &mut dyn Store,
    path: &Path,
    fill: impl FnOnce(&mut dyn Store, &mut File) -> io::Result<()>,
) -> Result<(), CheckpointError> {
    let name = file_name(path)?;
    let names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    remove_abandoned(folder(path), |target| target == name);
    let (temporary, mut file) = create_sibling(path, name, |sibling| store.create(sibling))
        .map_err(|error| CheckpointError::write(path, "create a temporary file beside", error))?;
    // The lock tells a sweep that the file has a living writer. Where locks do not exist, a sweep
    // removes nothing.
    let _ = file.try_lock();
    drop(names);
    let filled = fill(store, &mut file)
        .map_err(|error| ("write", error))
        .and_then(|()| store.sync(&file).map_err(|error| ("sync", error)))
        .and_then(|()| store.rename(&temporary, path).map_err(|error| ("rename to", error)));
    settle(store, path, &temporary, filled)
}

/// Makes `path` a second name of `file`, all or nothing. The caller copies where this fails.
pub(super) fn relink(
    store: &mut dyn Store,
    file: &Path,
    path: &Path,
) -> Result<(), CheckpointError> {
    let name = file_name(path)?;
    let _names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    let (temporary, ()) = create_sibling(path, name, |sibling| store.link(file, sibling))
        .map_err(|error| CheckpointError::write(path, "link", error))?;
    let renamed = store.rename(&temporary, path).map_err(|error| ("rename to", error));
    settle(store, path, &temporary, renamed)?;
    // Renaming one name of a file to another of the same file leaves both.
    let _ = fs::remove_file(&temporary);
    Ok(())
}

/// Syncs the folder after a rename, or removes the temporary file of a failure.
fn settle(
    store: &mut dyn Store,
    path: &Path,
    temporary: &Path,
    renamed: Result<(), (&'static str, io::Error)>,
) -> Result<(), CheckpointError> {
    match renamed {
        Ok(()) => store
            .sync_folder(folder(path))
            .map_err(|source| CheckpointError::FolderSync { path: path.to_path_buf(), source }),
        Err((action, error)) => {
            // The first error is the one to report; what stays behind is swept by the next write.
            let _ = store.remove(temporary);
            Err(CheckpointError::write(path, action, error))
        }
    }
}

/// The folder that holds `path`.
pub(super) fn folder(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

fn file_name(path: &Path) -> Result<&OsStr, CheckpointError> {
    path.file_name().ok_or_else(|| CheckpointError::NotAFile { path: path.to_path_buf() })
}

/// Makes `<name>.<process>-<count>.tmp`. No name is used twice by a process, so no writer can
/// rename what another one is still writing; names left by a dead process of the same id are
/// stepped over.
fn create_sibling<T>(
    path: &Path,
    name: &OsStr,
    mut create: impl FnMut(&Path) -> io::Result<T>,
) -> io::Result<(PathBuf, T)> {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    loop {
        let mut sibling = OsString::from(name);
        let count = COUNT.fetch_add(1, Ordering::Relaxed);
        sibling.push(format!(".{}-{count}.tmp", process::id()));
        let sibling = path.with_file_name(sibling);
        match create(&sibling) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
            created => return created.map(|created| (sibling, created)),
        }
    }
}

/// The name that a temporary file was to get; none for any other file.
fn target(name: &OsStr) -> Option<&str> {
    let (target, tag) = name.to_str()?.strip_suffix(".tmp")?.rsplit_once('.')?;
    let (process, count) = tag.split_once('-')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    (is_number(process) && is_number(count)).then_some(target)
}

/// Removes what killed writers left behind for the targets that `wanted` accepts. Best effort:
/// an error here says nothing about the checkpoint that is about to be written.
pub(super) fn sweep(folder: &Path, wanted: impl Fn(&OsStr) -> bool) {
    let _names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    remove_abandoned(folder, wanted);
}

/// [`sweep`] for a caller that holds [`NAMES`].
fn remove_abandoned(folder: &Path, wanted: impl Fn(&OsStr) -> bool) {
    let Ok(entries) = fs::read_dir(folder) else {
        return;
    };
    for entry in entries.flatten() {
        if target(&entry.file_name()).is_some_and(|target| wanted(OsStr::new(target))) {
            let abandoned = File::open(entry.path()).is_ok_and(|file| match file.try_lock() {
                Ok(()) => true,
                Err(TryLockError::WouldBlock | TryLockError::Error(_)) => false,
            });
            if abandoned {
                let _ = fs::remove_file(entry.path());
            }
        }
    }
}
