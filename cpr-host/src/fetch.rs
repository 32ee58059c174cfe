//! `cpr fetch`: the official files of a data set, checked and unpacked.
//!
//! A file that is there already, put by hand where there is no network, is checked and unpacked likewise.

mod digest;
mod sets;
mod unpack;

use std::{
    fs::{self, File},
    io::{self, Read, Write},
    path::{Path, PathBuf},
    time::Duration,
};

pub use self::{
    digest::Digest,
    sets::{Archive, Content, DataSet},
};

/// Time until a server has to be reached.
const CONNECT: Duration = Duration::from_secs(20);
/// Time until it has to begin its answer.
const ANSWER: Duration = Duration::from_secs(60);
/// Bytes that are moved at a time.
const BLOCK: usize = 1 << 16;

/// A file that is not what it was to be, or cannot be had.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FetchError {
    /// What the message on the output says is to be done by hand.
    #[error(
        "{missing} of the {files} files of {set} could not be downloaded ({reason}): put them where the lines above say, \
         and run the command again"
    )]
    Unreachable {
        /// The data set.
        set: &'static str,
        /// How many.
        missing: usize,
        /// Of how many.
        files: usize,
        /// Why the last one was not.
        reason: String,
    },
    /// A file is another one.
    #[error("{} has the {kind} {given}, not {expected}: {next}", path.display())]
    Digest {
        /// The file.
        path: PathBuf,
        /// `MD5` or `SHA-256`.
        kind: &'static str,
        /// What it has.
        given: String,
        /// What it was to have.
        expected: &'static str,
        /// What to do.
        next: &'static str,
    },
    /// An archive lacks what it was to hold.
    #[error("{} does not hold `{name}`: remove it and run the command again", path.display())]
    Lacks {
        /// The archive.
        path: PathBuf,
        /// The file.
        name: &'static str,
    },
    /// The system refuses.
    #[error("cannot {action} {}: {source}: make the folder writable, or choose another with --out", path.display())]
    Io {
        /// What was tried.
        action: &'static str,
        /// With what.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The output cannot be written.
    #[error("cannot write the output: {0}")]
    Output(#[from] io::Error),
}

impl FetchError {
    fn io<'a>(action: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> Self + use<'a> {
        move |source| Self::Io { action, path: path.to_owned(), source }
    }
}

/// Where files come from: the network, or in a test a list.
pub trait Source {
    /// The content at an address.
    ///
    /// # Errors
    /// Why there is none.
    fn open(&self, url: &str) -> Result<Box<dyn Read>, String>;
}

/// HTTP and HTTPS, by the proxy of the environment where there is one.
#[derive(Debug, Default)]
pub struct Network;

impl Source for Network {
    fn open(&self, url: &str) -> Result<Box<dyn Read>, String> {
        let config = ureq::Agent::config_builder()
            .timeout_connect(Some(CONNECT))
            .timeout_recv_response(Some(ANSWER))
            .build();
        let answer = ureq::Agent::new_with_config(config).get(url).call();
        let body = answer.map_err(|error| error.to_string())?.into_body();
        Ok(Box::new(body.into_reader()))
    }
}

/// Brings the files of a data set into a folder, those that are not there yet, and says in the end what reads them.
///
/// # Errors
/// [`FetchError`]; what was unpacked before stays, and nothing is left half written under its name.
pub fn fetch(
    set: &'static DataSet,
    folder: &Path,
    source: &dyn Source,
    out: &mut dyn Write,
) -> Result<(), FetchError> {
    fs::create_dir_all(folder).map_err(FetchError::io("make the folder", folder))?;
    let mut missing: Vec<&Archive> = Vec::new();
    let mut reason = String::new();
    for archive in set.archives {
        let path = folder.join(archive.file);
        if is_unpacked(archive, folder) {
            writeln!(out, "{}: there already", path.display())?;
            continue;
        }
        if path.is_file() {
            let next = "remove it, and run the command again";
            check(archive, &path, &path, next)?;
        } else if missing.is_empty() {
            writeln!(out, "{}", archive.url)?;
            out.flush()?;
            if let Err(why) = download(archive, &path, source)? {
                reason = why;
                missing.push(archive);
                continue;
            }
        } else {
            // Where one could not be had, the others would only take their time to fail.
            missing.push(archive);
            continue;
        }
        unpack::unpack(archive, &path, folder)?;
    }
    if let Some(count) = std::num::NonZeroUsize::new(missing.len()) {
        say_what_to_do(&missing, folder, out)?;
        let (set, files) = (set.name, set.archives.len());
        return Err(FetchError::Unreachable { set, missing: count.get(), files, reason });
    }
    writeln!(out, "{} is in {}: {}", set.title, folder.display(), (set.used)(folder))?;
    Ok(())
}

fn say_what_to_do(
    missing: &[&Archive],
    folder: &Path,
    out: &mut dyn Write,
) -> Result<(), FetchError> {
    writeln!(out, "\nNot to be had from here. On a machine with a network download")?;
    for Archive { url, bytes, digest, .. } in missing {
        writeln!(out, "  {url}  ({bytes} bytes, {} {})", digest.kind(), digest.expected())?;
    }
    writeln!(out, "and put each, packed as it is, at")?;
    for archive in missing {
        writeln!(out, "  {}", folder.join(archive.file).display())?;
    }
    writeln!(out, "Run again, the command checks and unpacks them.")?;
    Ok(())
}

/// Whether all that an archive holds is there. A plain file is its own content, and is checked anew.
fn is_unpacked(archive: &Archive, folder: &Path) -> bool {
    let names = archive.content.names();
    !names.is_empty() && names.iter().all(|name| folder.join(name).is_file())
}

/// Downloads to a file beside `path`, checks, and gives it that name; inside is why it could not be had.
fn download(
    archive: &Archive,
    path: &Path,
    source: &dyn Source,
) -> Result<Result<(), String>, FetchError> {
    let body = match source.open(archive.url) {
        Ok(body) => body,
        Err(reason) => return Ok(Err(reason)),
    };
    // One byte more tells a longer file, and no more is written than that.
    let mut body = body.take(archive.bytes + 1);
    written(path, |file, part| {
        let mut block = vec![0; BLOCK];
        loop {
            match body.read(&mut block) {
                Ok(0) => break,
                Ok(read) => {
                    file.write_all(&block[..read]).map_err(FetchError::io("write", part))?;
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Ok(Err(error.to_string())),
            }
        }
        file.sync_all().map_err(FetchError::io("write", part))?;
        let next = "the download was cut or is another file; run the command again";
        check(archive, part, path, next)?;
        Ok(Ok(()))
    })
}

/// Makes a file under another name, which `write` fills, and gives it its own; where that fails, or cannot be had, nothing
/// of it stays.
fn written(
    path: &Path,
    write: impl FnOnce(&mut File, &Path) -> Result<Result<(), String>, FetchError>,
) -> Result<Result<(), String>, FetchError> {
    let part = beside(path);
    let mut file = File::create(&part).map_err(FetchError::io("write", &part))?;
    let done = write(&mut file, &part);
    if let Ok(Ok(())) = done {
        fs::rename(&part, path).map_err(FetchError::io("name", path))?;
    } else {
        // It is of no use; what matters is why.
        let _ = fs::remove_file(&part);
    }
    done
}

/// Whether a file is the published one; `path` is what errors name.
fn check(
    archive: &Archive,
    file: &Path,
    path: &Path,
    next: &'static str,
) -> Result<(), FetchError> {
    let read = File::open(file).and_then(|file| archive.digest.of(file));
    let given = read.map_err(FetchError::io("read", file))?;
    if given == archive.digest.expected() {
        return Ok(());
    }
    let (kind, expected) = (archive.digest.kind(), archive.digest.expected());
    Err(FetchError::Digest { path: path.to_owned(), kind, given, expected, next })
}

/// The name under which a file is written until it is whole.
fn beside(path: &Path) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(".part");
    name.into()
}

#[cfg(test)]
mod tests;
