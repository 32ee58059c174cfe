//! Replacing a file so that no moment shows half of it.

use std::{ffi::OsString, fs, io, path::Path};

use crate::store::Store;

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
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".tmp");
    let temporary = path.with_file_name(temporary);
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
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => store.sync_folder(folder),
        _ => store.sync_folder(Path::new(".")),
    }
}
