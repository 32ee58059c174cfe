//! Replacing a file, and making a folder, so that no moment shows half of it.

use std::{
    ffi::{OsStr, OsString},
    fs, io,
    path::{Path, PathBuf},
};

use crate::store::{Disk, Store};

/// Replaces the file at `path` by these bytes, whole or not at all.
///
/// The bytes go to `.<name>.tmp` beside it, are made durable, and take the place of the old file in
/// one rename, which is made durable too. After a kill or a power failure at any moment the file is
/// the old one or the new one. Two processes must not replace the same file at once: the lock of a
/// [`RunFolder`](super::RunFolder) sees to that in a run.
///
/// # Errors
///
/// What the file system said; the old file is then as it was, and the temporary one is gone. If only
/// the folder could not be synced, the new file is there.
pub fn replace(store: &mut dyn Store, path: &Path, bytes: &[u8]) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path ends in no file name"));
    };
    let temporary = beside(path, name);
    // What a kill left behind; if it cannot be removed, the next line says why.
    let _ = fs::remove_file(&temporary);
    let mut file = store.create(&temporary)?;
    let replaced = store
        .write(&mut file, bytes)
        .and_then(|()| store.sync(&file))
        .and_then(|()| store.rename(&temporary, path));
    if let Err(error) = replaced {
        // The error that matters is the first one.
        let _ = store.remove(&temporary);
        return Err(error);
    }
    store.sync_folder(parent(path))
}

/// The name under which a file or folder is made until it is whole.
fn beside(path: &Path, name: &OsStr) -> PathBuf {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    path.with_file_name(temporary)
}

fn parent(path: &Path) -> &Path {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => folder,
        _ => Path::new("."),
    }
}

/// Makes a folder that must not exist yet: `fill` writes and syncs its files under another name, and it takes its own in
/// one rename. `failed` makes an error of what the system says of a path.
///
/// # Errors
///
/// Those of `fill` and `failed`. There is then no folder, unless only its parent could not be synced.
pub fn make_folder<T, E>(
    path: &Path,
    failed: impl Fn(&Path, io::Error) -> E,
    fill: impl FnOnce(&Path) -> Result<T, E>,
) -> Result<T, E> {
    let temporary = beside(path, path.file_name().unwrap_or_default());
    if temporary.exists() {
        // What a kill left behind.
        fs::remove_dir_all(&temporary).map_err(|error| failed(&temporary, error))?;
    }
    fs::create_dir_all(&temporary).map_err(|error| failed(&temporary, error))?;
    let made = fill(&temporary).and_then(|made| {
        let placed = Disk.sync_folder(&temporary).and_then(|()| fs::rename(&temporary, path));
        let placed = placed.and_then(|()| Disk.sync_folder(parent(path)));
        placed.map(|()| made).map_err(|error| failed(path, error))
    });
    if made.is_err() {
        // The error that matters is the first one.
        let _ = fs::remove_dir_all(&temporary);
    }
    made
}
