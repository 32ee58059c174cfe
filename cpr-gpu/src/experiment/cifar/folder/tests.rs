use std::io::Write as _;

use super::*;

/// A PNG file of one colour, 8 bits a sample.
fn write_png(path: &Path, [height, width]: [u32; 2], color: png::ColorType, pixel: &[u8]) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let mut encoder = png::Encoder::new(File::create(path).unwrap(), width, height);
    encoder.set_color(color);
    encoder.set_depth(png::BitDepth::Eight);
    let pixels = pixel.repeat((height * width) as usize);
    encoder.write_header().unwrap().write_image_data(&pixels).unwrap();
}

fn place() -> tempfile::TempDir {
    let place = tempfile::tempdir().unwrap();
    let at = |name: &str| place.path().join(name);
    for (class, count) in [("cat", 3_u8), ("bird", 1)] {
        for index in 0..count {
            let (path, pixel) = (at(&format!("train/{class}/{index}.png")), [10, 20, index]);
            write_png(&path, [4, 4], png::ColorType::Rgb, &pixel);
        }
        write_png(&at(&format!("test/{class}/a.PNG")), [4, 4], png::ColorType::Grayscale, &[77]);
    }
    File::create(at("train/cat/notes.txt")).unwrap().write_all(b"no image").unwrap();
    fs::create_dir(at("train/.hidden")).unwrap();
    place
}

fn read(place: &Path, side: usize, counts: [usize; 2]) -> Result<ImageData, DataError> {
    open(place, Reading { side, counts }, &Workers::inline())
}

#[test]
fn classes_come_in_turn_by_name() {
    let place = place();
    let data = read(place.path(), 0, [0, 0]).unwrap();
    assert_eq!((data.classes, data.train.labels), (2, vec![0, 1, 1, 1]));
    assert_eq!((data.train.height, data.train.width, data.train.channels), (4, 4, 3));
    // Planes, the last of which holds the number of the file.
    assert_eq!(data.train.pixels[3 * 48 + 15..3 * 48 + 17], [10, 20]);
    assert_eq!(data.train.pixels[3 * 48 + 47], 2);
    // Grey becomes three equal planes.
    assert_eq!((data.test.labels, data.test.pixels), (vec![0, 1], vec![77; 2 * 48]));
    let few = read(place.path(), 2, [2, 1]).unwrap();
    assert_eq!((few.train.labels, few.train.pixels.len()), (vec![0, 1], 2 * 12));
    assert_eq!(few.test.labels, [0]);
}

#[test]
fn transparency_is_left_out() {
    let place = place();
    let path = place.path().join("test/cat/a.PNG");
    write_png(&path, [4, 4], png::ColorType::Rgba, &[1, 2, 3, 200]);
    let data = read(place.path(), 0, [0, 0]).unwrap();
    let pixels = data.test.image(1);
    assert_eq!([pixels[0], pixels[16], pixels[47]], [1, 2, 3]);
}

#[test]
fn what_does_not_fit_is_refused_by_name() {
    let refused = |spoil: &dyn Fn(&Path)| {
        let place = place();
        spoil(place.path());
        read(place.path(), 0, [0, 0]).unwrap_err().to_string()
    };
    let message = refused(&|place| fs::remove_dir_all(place.join("test")).unwrap());
    assert!(message.contains("validate with into test/"), "{message}");
    let message = refused(&|place| {
        write_png(&place.join("test/dog/a.png"), [4, 4], png::ColorType::Grayscale, &[0]);
    });
    assert!(message.contains("class `dog`"), "{message}");
    let message = refused(&|place| {
        write_png(&place.join("train/cat/9.png"), [4, 5], png::ColorType::Grayscale, &[0]);
    });
    assert!(message.contains("9.png holds an image of 4 x 5"), "{message}");
    assert!(message.contains("--image-size"), "{message}");
    for ending in ["png", "jpg"] {
        let message =
            refused(&|place| fs::write(place.join(format!("train/cat/9.{ending}")), "x").unwrap());
        assert!(message.contains("cannot be understood"), "{message}");
    }
    // A head that claims terabytes, and nothing behind it.
    let message = refused(&|place| {
        let file = File::create(place.join("train/cat/9.png")).unwrap();
        drop(png::Encoder::new(file, 1_000_000, 1_000_000).write_header().unwrap());
    });
    assert!(message.contains("9.png") && message.contains("16384"), "{message}");
    let message = refused(&|place| fs::remove_dir_all(place.join("train/cat")).unwrap());
    assert!(message.contains("class `cat`"), "{message}");
}
