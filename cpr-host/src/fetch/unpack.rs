//! What is in an archive, as files.

use std::{
    fs::File,
    io::{self, BufReader, Read},
    path::Path,
};

use flate2::read::GzDecoder;
use tar::Archive as Tar;

use super::{Archive, Content, FetchError, written};

/// Writes what a checked archive holds into a folder; of a tar archive the files whose names are known, and no others,
/// so that no path in it leads elsewhere.
///
/// # Errors
/// [`FetchError`]; each file is there whole or not at all.
pub(super) fn unpack(archive: &Archive, path: &Path, folder: &Path) -> Result<(), FetchError> {
    let open = || File::open(path).map_err(FetchError::io("read", path));
    match archive.content {
        Content::Plain => Ok(()),
        Content::Gzip([name]) => {
            let mut content = GzDecoder::new(BufReader::new(open()?));
            write(&mut content, path, &folder.join(name))
        }
        Content::TarGzip(names) => {
            let mut left: Vec<&str> = names.to_vec();
            let mut tar = Tar::new(GzDecoder::new(BufReader::new(open()?)));
            for entry in tar.entries().map_err(FetchError::io("unpack", path))? {
                let mut entry = entry.map_err(FetchError::io("unpack", path))?;
                let own = entry.path().map_err(FetchError::io("unpack", path))?;
                let own = own.file_name().and_then(|name| name.to_str()).map(str::to_owned);
                let place = left.iter().position(|name| own.as_deref() == Some(name));
                if let Some(place) = place.filter(|_| entry.header().entry_type().is_file()) {
                    let name = left.swap_remove(place);
                    write(&mut entry, path, &folder.join(name))?;
                }
            }
            match names.iter().find(|name| left.contains(name)) {
                Some(name) => Err(FetchError::Lacks { path: path.to_owned(), name }),
                None => Ok(()),
            }
        }
    }
}

/// Copies a content to a file that has its name once it is whole; `archive` is what errors of reading name.
fn write(content: &mut impl Read, archive: &Path, path: &Path) -> Result<(), FetchError> {
    let copied = written(path, |file, part| {
        io::copy(content, file).map_err(FetchError::io("unpack", archive))?;
        file.sync_all().map_err(FetchError::io("write", part))?;
        Ok(Ok(()))
    });
    copied.map(|_| ())
}
