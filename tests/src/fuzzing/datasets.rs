//! Data files: images, labels, tokens.

use std::{io::Cursor, path::Path};

use cpr_host::data::{
    DataError, cifar,
    cifar::Cifar,
    idx,
    tokens::{TokenFormat, Tokens},
};

/// Tokens are below this: GPT-2's vocabulary.
const VOCABULARY: u32 = 50_257;

/// Any bytes as a data file of the format that the first byte chooses.
///
/// Laws: an error that says something, or content that makes the same bytes again; a window of tokens is the tokens
/// of the file, and one that reaches over its end is refused.
pub fn data(data: &[u8]) {
    let (form, bytes) = data.split_first().map_or((0, data), |(&form, rest)| (form % 7, rest));
    let (path, length) = (Path::new("fuzzed.bin"), bytes.len() as u64);
    match form {
        0 => {
            let Some(images) = kept(idx::read_images(path, bytes, length)) else { return };
            let count = images.pixels.len() / images.size();
            let header = [0x0803, count, images.height, images.width].map(big_endian).concat();
            assert!([&header, &*images.pixels].concat() == bytes);
        }
        1 => {
            let Some(labels) = kept(idx::read_labels(path, bytes, length)) else { return };
            let header = [0x0801, labels.len()].map(big_endian).concat();
            assert!([&header, &*labels].concat() == bytes);
        }
        2 | 3 => {
            let kind = if form == 2 { Cifar::Ten } else { Cifar::Hundred };
            let Some(images) = kept(cifar::read(path, bytes, length, kind)) else { return };
            assert!(!images.is_empty());
            let records = bytes.chunks_exact(bytes.len() / images.len());
            for (index, record) in records.enumerate() {
                assert!(record.ends_with(images.image(index)));
                let label = images.labels[index];
                assert_eq!(record[record.len() - images.size() - 1], label);
                assert!(usize::from(label) < kind.classes());
            }
        }
        _ => {
            let formats = [TokenFormat::Detect, TokenFormat::Raw, TokenFormat::LlmC];
            let format = formats[usize::from(form) - 4];
            let opened = Tokens::new(path, Cursor::new(bytes), length, format, VOCABULARY);
            let Some(tokens) = kept(opened) else { return };
            windows(tokens, bytes);
        }
    }
}

/// Reads the tokens from the last to the first, in windows.
fn windows(mut tokens: Tokens<Cursor<&[u8]>>, bytes: &[u8]) {
    const WINDOW: u64 = 100;
    let count = tokens.count();
    assert!(count > 0);
    let body = &bytes[bytes.len() - 2 * usize::try_from(count).expect("below the length")..];
    let mut first = count;
    while first > 0 {
        let end = first;
        first = first.saturating_sub(WINDOW);
        let mut window = vec![0; usize::try_from(end - first).expect("at most WINDOW")];
        let at = 2 * usize::try_from(first).expect("below the length");
        let expected: Vec<u16> = body[at..][..2 * window.len()]
            .chunks_exact(2)
            .map(|bytes| u16::from_le_bytes([bytes[0], bytes[1]]))
            .collect();
        let beyond = expected.iter().any(|&token| u32::from(token) >= VOCABULARY);
        match kept(tokens.window(first, &mut window)) {
            Some(()) => assert!(window == expected && !beyond),
            None => assert!(beyond, "tokens {first} to {end} are refused"),
        }
    }
    for first in [count, u64::MAX] {
        assert!(tokens.window(first, &mut [0]).is_err());
    }
}

fn big_endian(number: usize) -> [u8; 4] {
    u32::try_from(number).expect("it was read from 32 bits").to_be_bytes()
}

fn kept<T>(read: Result<T, DataError>) -> Option<T> {
    read.map_err(|error| assert!(!error.to_string().is_empty())).ok()
}
