//! Images brought to another size.

use cpr_host::data::images::Images;

/// The images with both sides `side`: each pixel is the mean of the area that it covers, rounded to a byte.
///
/// All sums are of whole numbers, so that the bytes are the same on every machine. Images that are not square are
/// stretched. Images of that size stay as they are.
#[must_use]
pub(super) fn resized(images: Images, side: usize) -> Images {
    let Images { channels, height, width, ref pixels, .. } = images;
    if [height, width] == [side, side] || side == 0 || height == 0 || width == 0 {
        return images;
    }
    let mut all = Vec::with_capacity(images.labels.len() * channels * side * side);
    for plane in pixels.chunks_exact(height * width) {
        all.extend(plane_of(plane, [height, width], side));
    }
    Images { channels, height: side, width: side, pixels: all, labels: images.labels }
}

/// One plane with both sides `side`, none of the sides 0.
pub(super) fn plane_of(
    plane: &[u8],
    [height, width]: [usize; 2],
    side: usize,
) -> impl Iterator<Item = u8> {
    let total = (height * width) as u64;
    (0..side * side).map(move |place| {
        let mut sum = 0;
        for (y, rows) in covered(place / side, height, side) {
            for (x, columns) in covered(place % side, width, side) {
                sum += rows * columns * u64::from(plane[y * width + x]);
            }
        }
        // A mean of bytes is none above 255.
        ((sum + total / 2) / total) as u8
    })
}

/// The pixels of `from` that the pixel `place` of `to` covers, and how much of each in units of 1/`to`.
fn covered(place: usize, from: usize, to: usize) -> impl Iterator<Item = (usize, u64)> {
    let (start, end) = (place * from, (place + 1) * from);
    (start / to..end.div_ceil(to)).map(move |pixel| {
        let overlap = end.min((pixel + 1) * to) - start.max(pixel * to);
        (pixel, overlap as u64)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bytes(plane: &[u8], sides: [usize; 2], side: usize) -> Vec<u8> {
        plane_of(plane, sides, side).collect()
    }

    #[test]
    fn a_pixel_is_the_mean_of_what_it_covers() {
        let plane = [0, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100, 110, 120, 130, 140, 150];
        assert_eq!(bytes(&plane, [4, 4], 2), [25, 45, 105, 125]);
        assert_eq!(bytes(&plane, [4, 4], 4), plane);
        assert_eq!(bytes(&plane, [4, 4], 1), [75]);
        // Thirds: (2·0 + 1·90)/3, (1·90 + 2·240)/3.
        assert_eq!(bytes(&[0, 90, 240, 0, 90, 240], [2, 3], 2), [30, 190, 30, 190]);
        // Larger: pixels are repeated.
        assert_eq!(bytes(&[1, 2, 3, 4], [2, 2], 4)[..4], [1, 1, 2, 2]);
    }

    #[test]
    fn labels_channels_and_white_stay() {
        let images = Images {
            channels: 3,
            height: 5,
            width: 7,
            pixels: vec![255; 2 * 3 * 35],
            labels: vec![4, 1],
        };
        let small = resized(images.clone(), 3);
        assert_eq!((small.channels, small.height, small.width), (3, 3, 3));
        assert_eq!((small.labels, small.pixels), (vec![4, 1], vec![255; 2 * 27]));
        assert_eq!(resized(images.clone(), 0), images);
    }
}
