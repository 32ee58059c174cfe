//! The few file operations that a run is written with.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io;
use std::io::Write as _;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The operations by which checkpoints, metrics and the other files of a run reach the disk.
///
/// Every method does what its name says; an implementation overrides some of them to make them
/// fail, so that a test can stop a run before and after each.
pub trait Store {
    /// Creates a file that must not exist yet.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn create(&mut self, path: &Path) -> io::Result<File> {
        File::create_new(path)
    }

    /// Creates a file that must not exist yet, to be read and to grow at its end.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn create_log(&mut self, path: &Path) -> io::Result<File> {
        OpenOptions::new().read(true).append(true).create_new(true).open(path)
    }

    /// Cuts a file to `length` bytes.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn cut(&mut self, file: &File, length: u64) -> io::Result<()> {
        file.set_len(length)
    }

    /// Writes all bytes at the end of the file.
    ///
    /// # Errors
    ///
    /// Whatever the system says; some of the bytes may have been written.
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        file.write_all(bytes)
    }

    /// Returns once content and length of the file are on the disk.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn sync(&mut self, file: &File) -> io::Result<()> {
        file.sync_all()
    }

    /// Gives a file another name, in place of the file of that name.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        fs::rename(from, to)
    }

    /// Gives a file a second name that must not exist yet.
    ///
    /// # Errors
    ///
    /// Whatever the system says; some file systems cannot do it.
    fn link(&mut self, file: &Path, name: &Path) -> io::Result<()> {
        fs::hard_link(file, name)
    }

    /// Removes a name.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        fs::remove_file(path)
    }

    /// Returns once the names in a folder are on the disk; does nothing where the system keeps
    /// them without being asked.
    ///
    /// # Errors
    ///
    /// Whatever the system says.
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        if cfg!(unix) { File::open(folder)?.sync_all() } else { Ok(()) }
    }
}

/// The file system as it is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Disk;

impl Store for Disk {}

/// One store for all files of a run: its clones write through the same one.
///
/// ```
/// use cpr_host::store::{Disk, Shared};
/// let store = Shared::new(Disk);
/// let same = store.clone();
/// # let _ = same;
/// ```
#[derive(Clone)]
pub struct Shared(Arc<Mutex<dyn Store + Send>>);

impl Shared {
    /// Shares a store.
    pub fn new(store: impl Store + Send + 'static) -> Self {
        Self(Arc::new(Mutex::new(store)))
    }

    /// A store that panicked in another thread has not broken a promise: each call stands alone.
    fn get(&self) -> MutexGuard<'_, dyn Store + Send + 'static> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The file system as it is.
impl Default for Shared {
    fn default() -> Self {
        Self::new(Disk)
    }
}

impl fmt::Debug for Shared {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Shared").finish_non_exhaustive()
    }
}

impl Store for Shared {
    fn create(&mut self, path: &Path) -> io::Result<File> {
        self.get().create(path)
    }
    fn create_log(&mut self, path: &Path) -> io::Result<File> {
        self.get().create_log(path)
    }
    fn cut(&mut self, file: &File, length: u64) -> io::Result<()> {
        self.get().cut(file, length)
    }
    fn write(&mut self, file: &mut File, bytes: &[u8]) -> io::Result<()> {
        self.get().write(file, bytes)
    }
    fn sync(&mut self, file: &File) -> io::Result<()> {
        self.get().sync(file)
    }
    fn rename(&mut self, from: &Path, to: &Path) -> io::Result<()> {
        self.get().rename(from, to)
    }
    fn link(&mut self, file: &Path, name: &Path) -> io::Result<()> {
        self.get().link(file, name)
    }
    fn remove(&mut self, path: &Path) -> io::Result<()> {
        self.get().remove(path)
    }
    fn sync_folder(&mut self, folder: &Path) -> io::Result<()> {
        self.get().sync_folder(folder)
    }
}
