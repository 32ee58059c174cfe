//! Replacing a file so that no moment shows half of it.

use std::{
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::Path,
};

/// Replaces the file at `path` by what `write` writes, whole or not at all.
///
/// The bytes go to `.<name>.tmp` beside it, are made durable, and take the place of the old file in
/// one rename, which is made durable too. After a kill or a power failure at any moment the file is
/// the old one or the new one. Two processes must not replace the same file at once: the lock of a
/// [`RunFolder`](super::RunFolder) sees to that in a run.
///
/// # Errors
///
/// What `write` or the file system said; the old file is then as it was, and the temporary one is
/// gone.
pub fn replace(
    path: &Path,
    write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>,
) -> io::Result<()> {
    let Some(name) = path.file_name() else {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, "the path ends in no file name"));
    };
    let mut temporary_name = std::ffi::OsString::from(".");
    temporary_name.push(name);
    temporary_name.push(".tmp");
    let temporary = path.with_file_name(temporary_name);
    let file = File::create(&temporary)?;
    let replaced = fill(file, write).and_then(|()| fs::rename(&temporary, path));
    if let Err(error) = replaced {
        // The error that matters is the first one.
        let _ = fs::remove_file(&temporary);
        return Err(error);
    }
    sync_folder(path)
}

fn fill(file: File, write: impl FnOnce(&mut BufWriter<File>) -> io::Result<()>) -> io::Result<()> {
    let mut buffered = BufWriter::new(file);
    write(&mut buffered)?;
    buffered.flush()?;
    buffered.get_ref().sync_all()
}

/// Makes the entry of `path` in its folder durable.
#[cfg(unix)]
fn sync_folder(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// Folders cannot be opened as files here; the rename is as durable as the system makes it.
#[cfg(not(unix))]
fn sync_folder(_path: &Path) -> io::Result<()> {
    Ok(())
}
