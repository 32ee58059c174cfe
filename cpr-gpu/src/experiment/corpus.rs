//! What a language model is trained on: a text in memory, or files of tokens out of which windows are taken.

mod keys;

use std::{fs::File, num::NonZeroU64, path::Path};

use candle_core::{Device, Tensor};
use cpr_host::{
    config::ConfigError,
    data::{
        DataError, text,
        token_folder::{TRAIN, TokenMeta, VALIDATION},
        tokenizer::{TokenUnit, Tokenizer},
        tokens::{TokenFormat, Tokens},
    },
    random::{Random, Stream},
    train::TrainError,
};

pub use keys::CorpusKeys;

/// Tokens to train on and to validate with.
#[derive(Debug)]
pub struct Corpus {
    train: Part,
    validation: Part,
    /// Tokens for each character of the part to validate with, where that is known.
    per_character: Option<f64>,
    context: usize,
    keys: CorpusKeys,
}

/// Which of the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Which {
    /// Tokens to train on.
    Train,
    /// Tokens to validate with.
    Validation,
}

/// Tokens one after the other.
#[derive(Debug)]
enum Part {
    Memory(Vec<u16>),
    /// Of a file that many from the first on.
    File {
        tokens: Box<Tokens>,
        first: u64,
        count: u64,
    },
}

impl Part {
    const fn count(&self) -> u64 {
        match self {
            Self::Memory(tokens) => tokens.len() as u64,
            Self::File { count, .. } => *count,
        }
    }

    /// `length` tokens from `start` on, which must be there.
    fn window(&mut self, start: u64, length: usize) -> Result<Vec<u16>, DataError> {
        match self {
            Self::Memory(tokens) => {
                let start = usize::try_from(start).unwrap_or(usize::MAX);
                Ok(tokens.iter().skip(start).take(length).copied().collect())
            }
            Self::File { tokens, first, .. } => {
                let mut window = vec![0; length];
                tokens.window(*first + start, &mut window)?;
                Ok(window)
            }
        }
    }
}

/// Sequences of one length and the tokens that follow each of theirs, both (sequences, length).
#[derive(Clone, Debug)]
pub struct Sequences {
    /// Tokens.
    pub tokens: Tensor,
    /// Their successors.
    pub targets: Tensor,
}

impl Sequences {
    /// Of windows that hold one token more than a sequence has.
    fn new(windows: &[Vec<u16>], device: &Device) -> Result<Self, TrainError> {
        let length = windows.first().map_or(0, |window| window.len().saturating_sub(1));
        let tensor = |first: usize| {
            let ids = windows.iter().flat_map(|window| &window[first..first + length]);
            let ids: Vec<u32> = ids.copied().map(u32::from).collect();
            Tensor::from_vec(ids, (windows.len(), length), device).map_err(super::failed)
        };
        Ok(Self { tokens: tensor(0)?, targets: tensor(1)? })
    }
}

impl Corpus {
    /// Opens what the keys name, for sequences of `context` tokens, and fills in the keys that follow from it: unit,
    /// alphabet, vocabulary.
    ///
    /// # Errors
    /// [`TrainError`] names the file or key.
    pub fn open(keys: &mut CorpusKeys, context: usize) -> Result<Self, TrainError> {
        let path = keys.data.clone();
        let (train, validation, per_character) =
            if is_tokens(&path) { files(keys, &path)? } else { memory(keys, &path)? };
        let parts = [train.count(), validation.count()];
        text::check_parts(&path, 2 * (parts[0] + parts[1]), parts, context)?;
        Ok(Self { train, validation, per_character, context, keys: keys.clone() })
    }

    /// Looks whether what the keys name is there and long enough for sequences of `context` tokens. Files of tokens are
    /// opened; of a text the length is asked, which bounds that of its tokens, and only one that is too short by that is
    /// read, as [`open`](Self::open) does.
    ///
    /// # Errors
    /// [`DataError`] names the file. Keys that the data contradicts are left to [`open`](Self::open).
    pub fn find(keys: &CorpusKeys, context: usize) -> Result<(), DataError> {
        let path = &keys.data;
        if !is_tokens(path) {
            let metadata = File::open(path).and_then(|file| file.metadata());
            let bytes = metadata.map_err(|error| DataError::read(path, error))?.len();
            let train = text::cut(keys.train_fraction, bytes);
            if text::check_parts(path, bytes, [train, bytes - train], context).is_ok() {
                return Ok(());
            }
        }
        match Self::open(&mut keys.clone(), context) {
            Err(TrainError::File(error)) => Err(error),
            _ => Ok(()),
        }
    }

    fn part(&mut self, which: Which) -> &mut Part {
        match which {
            Which::Train => &mut self.train,
            Which::Validation => &mut self.validation,
        }
    }

    /// How many tokens.
    #[must_use]
    pub const fn count(&self, which: Which) -> u64 {
        match which {
            Which::Train => self.train.count(),
            Which::Validation => self.validation.count(),
        }
    }

    /// Steps that have as many tokens as there are to train on, at least 1.
    #[must_use]
    pub const fn steps_per_epoch(&self) -> u64 {
        let tokens = self.keys.batch as u64 * self.context as u64;
        let steps = self.train.count().div_ceil(tokens);
        if steps == 0 { 1 } else { steps }
    }

    /// Bits for each character at this validation loss in nats for each token, where the characters were counted.
    #[must_use]
    pub fn bits(&self, loss: f64) -> Option<f64> {
        self.per_character.map(|tokens| loss * tokens / std::f64::consts::LN_2)
    }

    /// The sequences of a step in its passes: each begins at a place that depends on seed and step alone.
    ///
    /// # Errors
    /// [`TrainError`]: a file that cannot be read, or holds tokens beyond the vocabulary.
    pub fn batch(
        &mut self,
        seed: u64,
        step: u64,
        device: &Device,
    ) -> Result<Vec<Sequences>, TrainError> {
        let (length, sequences) = (self.context + 1, self.keys.sequences());
        let starts = self.train.count() - self.context as u64;
        let bound = NonZeroU64::new(starts).unwrap_or(NonZeroU64::MIN);
        let mut random = Random::new(seed, Stream::Batches, step);
        let mut passes = Vec::with_capacity(self.keys.accumulate);
        for _ in 0..self.keys.accumulate {
            let windows = (0..sequences)
                .map(|_| self.train.window(random.below(bound), length))
                .collect::<Result<Vec<_>, _>>()?;
            passes.push(Sequences::new(&windows, device)?);
        }
        Ok(passes)
    }

    /// The mean over sequences that are evenly spread over a part: as many as an evaluation measures, in passes as large
    /// as those of a step. `loss` gives the mean of a pass.
    ///
    /// # Errors
    /// As [`batch`](Self::batch), and those of `loss`.
    pub fn mean(
        &mut self,
        which: Which,
        device: &Device,
        mut loss: impl FnMut(&Sequences) -> Result<f64, TrainError>,
    ) -> Result<f64, TrainError> {
        let (sequences, wanted) = (self.keys.sequences(), self.keys.eval_sequences as u64);
        let last = self.count(which).saturating_sub(1);
        let context = (self.context as u64).min(last).max(1);
        let all = last / context;
        let count = if wanted == 0 { all } else { wanted.min(all) };
        let length = usize::try_from(context + 1).unwrap_or(usize::MAX);
        let part = self.part(which);
        let (mut total, mut from) = (0.0, 0);
        while from < count {
            let until = count.min(from + sequences as u64);
            let windows = (from..until)
                .map(|index| part.window(index * all / count * context, length))
                .collect::<Result<Vec<_>, _>>()?;
            // Counts are far below 2⁵³.
            total += loss(&Sequences::new(&windows, device)?)? * (until - from) as f64;
            from = until;
        }
        Ok(total / count as f64)
    }
}

/// Whether that is a folder or a file of tokens, and no text.
fn is_tokens(path: &Path) -> bool {
    path.is_dir() || path.extension().is_some_and(|extension| extension == "bin")
}

/// A text, cut in two.
fn memory(keys: &mut CorpusKeys, path: &Path) -> Result<(Part, Part, Option<f64>), TrainError> {
    if keys.validation.is_some() {
        let expected = "a text is cut in two: leave it out, or make token files with `cpr tokens`";
        return Err(ConfigError::refused("validation", "given", expected).into());
    }
    let bytes = text::read(path)?;
    let unit = keys.unit.unwrap_or(TokenUnit::Characters);
    let tokens = if unit == TokenUnit::Bytes {
        settle(keys, unit, None, 256)?;
        bytes.iter().copied().map(u16::from).collect()
    } else {
        let characters = text::utf8(path, &bytes)?;
        let tokenizer = Tokenizer::of(unit, keys.alphabet.as_deref().unwrap_or(characters));
        settle(keys, unit, tokenizer.characters(), tokenizer.size())?;
        tokenizer.encode(characters).map_err(|character| text::foreign(path, character))?
    };
    let (train, validation) = text::split(tokens, keys.train_fraction);
    let decoded = tokenizer(keys).map(|tokenizer| tokenizer.decode(&validation));
    let per_character = text::per_character(validation.len(), &decoded.unwrap_or_default());
    Ok((Part::Memory(train), Part::Memory(validation), Some(per_character)))
}

/// Files of tokens.
fn files(keys: &mut CorpusKeys, path: &Path) -> Result<(Part, Part, Option<f64>), TrainError> {
    let folder = if path.is_dir() { path } else { path.parent().unwrap_or(path) };
    let meta = TokenMeta::of(folder)?;
    let unit = keys.unit.or(meta.as_ref().map(|meta| meta.unit)).unwrap_or(TokenUnit::Gpt2);
    if let Some(meta) = meta.as_ref().filter(|meta| meta.unit != unit) {
        let expected = format!(
            "the meta.json in {} says that the tokens are {}: leave it out, or give other files",
            folder.display(),
            meta.unit.name()
        );
        return Err(ConfigError::refused("unit", unit.name(), &expected).into());
    }
    let alphabet =
        keys.alphabet.clone().or_else(|| meta.as_ref().and_then(|meta| meta.alphabet.clone()));
    let size = match (unit, &meta, &alphabet) {
        (TokenUnit::Characters, _, Some(alphabet)) => alphabet.chars().count(),
        (TokenUnit::Characters, Some(meta), None) => meta.vocabulary,
        (TokenUnit::Characters, None, None) => {
            keys.vocabulary.ok_or_else(|| {
                let expected = "tokens that are characters need --vocabulary, or the meta.json of `cpr tokens` beside them";
                ConfigError::refused("unit", unit.name(), expected)
            })?
        }
        _ => Tokenizer::of(unit, "").size(),
    };
    settle(keys, unit, alphabet, size)?;
    let vocabulary = u32::try_from(keys.vocabulary.unwrap_or(size)).unwrap_or(u32::MAX);
    let open = |path: &Path| Tokens::open(path, TokenFormat::Detect, vocabulary);
    let whole = |path: &Path| -> Result<Part, DataError> {
        let tokens = open(path)?;
        Ok(Part::File { first: 0, count: tokens.count(), tokens: Box::new(tokens) })
    };
    if path.is_dir() {
        if keys.validation.is_some() {
            let expected = "a folder has its own val.bin: leave it out, or give --data a file";
            return Err(ConfigError::refused("validation", "given", expected).into());
        }
        let (train, validation) = (whole(&path.join(TRAIN))?, whole(&path.join(VALIDATION))?);
        let per_character = meta.filter(|meta| meta.validation_characters > 0);
        let per_character =
            per_character.map(|meta| validation.count() as f64 / meta.validation_characters as f64);
        return Ok((train, validation, per_character));
    }
    if let Some(validation) = &keys.validation {
        return Ok((whole(path)?, whole(validation)?, None));
    }
    let tokens = open(path)?;
    let (count, cut) = (tokens.count(), text::cut(keys.train_fraction, tokens.count()));
    let train = Part::File { tokens: Box::new(tokens), first: 0, count: cut };
    let rest = Part::File { tokens: Box::new(open(path)?), first: cut, count: count - cut };
    Ok((train, rest, None))
}

/// Fills in what the data has settled.
fn settle(
    keys: &mut CorpusKeys,
    unit: TokenUnit,
    alphabet: Option<String>,
    size: usize,
) -> Result<(), ConfigError> {
    keys.unit = Some(unit);
    keys.alphabet = if unit == TokenUnit::Characters { alphabet } else { None };
    let vocabulary = *keys.vocabulary.get_or_insert(size);
    if vocabulary < size {
        let expected =
            format!("the tokens of the data are {size} different ones: it must be at least that");
        return Err(ConfigError::refused("vocabulary", vocabulary, &expected));
    }
    keys.check()
}

/// The tokenizer of keys that were settled; none where the characters are not known.
#[must_use]
pub(super) fn tokenizer(keys: &CorpusKeys) -> Option<Tokenizer> {
    let unit = keys.unit?;
    match (unit, &keys.alphabet) {
        (TokenUnit::Characters, None) => None,
        (unit, alphabet) => Some(Tokenizer::of(unit, alphabet.as_deref().unwrap_or_default())),
    }
}

/// How many tokens the unit of the keys has, where that is known without opening the data: of a folder its meta.json is
/// asked, and data that is not there yet is taken for GPT-2's tokens.
#[must_use]
pub(super) fn size(keys: &CorpusKeys) -> Option<usize> {
    let folder = if keys.data.is_dir() { Some(keys.data.as_path()) } else { keys.data.parent() };
    let meta = folder.and_then(|folder| TokenMeta::of(folder).ok().flatten());
    let is_text = keys.is_text();
    let told = meta.filter(|_| !is_text).map(|meta| meta.unit);
    let usual = if is_text { TokenUnit::Characters } else { TokenUnit::Gpt2 };
    match (keys.unit.or(told).unwrap_or(usual), &keys.alphabet) {
        (TokenUnit::Characters, alphabet) => Some(alphabet.as_ref()?.chars().count()),
        (unit, _) => Some(Tokenizer::of(unit, "").size()),
    }
}
