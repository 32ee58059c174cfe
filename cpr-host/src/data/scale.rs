//! From bytes to numbers of mean 0 and deviation 1.

use super::images::Images;

/// The linear map that gives every channel of some images mean 0 and deviation 1, as a table of the 256 bytes.
#[derive(Clone, Debug, PartialEq)]
pub struct Scale {
    /// What each value of a byte becomes, for each channel.
    values: Vec<[f32; 256]>,
}

impl Scale {
    /// The map of these images. A channel of one value becomes 0.
    #[must_use]
    pub fn of(images: &Images) -> Self {
        let plane = images.height * images.width;
        let mut counts = vec![[0_u64; 256]; images.channels];
        for (index, pixels) in images.pixels.chunks_exact(plane).enumerate() {
            let counts = &mut counts[index % images.channels];
            pixels.iter().for_each(|&pixel| counts[usize::from(pixel)] += 1);
        }
        let values = counts.iter().map(|counts| {
            // The levels are the bytes; all sums are of integers below 2⁵³.
            let levels = || (0_u32..256).map(f64::from).zip(counts);
            let count = counts.iter().sum::<u64>() as f64;
            let mean = levels().map(|(level, &n)| level * n as f64).sum::<f64>() / count;
            let square = |level: f64| (level - mean) * (level - mean);
            let variance =
                levels().map(|(level, &n)| square(level) * n as f64).sum::<f64>() / count;
            let deviation = if variance > 0.0 { variance.sqrt() } else { 1.0 };
            std::array::from_fn(|level| ((level as f64 - mean) / deviation) as f32)
        });
        Self { values: values.collect() }
    }

    /// What each value of a byte becomes, channel by channel.
    #[must_use]
    pub fn channels(&self) -> &[[f32; 256]] {
        &self.values
    }
}
