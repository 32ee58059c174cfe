//! Images in folders: `train/<class>/…` and `test/<class>/…`, JPEG or PNG.

use std::{
    fs::{self, File},
    io::{self, BufReader},
    path::{Path, PathBuf},
};

use cpr_host::{
    data::{
        DataError,
        images::{ImageData, Images},
    },
    parallel::Workers,
};
use png::Transformations;
use zune_jpeg::{
    JpegDecoder,
    zune_core::{bytestream::ZCursor, colorspace::ColorSpace, options::DecoderOptions},
};

use super::resize;

/// What the folder of the validation images may be called.
const TEST: [&str; 3] = ["test", "val", "validation"];
/// What the names of images end with.
const ENDINGS: [&str; 3] = ["jpg", "jpeg", "png"];
/// Largest side of an image in a file.
const LARGEST: usize = 1 << 14;
/// Most classes: labels are bytes.
const CLASSES: usize = 256;

/// How images are read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    /// Side that each is brought to; 0: as it is, all alike.
    pub(super) side: usize,
    /// How many training and test images; 0: all.
    pub(super) counts: [usize; 2],
}

/// Whether the folder holds folders of classes.
#[must_use]
pub(super) fn is_there(folder: &Path) -> bool {
    folder.join("train").is_dir()
}

/// The folders that hold the folders of the classes, and the names of these.
struct Parts {
    train: PathBuf,
    test: PathBuf,
    classes: Vec<String>,
}

impl Parts {
    fn of(folder: &Path) -> Result<Self, DataError> {
        let train = folder.join("train");
        let named = TEST.map(|name| folder.join(name));
        let Some(test) = named.into_iter().find(|path| path.is_dir()) else {
            let next =
                "put the images to validate with into test/, a folder for each class".to_owned();
            return Err(DataError::Folder { path: folder.to_owned(), next });
        };
        let classes = classes(&train)?;
        for class in self::classes(&test)? {
            if !classes.contains(&class) {
                return Err(DataError::Mismatch {
                    path: test.join(&class),
                    given: format!("images of a class `{class}`"),
                    other: train,
                    expected: "no such class".to_owned(),
                });
            }
        }
        Ok(Self { train, test, classes })
    }
}

/// Whether there are images to train on and to validate with, of which none is opened.
///
/// # Errors
/// [`DataError`]: as [`open`] where that needs the names of the files alone.
pub(super) fn find(folder: &Path) -> Result<(), DataError> {
    let Parts { train, test, classes } = Parts::of(folder)?;
    files(&train, &classes, 1)?;
    files(&test, &classes, 1).map(drop)
}

/// The images below `train/` and `test/` (or `val/`, `validation/`), in three channels without transparency.
///
/// The classes are the folders of `train/` by their names. The images of a class come in the order of their names, and
/// classes in turn: of the first n images each class has an equal share, as long as it lasts. The same files give the
/// same bytes on every machine.
///
/// # Errors
/// [`DataError`]: a folder or file that cannot be read or is no image, a class of the test images that the training
/// images do not have, sides that differ where none is given.
pub(super) fn open(
    folder: &Path,
    reading: Reading,
    workers: &Workers,
) -> Result<ImageData, DataError> {
    let Parts { train, test, classes } = Parts::of(folder)?;
    let [train_count, test_count] = reading.counts;
    let train = images(&files(&train, &classes, train_count)?, &train, reading.side, workers)?;
    let test_files = files(&test, &classes, test_count)?;
    let test_images = images(&test_files, &test, reading.side, workers)?;
    let sides = |images: &Images| [images.height, images.width];
    if sides(&train) != sides(&test_images) {
        return Err(different(&test, sides(&test_images), &folder.join("train"), sides(&train)));
    }
    Ok(ImageData { format: "folder", classes: classes.len(), train, test: test_images })
}

/// The names in a folder that are kept, sorted.
fn names(folder: &Path, keep: impl Fn(&Path) -> bool) -> Result<Vec<String>, DataError> {
    let failed = |error| DataError::read(folder, error);
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        let name = path.file_name().and_then(|name| name.to_str());
        if let Some(name) = name.filter(|name| !name.starts_with('.') && keep(&path)) {
            names.push(name.to_owned());
        }
    }
    names.sort_unstable();
    Ok(names)
}

/// The folders in a folder.
fn classes(folder: &Path) -> Result<Vec<String>, DataError> {
    let classes = names(folder, Path::is_dir)?;
    let next = match classes.len() {
        0 => "put a folder of JPEG or PNG files for each class there".to_owned(),
        count if count > CLASSES => {
            format!("it has {count} folders, and there can be {CLASSES} classes: leave some out")
        }
        _ => return Ok(classes),
    };
    Err(DataError::Folder { path: folder.to_owned(), next })
}

/// The first `count` files of these classes, each with its label, classes in turn; 0: all.
fn files(folder: &Path, classes: &[String], count: usize) -> Result<Vec<(PathBuf, u8)>, DataError> {
    let is_image = |path: &Path| {
        let ending = path.extension().and_then(|ending| ending.to_str());
        ending.is_some_and(|own| ENDINGS.iter().any(|known| own.eq_ignore_ascii_case(known)))
    };
    let mut all = Vec::new();
    for (label, class) in (0_u8..=u8::MAX).zip(classes) {
        let folder = folder.join(class);
        if folder.is_dir() {
            let names = names(&folder, is_image)?.into_iter().enumerate();
            all.extend(names.map(|(place, name)| (place, label, folder.join(name))));
        }
    }
    all.sort_unstable();
    if count != 0 {
        all.truncate(count);
    }
    if all.is_empty() {
        let next = "put JPEG or PNG files into the folders of its classes".to_owned();
        return Err(DataError::Folder { path: folder.to_owned(), next });
    }
    Ok(all.into_iter().map(|(_, label, path)| (path, label)).collect())
}

/// Three planes, and the sides of an image.
struct Planes {
    pixels: Vec<u8>,
    sides: [usize; 2],
}

/// The images of these files, each a task of the workers; `folder` is what they are of.
fn images(
    files: &[(PathBuf, u8)],
    folder: &Path,
    side: usize,
    workers: &Workers,
) -> Result<Images, DataError> {
    let read = workers.map(files.len(), |index| {
        let path = &files[index].0;
        let planes = decoded(path)?;
        Ok(if side == 0 { planes } else { planes.resized(side) })
    });
    let mut all = Images {
        channels: 3,
        height: 0,
        width: 0,
        pixels: Vec::new(),
        labels: files.iter().map(|&(_, label)| label).collect(),
    };
    for (Planes { pixels, sides }, (path, _)) in
        read.into_iter().collect::<Result<Vec<_>, DataError>>()?.into_iter().zip(files)
    {
        if all.pixels.is_empty() {
            [all.height, all.width] = sides;
        }
        let first = [all.height, all.width];
        if sides != first {
            return Err(different(path, sides, folder, first));
        }
        all.pixels.extend(pixels);
    }
    Ok(all)
}

fn different(path: &Path, given: [usize; 2], other: &Path, first: [usize; 2]) -> DataError {
    let shown = |[height, width]: [usize; 2]| format!("{height} x {width}");
    DataError::Mismatch {
        path: path.to_owned(),
        given: format!("an image of {}", shown(given)),
        other: other.to_owned(),
        expected: format!("begins with one of {} (--image-size brings all to one)", shown(first)),
    }
}

impl Planes {
    /// Of pixels of `channels` bytes each, of which the first is grey or the first three are red, green and blue.
    fn of(interleaved: &[u8], channels: usize, sides: [usize; 2]) -> Self {
        let colors = if channels >= 3 { [0, 1, 2] } else { [0, 0, 0] };
        let plane = |color: usize| interleaved.iter().skip(color).step_by(channels);
        Self { pixels: colors.into_iter().flat_map(plane).copied().collect(), sides }
    }

    fn resized(self, side: usize) -> Self {
        let [height, width] = self.sides;
        if self.sides == [side, side] {
            return self;
        }
        let planes = self.pixels.chunks_exact(height * width);
        let pixels = planes.flat_map(|plane| resize::plane_of(plane, self.sides, side)).collect();
        Self { pixels, sides: [side, side] }
    }
}

/// The image in a file.
fn decoded(path: &Path) -> Result<Planes, DataError> {
    let refused = |what: String| DataError::Document {
        path: path.to_owned(),
        what,
        next: "give a JPEG or PNG file of at most 16384 pixels a side, or take it out".to_owned(),
    };
    let is_png = path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"));
    let planes = if is_png {
        let file = File::open(path).map_err(|error| DataError::read(path, error))?;
        png(BufReader::new(file)).map_err(|error| refused(error.to_string()))?
    } else {
        let bytes = fs::read(path).map_err(|error| DataError::read(path, error))?;
        jpeg(&bytes).map_err(|error| refused(error.to_string()))?
    };
    match planes.sides {
        [height, width] if (1..=LARGEST).contains(&height) && (1..=LARGEST).contains(&width) => {
            Ok(planes)
        }
        [height, width] => Err(refused(format!("it has {height} x {width} pixels"))),
    }
}

fn jpeg(bytes: &[u8]) -> Result<Planes, zune_jpeg::errors::DecodeErrors> {
    // Without vectors: the bytes are then those of every machine.
    let options = DecoderOptions::default()
        .set_use_unsafe(false)
        .set_max_width(LARGEST)
        .set_max_height(LARGEST)
        .jpeg_set_out_colorspace(ColorSpace::RGB);
    let mut decoder = JpegDecoder::new_with_options(ZCursor::new(bytes), options);
    let pixels = decoder.decode()?;
    let sides = decoder.info().map_or([0, 0], |info| [info.height, info.width].map(usize::from));
    Ok(Planes::of(&pixels, 3, sides))
}

fn png(source: impl io::BufRead + io::Seek) -> Result<Planes, png::DecodingError> {
    let mut decoder = png::Decoder::new(source);
    decoder.set_transformations(Transformations::normalize_to_color8());
    let mut reader = decoder.read_info()?;
    // Before memory is asked for: a few bytes can claim any size.
    if [reader.info().height, reader.info().width].iter().any(|&side| side as usize > LARGEST) {
        return Err(png::DecodingError::LimitsExceeded);
    }
    let length = reader.output_buffer_size().unwrap_or_default();
    let mut pixels = vec![0; length];
    let info = reader.next_frame(&mut pixels)?;
    let sides = [info.height, info.width].map(|side| side as usize);
    Ok(Planes::of(&pixels[..info.buffer_size()], info.color_type.samples(), sides))
}

#[cfg(test)]
mod tests;
