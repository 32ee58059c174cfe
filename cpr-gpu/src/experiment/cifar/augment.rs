//! Batches of training images: shifted, mirrored, as numbers.

use std::num::{NonZeroU64, NonZeroUsize};

use cpr_host::{
    data::{
        batches::{Batches, Cursor},
        images::Images,
        scale::Scale,
    },
    parallel::Workers,
    random::{Random, Stream},
};

/// How a training image is changed before the network sees it.
///
/// The image is laid on a larger one that repeats it mirrored at its edges (without the edge itself), and cut out again
/// at a random place, up to `padding` pixels away; then it is mirrored left to right, or not, with equal chances. What
/// happens to an image depends on the seed, the step and its place in the batch alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Augment {
    /// Seed of the run.
    pub(super) seed: u64,
    /// Most pixels that an image is shifted by along either axis, below its sides.
    pub(super) padding: usize,
    /// Whether images are mirrored.
    pub(super) flip: bool,
}

/// One draw: an image is read from `down` rows and `right` columns into its padded copy on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Draw {
    down: usize,
    right: usize,
    mirrored: bool,
}

impl Augment {
    fn draw(self, step: u64, place: usize) -> Draw {
        let mut random = Random::part(self.seed, Stream::Augment, step, place as u64);
        let mut shift = || {
            let places = NonZeroU64::MIN.saturating_add(2 * self.padding as u64);
            // Below 2¹⁵, for images have at most 2¹⁴ rows.
            random.below(places) as usize
        };
        let (down, right) = (shift(), shift());
        Draw { down, right, mirrored: self.flip && random.bits() & 1 == 1 }
    }

    /// Writes an image of `height` × `width` that is changed by `draw`, channel by channel.
    fn write(
        self,
        draw: Draw,
        pixels: &[u8],
        [height, width]: [usize; 2],
        scale: &Scale,
        out: &mut [f32],
    ) {
        let plane = height * width;
        let planes = pixels.chunks_exact(plane).zip(out.chunks_exact_mut(plane));
        for ((pixels, out), values) in planes.zip(scale.channels()) {
            for (y, row) in out.chunks_exact_mut(width).enumerate() {
                let y = mirrored(y + draw.down, self.padding, height);
                let pixels = &pixels[y * width..][..width];
                for (x, out) in row.iter_mut().enumerate() {
                    let x = if draw.mirrored { width - 1 - x } else { x };
                    let x = mirrored(x + draw.right, self.padding, width);
                    *out = values[usize::from(pixels[x])];
                }
            }
        }
    }
}

/// The place in a row of `side` pixels of a place in the same row with `padding` mirrored pixels before and after it.
fn mirrored(place: usize, padding: usize, side: usize) -> usize {
    match place.checked_sub(padding) {
        None => padding - place,
        Some(place) if place < side => place,
        Some(place) => 2 * (side - 1) - place,
    }
}

/// The images of a step as numbers, image by image, and the label of each.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Batch {
    /// The images.
    pub(super) pixels: Vec<f32>,
    /// Their labels.
    pub(super) labels: Vec<u32>,
}

/// Training images, and the order in which they come.
///
/// The batch of the next step can be made ahead, while a device is at work on this one; where the run stands does not
/// count it.
#[derive(Debug)]
pub(super) struct Loader {
    images: Images,
    scale: Scale,
    augment: Augment,
    batches: Batches,
    /// The batch that comes next, as training sees it.
    next: Cursor,
    ahead: Option<Ahead>,
}

#[derive(Debug)]
struct Ahead {
    step: u64,
    batch: Batch,
    after: Cursor,
}

impl Loader {
    /// At the start of the first epoch. There must be an image, and `batch` be at least 1; sides above the padding.
    #[must_use]
    pub(super) fn new(images: Images, scale: Scale, augment: Augment, batch: usize) -> Self {
        let at_least_one = |n: usize| NonZeroUsize::new(n).unwrap_or(NonZeroUsize::MIN);
        let batches = Batches::new(at_least_one(images.len()), at_least_one(batch), augment.seed);
        let next = batches.cursor();
        Self { images, scale, augment, batches, next, ahead: None }
    }

    /// The images as they are.
    #[must_use]
    pub(super) const fn images(&self) -> &Images {
        &self.images
    }

    /// From bytes to numbers.
    #[must_use]
    pub(super) const fn scale(&self) -> &Scale {
        &self.scale
    }

    /// Steps of an epoch.
    #[must_use]
    pub(super) fn per_epoch(&self) -> u64 {
        self.batches.per_epoch()
    }

    /// Where training stands: the batch that the next step takes.
    #[must_use]
    pub(super) const fn cursor(&self) -> Cursor {
        self.next
    }

    /// Goes on there.
    pub(super) fn seek(&mut self, cursor: Cursor) {
        self.batches.seek(cursor);
        self.next = self.batches.cursor();
        self.ahead = None;
    }

    /// The batch of this step, made ahead or now.
    pub(super) fn take(&mut self, step: u64, workers: &Workers) -> Batch {
        let ahead = self.ahead.take().filter(|ahead| ahead.step == step);
        let Ahead { batch, after, .. } = ahead.unwrap_or_else(|| {
            self.batches.seek(self.next);
            self.make(step, workers)
        });
        self.next = after;
        batch
    }

    /// Makes the batch of the step after the one taken last.
    pub(super) fn prepare(&mut self, step: u64, workers: &Workers) {
        self.ahead = Some(self.make(step, workers));
    }

    /// The next batch in order, each image a task of the workers.
    fn make(&mut self, step: u64, workers: &Workers) -> Ahead {
        let Self { images, scale, augment, batches, .. } = self;
        let indices = batches.next_batch();
        let sides = [images.height, images.width];
        let mut pixels = vec![0.0; indices.len() * images.size()];
        workers.for_each_chunk(&mut pixels, images.size(), |place, out| {
            let draw = augment.draw(step, place);
            augment.write(draw, images.image(indices[place]), sides, scale, out);
        });
        let labels = indices.iter().map(|&index| u32::from(images.labels[index])).collect();
        Ahead { step, batch: Batch { pixels, labels }, after: batches.cursor() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Images of 1 × 4 × 3 whose pixels are all different.
    fn images(count: u8) -> Images {
        let pixels = (0..12 * count).collect();
        Images { channels: 1, height: 4, width: 3, pixels, labels: (0..count).collect() }
    }

    fn loader(padding: usize, flip: bool) -> Loader {
        let images = images(7);
        let scale = Scale::of(&images);
        Loader::new(images, scale, Augment { seed: 3, padding, flip }, 3)
    }

    #[test]
    fn edges_are_mirrored_without_themselves() {
        let row: Vec<usize> = (0..8).map(|place| mirrored(place, 2, 4)).collect();
        assert_eq!(row, [2, 1, 0, 1, 2, 3, 2, 1]);
    }

    #[test]
    fn an_image_is_shifted_and_mirrored() {
        let (images, augment) = (images(1), Augment { seed: 0, padding: 1, flip: true });
        let scale = Scale::of(&images);
        let value = |pixel: u8| scale.channels()[0][usize::from(pixel)];
        let mut out = [0.0; 12];
        let draw = Draw { down: 0, right: 2, mirrored: true };
        augment.write(draw, images.image(0), [4, 3], &scale, &mut out);
        let expected = [4, 5, 4, 1, 2, 1, 4, 5, 4, 7, 8, 7].map(value);
        assert_eq!(out, expected);
    }

    #[test]
    fn every_draw_occurs_and_depends_on_step_and_place_alone() {
        let augment = Augment { seed: 5, padding: 1, flip: true };
        let draws: Vec<Draw> = (0..300).map(|step| augment.draw(step, 2)).collect();
        for down in 0..3 {
            for right in 0..3 {
                for mirrored in [false, true] {
                    let count =
                        draws.iter().filter(|draw| **draw == Draw { down, right, mirrored });
                    assert!(count.count() > 3, "{down} {right} {mirrored}");
                }
            }
        }
        assert_eq!(augment.draw(7, 2), draws[7]);
        let other = Augment { seed: 6, ..augment };
        assert!((0..300).any(|step| other.draw(step, 2) != draws[step as usize]));
    }

    #[test]
    fn made_ahead_or_not_batches_are_the_same_and_the_cursor_is_of_the_last_one_taken() {
        let (one, two) = (Workers::inline(), Workers::new(2.try_into().unwrap()).unwrap());
        let (mut plain, mut eager) = (loader(2, true), loader(2, true));
        let mut places = Vec::new();
        for step in 1..9 {
            places.push((plain.cursor(), step));
            let batch = plain.take(step, &one);
            assert_eq!(batch, eager.take(step, &two));
            assert_eq!(batch.labels.len(), if step % 3 == 0 { 1 } else { 3 });
            assert_eq!(plain.cursor(), eager.cursor());
            eager.prepare(step + 1, &two);
        }
        // From any place on, also where another batch was made ahead.
        for (cursor, step) in places {
            eager.seek(cursor);
            let mut again = loader(2, true);
            again.seek(cursor);
            again.prepare(99, &one);
            assert_eq!(eager.take(step, &one), again.take(step, &one));
        }
    }

    #[test]
    fn without_augmentation_an_epoch_is_the_images() {
        let mut loader = loader(0, false);
        let workers = Workers::inline();
        let mut seen = [false; 7];
        for step in 1..=3 {
            let Batch { pixels, labels } = loader.take(step, &workers);
            for (label, pixels) in labels.into_iter().zip(pixels.chunks(12)) {
                seen[label as usize] = true;
                let own = loader.images().image(label as usize);
                let values = &loader.scale().channels()[0];
                assert!(own.iter().zip(pixels).all(|(&own, x)| values[usize::from(own)] == *x));
            }
        }
        assert_eq!(seen, [true; 7]);
    }
}
