//! Labelled images as they are on disk: one byte a pixel.

use std::{
    fs::File,
    io::Read,
    path::{Path, PathBuf},
};

use super::{
    cifar::{self, Cifar},
    error::DataError,
    idx,
};

/// Images of one size with a label each.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Images {
    /// Planes of an image: 1 for grey, 3 for red, green, blue.
    pub channels: usize,
    /// Rows.
    pub height: usize,
    /// Columns.
    pub width: usize,
    /// All pixels: image by image, plane by plane, row by row; 0 is black.
    pub pixels: Vec<u8>,
    /// The label of each image.
    pub labels: Vec<u8>,
}

impl Images {
    /// Number of images.
    #[must_use]
    pub fn len(&self) -> usize {
        self.labels.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.labels.is_empty()
    }

    /// Leaves the first `count` images; 0 leaves all.
    pub fn truncate(&mut self, count: usize) {
        if count != 0 {
            self.labels.truncate(count);
            self.pixels.truncate(self.labels.len() * self.size());
        }
    }

    /// Bytes of an image.
    #[must_use]
    pub const fn size(&self) -> usize {
        self.channels * self.height * self.width
    }

    /// The pixels of the image of this index, which must be below [`len`](Self::len).
    #[must_use]
    pub fn image(&self, index: usize) -> &[u8] {
        &self.pixels[index * self.size()..][..self.size()]
    }
}

/// The training and the test images of a data set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageData {
    /// What it is, for people.
    pub format: &'static str,
    /// Number of classes: labels are below it.
    pub classes: usize,
    /// Images to train on.
    pub train: Images,
    /// Images to validate with.
    pub test: Images,
}

impl ImageData {
    /// The data set in a folder, by the names of its files: `train-images-idx3-ubyte` and its three companions (MNIST,
    /// Fashion-MNIST; also with `.idx3-ubyte`), `data_batch_1.bin` to `_5.bin` and `test_batch.bin` (CIFAR-10),
    /// `train.bin` and `test.bin` (CIFAR-100, its 100 fine labels). A CIFAR-10 with fewer training files is taken as
    /// it is.
    ///
    /// # Errors
    /// [`DataError`]: no such files, or one that is refused.
    pub fn open(folder: &Path) -> Result<Self, DataError> {
        let at = |name: &str| folder.join(name);
        for dot in ["-", "."] {
            let names = ["train-images", "train-labels", "t10k-images", "t10k-labels"];
            let [train, train_labels, test, test_labels] = names.map(|name| {
                let dimensions = if name.ends_with("images") { 3 } else { 1 };
                at(&format!("{name}{dot}idx{dimensions}-ubyte"))
            });
            if train.exists() {
                let train = idx::labelled(&train, &train_labels)?;
                let test_images = idx::labelled(&test, &test_labels)?;
                same_size(&at("train-images"), &train, &test, &test_images)?;
                let highest = train.labels.iter().chain(&test_images.labels).max();
                let classes = highest.map_or(1, |&label| usize::from(label) + 1);
                return Ok(Self { format: "IDX", classes, train, test: test_images });
            }
        }
        let batches: Vec<PathBuf> = (1..=5).map(|n| at(&format!("data_batch_{n}.bin"))).collect();
        let (kind, train, test) = if batches[0].exists() {
            let there = batches.into_iter().filter(|path| path.exists()).collect();
            (Cifar::Ten, there, at("test_batch.bin"))
        } else if at("train.bin").exists() {
            (Cifar::Hundred, vec![at("train.bin")], at("test.bin"))
        } else {
            return Err(DataError::Folder { path: folder.to_owned(), next: WANTED.to_owned() });
        };
        let (train, test) = (cifar::images(&train, kind)?, cifar::images(&[test], kind)?);
        Ok(Self { format: kind.title(), classes: kind.classes(), train, test })
    }
}

/// What a folder has to hold.
const WANTED: &str = "put train-images-idx3-ubyte, train-labels-idx1-ubyte, t10k-images-idx3-ubyte and \
                      t10k-labels-idx1-ubyte there (unpacked), or the .bin files of CIFAR-10 or CIFAR-100, or give the \
                      folder that holds them";

fn same_size(path: &Path, images: &Images, other: &Path, others: &Images) -> Result<(), DataError> {
    let size = |images: &Images| format!("images of {} x {}", images.height, images.width);
    if (images.height, images.width) == (others.height, others.width) {
        return Ok(());
    }
    Err(DataError::Mismatch {
        path: path.to_owned(),
        given: size(images),
        other: other.to_owned(),
        expected: size(others),
    })
}

/// A file and its length.
pub(super) fn open(path: &Path) -> Result<(File, u64), DataError> {
    let file = File::open(path).map_err(|error| DataError::read(path, error))?;
    let length = file.metadata().map_err(|error| DataError::read(path, error))?.len();
    Ok((file, length))
}

/// Exactly that many bytes, which the file was found to have.
pub(super) fn bytes(
    path: &Path,
    source: &mut impl Read,
    count: usize,
) -> Result<Vec<u8>, DataError> {
    let mut bytes = vec![0; count];
    source.read_exact(&mut bytes).map_err(|error| DataError::read(path, error))?;
    Ok(bytes)
}
