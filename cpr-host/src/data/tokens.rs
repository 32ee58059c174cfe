//! Files of tokens: two bytes each, least significant first.
//!
//! ```text
//! nanoGPT  token | token | …
//! llm.c    256 numbers of 32 bits: 20240520, version 1, count, 253 more | count tokens
//! ```
//!
//! A file is never read whole: training takes windows out of it, and the system keeps what is warm. Sources:
//! <https://github.com/karpathy/nanoGPT>, `data/openwebtext/prepare.py`; <https://github.com/karpathy/llm.c>,
//! `dev/data/data_common.py`.

use std::{
    fs::File,
    io::{Read, Seek, SeekFrom},
    path::{Path, PathBuf},
};

use super::{
    error::{AGAIN, DataError},
    images,
};

/// The first number of llm.c's files of GPT-2 tokens.
const MAGIC: u32 = 20_240_520;
/// That of its files of Llama 3 tokens, which take four bytes each.
const WIDE_MAGIC: u32 = 20_240_801;
const VERSION: u32 = 1;
/// Bytes of llm.c's header.
const HEADER: u64 = 1024;
const BYTES: u64 = 2;

/// Which of the two.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum TokenFormat {
    /// llm.c's where the file begins with its magic number, else nanoGPT's.
    #[default]
    Detect,
    /// nanoGPT's.
    Raw,
    /// llm.c's.
    LlmC,
}

/// An open file of tokens.
#[derive(Debug)]
pub struct Tokens<S = File> {
    path: PathBuf,
    source: S,
    start: u64,
    count: u64,
    vocabulary: u32,
    buffer: Vec<u8>,
}

impl Tokens {
    /// Opens a file whose tokens are below `vocabulary` (at least 1; 65536 allows all).
    ///
    /// # Errors
    /// [`DataError`]: a file that cannot be read or is refused.
    pub fn open(path: &Path, format: TokenFormat, vocabulary: u32) -> Result<Self, DataError> {
        let (file, length) = images::open(path)?;
        Self::new(path, file, length, format, vocabulary)
    }
}

impl<S: Read + Seek> Tokens<S> {
    /// Tokens of a source of that many bytes; `path` is what errors name.
    ///
    /// # Errors
    /// [`DataError`].
    pub fn new(
        path: &Path,
        mut source: S,
        length: u64,
        format: TokenFormat,
        vocabulary: u32,
    ) -> Result<Self, DataError> {
        if length == 0 {
            return Err(DataError::Empty { path: path.to_owned(), next: MAKE.to_owned() });
        }
        let mut head = Vec::new();
        let read = source.by_ref().take(12).read_to_end(&mut head);
        read.map_err(|error| DataError::read(path, error))?;
        let numbers = head.chunks_exact(4).filter_map(|bytes| bytes.try_into().ok());
        let numbers: Vec<u32> = numbers.map(u32::from_le_bytes).collect();
        let first = numbers.first().copied();
        let llm = match format {
            TokenFormat::Raw => false,
            TokenFormat::LlmC => true,
            TokenFormat::Detect => matches!(first, Some(MAGIC | WIDE_MAGIC)),
        };
        let (start, count) = match llm {
            true => (HEADER, llm_count(path, &numbers, length)?),
            false => (0, length / BYTES),
        };
        if !llm && !length.is_multiple_of(BYTES) {
            let expected = "a token takes 2, so there is half a token at its end".to_owned();
            return Err(DataError::Length {
                path: path.to_owned(),
                given: length,
                expected,
                next: MAKE.to_owned(),
            });
        }
        Ok(Self { path: path.to_owned(), source, start, count, vocabulary, buffer: Vec::new() })
    }

    /// Number of tokens, at least 1.
    #[must_use]
    pub const fn count(&self) -> u64 {
        self.count
    }

    /// Fills `window` with the tokens from `first` on.
    ///
    /// # Errors
    /// [`DataError::Label`] for a token outside the vocabulary, [`DataError::Length`] for a window that reaches over
    /// the end, [`DataError::Read`].
    pub fn window(&mut self, first: u64, window: &mut [u16]) -> Result<(), DataError> {
        let wanted = window.len() as u64;
        if first.checked_add(wanted).is_none_or(|end| end > self.count) {
            return Err(DataError::Length {
                path: self.path.clone(),
                given: self.start + BYTES * self.count,
                expected: format!("{wanted} tokens from token {first} on reach over its end"),
                next: "use a shorter context, or more text".to_owned(),
            });
        }
        let failed = |error| DataError::read(&self.path, error);
        self.source.seek(SeekFrom::Start(self.start + BYTES * first)).map_err(failed)?;
        self.buffer.resize(2 * window.len(), 0);
        self.source.read_exact(&mut self.buffer).map_err(failed)?;
        for (index, (token, bytes)) in
            (first..).zip(window.iter_mut().zip(self.buffer.chunks_exact(2)))
        {
            *token = u16::from_le_bytes([bytes[0], bytes[1]]);
            if u32::from(*token) >= self.vocabulary {
                return Err(DataError::Label {
                    path: self.path.clone(),
                    what: "token",
                    index,
                    given: u64::from(*token),
                    highest: u64::from(self.vocabulary).saturating_sub(1),
                    next: "use the vocabulary that it was made with, or make it again".to_owned(),
                });
            }
        }
        Ok(())
    }
}

/// What to do where there is no file of tokens.
const MAKE: &str = "make it again from its text";

/// llm.c's header of a file of that many tokens of GPT-2 (or of any that take two bytes each).
#[must_use]
pub fn llm_header(count: u32) -> Vec<u8> {
    let numbers = [MAGIC, VERSION, count].into_iter().chain(std::iter::repeat(0));
    numbers.take(256).flat_map(u32::to_le_bytes).collect()
}

/// The number of tokens that llm.c's header gives, where the file has exactly those.
fn llm_count(path: &Path, numbers: &[u32], length: u64) -> Result<u64, DataError> {
    let magic = |field, given: u32, expected: String, next: &str| DataError::Magic {
        path: path.to_owned(),
        format: "file of llm.c's GPT-2 tokens",
        field,
        given: given.into(),
        expected,
        next: next.to_owned(),
    };
    let short = |expected: String| DataError::Length {
        path: path.to_owned(),
        given: length,
        expected,
        next: AGAIN.to_owned(),
    };
    match *numbers {
        [WIDE_MAGIC, ..] => {
            let next = "it holds tokens of 4 bytes: make it again with the tokens of GPT-2";
            Err(magic("magic number", WIDE_MAGIC, MAGIC.to_string(), next))
        }
        [MAGIC, VERSION, count] if length >= HEADER => {
            let count = u64::from(count);
            if count == 0 {
                return Err(magic("count", 0, "at least 1".to_owned(), MAKE));
            }
            match HEADER + BYTES * count == length {
                true => Ok(count),
                false => Err(short(format!(
                    "its header says {count} tokens, which take {}",
                    HEADER + BYTES * count
                ))),
            }
        }
        [MAGIC, VERSION, ..] => Err(short(format!("the header alone takes {HEADER}"))),
        [MAGIC, version, ..] => Err(magic("version", version, VERSION.to_string(), MAKE)),
        [first, ..] => {
            let next = "a file of tokens without a header is nanoGPT's";
            Err(magic("magic number", first, MAGIC.to_string(), next))
        }
        [] => Err(short(format!("the header alone takes {HEADER}"))),
    }
}
