use std::collections::HashMap;

use flate2::{Compression, write::GzEncoder};

use super::*;

/// Contents by address; what is not there is not reached.
#[derive(Default)]
struct Shelf(HashMap<&'static str, Vec<u8>>);

impl Source for Shelf {
    fn open(&self, url: &str) -> Result<Box<dyn Read>, String> {
        let content = self.0.get(url).cloned().ok_or("no such host")?;
        Ok(Box::new(io::Cursor::new(content)))
    }
}

fn gzipped(content: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(content).unwrap();
    encoder.finish().unwrap()
}

/// A tar archive with a file for each of these names, which holds its name.
fn tar_of(names: &[&str]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for name in names {
        let mut header = tar::Header::new_gnu();
        header.set_size(name.len() as u64);
        header.set_mode(0o644);
        let path = format!("folder/{name}");
        tar.append_data(&mut header, path, name.as_bytes()).unwrap();
    }
    gzipped(&tar.into_inner().unwrap())
}

/// A set of these files, each with its content, published as it is.
fn set(files: &[(&'static str, &[u8], Content)]) -> (&'static DataSet, Shelf) {
    let mut shelf = Shelf::default();
    let archives = files.iter().map(|(file, bytes, content)| {
        let digits = Digest::Sha256("").of(*bytes).unwrap();
        let url: &'static str = format!("https://example.org/{file}").leak();
        shelf.0.insert(url, bytes.to_vec());
        let digest = Digest::Sha256(digits.leak());
        Archive { url, file, bytes: bytes.len() as u64, digest, content: *content }
    });
    let archives: &'static [Archive] = archives.collect::<Vec<_>>().leak();
    let set = DataSet { name: "set", title: "The set", archives, used: |_| "cpr use".to_owned() };
    (Box::leak(Box::new(set)), shelf)
}

fn small() -> (&'static DataSet, Shelf) {
    set(&[
        (
            "all.tar.gz",
            &tar_of(&["a.bin", "b.bin", "other"]),
            Content::TarGzip(&["a.bin", "b.bin"]),
        ),
        ("c.gz", &gzipped(b"content"), Content::Gzip(["c"])),
        ("d.txt", b"plain", Content::Plain),
    ])
}

/// What the command says, and how it ends.
fn fetched(
    set: &'static DataSet,
    folder: &Path,
    source: &Shelf,
) -> (String, Result<(), FetchError>) {
    let mut out = Vec::new();
    let done = fetch(set, folder, source, &mut out);
    (String::from_utf8(out).unwrap(), done)
}

fn names(folder: &Path) -> Vec<String> {
    let entries = fs::read_dir(folder).unwrap();
    let mut names: Vec<_> =
        entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

#[test]
fn archives_are_downloaded_checked_and_unpacked_once() {
    let (set, shelf) = small();
    let place = tempfile::tempdir().unwrap();
    let folder = place.path().join("data/set");
    let (said, done) = fetched(set, &folder, &shelf);
    done.unwrap();
    assert!(said.contains("https://example.org/c.gz\n") && said.ends_with(": cpr use\n"), "{said}");
    assert_eq!(names(&folder), ["a.bin", "all.tar.gz", "b.bin", "c", "c.gz", "d.txt"]);
    assert_eq!(fs::read(folder.join("b.bin")).unwrap(), b"b.bin");
    assert_eq!(fs::read(folder.join("c")).unwrap(), b"content");
    // What is there is not asked for again.
    let (said, done) = fetched(set, &folder, &Shelf::default());
    done.unwrap();
    assert!(said.contains("c.gz: there already"), "{said}");
}

#[test]
fn without_a_network_it_says_what_to_put_where_and_takes_it_from_there() {
    let (set, shelf) = small();
    let place = tempfile::tempdir().unwrap();
    let folder = place.path();
    let (said, done) = fetched(set, folder, &Shelf::default());
    let message = done.unwrap_err().to_string();
    assert!(message.contains("3 of the 3 files of set could not be downloaded (no such host)"));
    for archive in set.archives {
        let digest = format!("({} bytes, SHA-256 {})", archive.bytes, archive.digest.expected());
        assert!(said.contains(&format!("{}  {digest}", archive.url)), "{said}");
        assert!(said.contains(&folder.join(archive.file).display().to_string()), "{said}");
        fs::write(folder.join(archive.file), &shelf.0[archive.url]).unwrap();
    }
    let (_, done) = fetched(set, folder, &Shelf::default());
    done.unwrap();
    assert_eq!(fs::read(folder.join("a.bin")).unwrap(), b"a.bin");
}

#[test]
fn what_is_another_file_is_refused_and_leaves_nothing() {
    let (set, mut shelf) = small();
    for content in shelf.0.values_mut() {
        content.push(0);
    }
    let place = tempfile::tempdir().unwrap();
    let (_, done) = fetched(set, place.path(), &shelf);
    let message = done.unwrap_err().to_string();
    assert!(message.contains("all.tar.gz has the SHA-256"), "{message}");
    assert!(message.contains("run the command again"), "{message}");
    assert!(names(place.path()).is_empty());
    // The same for one that was put there by hand, which stays.
    fs::write(place.path().join("all.tar.gz"), "other").unwrap();
    let (_, done) = fetched(set, place.path(), &Shelf::default());
    assert!(done.unwrap_err().to_string().contains("remove it"));
    assert_eq!(names(place.path()), ["all.tar.gz"]);
}

#[test]
fn what_cannot_be_read_to_its_end_or_has_none_leaves_nothing() {
    struct Dead;
    impl Read for Dead {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::other("the line is dead"))
        }
    }
    struct Line;
    impl Source for Line {
        fn open(&self, _: &str) -> Result<Box<dyn Read>, String> {
            Ok(Box::new(io::Cursor::new(b"pl").chain(Dead)))
        }
    }
    struct Endless;
    impl Source for Endless {
        fn open(&self, _: &str) -> Result<Box<dyn Read>, String> {
            Ok(Box::new(io::repeat(1)))
        }
    }
    let (set, _) = set(&[("d.txt", b"plain", Content::Plain)]);
    let place = tempfile::tempdir().unwrap();
    let message = fetch(set, place.path(), &Line, &mut io::sink()).unwrap_err().to_string();
    assert!(message.contains("could not be downloaded (the line is dead)"), "{message}");
    let message = fetch(set, place.path(), &Endless, &mut io::sink()).unwrap_err().to_string();
    assert!(message.contains("d.txt has the SHA-256"), "{message}");
    // An archive that is what it was to be, and no archive.
    let (set, shelf) = self::set(&[("c.gz", b"no gzip", Content::Gzip(["c"]))]);
    let message = fetched(set, place.path(), &shelf).1.unwrap_err().to_string();
    assert!(message.contains("cannot unpack"), "{message}");
    assert_eq!(names(place.path()), ["c.gz"]);
}

#[test]
fn an_archive_that_lacks_a_file_is_refused() {
    let packed = tar_of(&["a.bin"]);
    let (set, shelf) = set(&[("all.tar.gz", &packed, Content::TarGzip(&["a.bin", "b.bin"]))]);
    let place = tempfile::tempdir().unwrap();
    let message = fetched(set, place.path(), &shelf).1.unwrap_err().to_string();
    assert!(message.contains("does not hold `b.bin`"), "{message}");
}

#[test]
fn data_sets_are_found_by_name() {
    for set in DataSet::ALL {
        assert_eq!(DataSet::named(set.name).unwrap().title, set.title);
        for archive in set.archives {
            let digits = match archive.digest {
                Digest::Md5(digits) => (digits, 32),
                Digest::Sha256(digits) => (digits, 64),
            };
            assert_eq!(digits.0.len(), digits.1, "{}", archive.file);
            assert!(archive.url.ends_with(archive.file), "{}", archive.url);
        }
    }
    assert!(DataSet::named("imagenet").is_none());
    for (path, command) in [
        ("data/mnist", Some("cpr fetch mnist")),
        ("data/tinyshakespeare/input.txt", Some("cpr fetch tinyshakespeare")),
        ("../sets/mnist/train.bin", Some("cpr fetch mnist --out ../sets/mnist")),
        ("data/text.txt", None),
        ("", None),
    ] {
        assert_eq!(DataSet::command_for(Path::new(path)).as_deref(), command, "{path}");
    }
}
