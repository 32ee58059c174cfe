//! Text made into files of tokens: what `cpr tokens` does.
//!
//! Texts are taken one at a time, so memory holds one of them and its tokens, not all. The folder appears whole: files are
//! written to a sibling, made durable, and take its name in one rename.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{self, BufWriter, Read, Seek, SeekFrom, Write},
    path::{Path, PathBuf},
};

use crate::{
    data::{
        DataError, text,
        text::Alphabet,
        token_folder::{META, TRAIN, TokenMeta, VALIDATION},
        tokenizer::{TokenUnit, Tokenizer},
        tokens::{TokenFormat, llm_header},
    },
    run_folder::{make_folder, replace},
    store::Disk,
};

const BYTES: u64 = 2;
/// Bytes that are moved at a time.
const BLOCK: usize = 1 << 16;

/// What to make of which texts.
#[derive(Clone, Debug, PartialEq)]
pub struct TokenPlan {
    /// Text files, and folders whose files are taken in the order of their paths; hidden ones are left out.
    pub inputs: Vec<PathBuf>,
    /// The folder to make; must not exist yet.
    pub out: PathBuf,
    /// What a token is.
    pub unit: TokenUnit,
    /// nanoGPT's format, or llm.c's.
    pub format: TokenFormat,
    /// Share of the tokens, their beginning, that `train.bin` takes; in (0, 1). `val.bin` takes the rest.
    pub train_fraction: f64,
}

/// Why there are no files of tokens.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TokenizeError {
    /// A text.
    #[error(transparent)]
    Data(#[from] DataError),
    /// The folder exists.
    #[error("{} exists already: give --out another name, or remove it", path.display())]
    Exists {
        /// The folder.
        path: PathBuf,
    },
    /// Folders without a file.
    #[error(
        "there is no text file in {}: give a folder with some, or the files themselves",
        shown(inputs)
    )]
    NoFiles {
        /// What was given.
        inputs: Vec<PathBuf>,
    },
    /// A token takes 16 bits.
    #[error(
        "the texts have {given} different characters, and a token takes 16 bits: use --unit gpt2 or bytes"
    )]
    Characters {
        /// How many.
        given: usize,
    },
    /// One of the two files would be empty.
    #[error(
        "{tokens} tokens leave none to train on or none to validate with at --train-fraction {fraction}: give more text, \
         or a share nearer to 0.5"
    )]
    Short {
        /// How many there are.
        tokens: u64,
        /// The share.
        fraction: f64,
    },
    /// llm.c's header counts in 32 bits.
    #[error(
        "{tokens} tokens are more than llm.c's header can count: use --format nanogpt, or split the text"
    )]
    Count {
        /// How many.
        tokens: u64,
    },
    /// The system does not take a file.
    #[error("cannot write {}: {source}; free space, or give --out another place", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
}

fn shown(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

/// Makes the folder; says what is in it, and of how many texts it was made.
///
/// Texts of GPT-2's tokens end with `<|endoftext|>`, where there are several. The cut between the two files is by tokens.
///
/// # Errors
/// [`TokenizeError`]; there is no folder then, unless only its parent could not be synced.
pub fn write(plan: &TokenPlan) -> Result<(TokenMeta, usize), TokenizeError> {
    let TokenPlan { inputs, out, .. } = plan;
    if out.symlink_metadata().is_ok() {
        return Err(TokenizeError::Exists { path: out.clone() });
    }
    let mut files = Vec::new();
    for input in inputs {
        gather(input, true, &mut files)?;
    }
    if files.is_empty() {
        return Err(TokenizeError::NoFiles { inputs: inputs.clone() });
    }
    let failed = |path: &Path, source| TokenizeError::Write { path: path.to_owned(), source };
    let meta = make_folder(out, failed, |folder| fill(plan, &files, folder))?;
    Ok((meta, files.len()))
}

/// The file itself, or those below a folder.
fn gather(path: &Path, given: bool, files: &mut Vec<PathBuf>) -> Result<(), DataError> {
    let failed = |error| DataError::read(path, error);
    // A link to a folder is followed where it was given, not below, where it could lead round in circles.
    let about = if given { fs::metadata(path) } else { fs::symlink_metadata(path) };
    if !about.map_err(failed)?.is_dir() {
        if given || path.is_file() {
            files.push(path.to_owned());
        }
        return Ok(());
    }
    let mut entries = fs::read_dir(path)
        .and_then(|entries| entries.map(|entry| entry.map(|entry| entry.path())).collect())
        .map_err(failed)
        .map(|entries: Vec<PathBuf>| entries)?;
    entries.sort();
    let hidden = |path: &PathBuf| {
        path.file_name().is_some_and(|name| name.as_encoded_bytes().starts_with(b"."))
    };
    entries.iter().filter(|path| !hidden(path)).try_for_each(|path| gather(path, false, files))
}

/// Writes the three files.
fn fill(plan: &TokenPlan, files: &[PathBuf], folder: &Path) -> Result<TokenMeta, TokenizeError> {
    let tokenizer = tokenizer(plan.unit, files)?;
    let start = if plan.format == TokenFormat::LlmC { llm_header(0).len() as u64 } else { 0 };
    let [train_path, validation_path] = [TRAIN, VALIDATION].map(|name| folder.join(name));
    let train = File::options().read(true).write(true).create_new(true).open(&train_path);
    let writing = |path: &Path| {
        let path = path.to_owned();
        move |source| TokenizeError::Write { path: path.clone(), source }
    };
    let failed = writing(&train_path);
    let mut train = train.map_err(&failed)?;
    let total = append(plan.unit, &tokenizer, files, &train, start, &failed)?;
    let cut = text::cut(plan.train_fraction, total);
    if cut == 0 || cut >= total {
        return Err(TokenizeError::Short { tokens: total, fraction: plan.train_fraction });
    }
    let failed_validation = writing(&validation_path);
    let mut validation = File::create_new(&validation_path).map_err(&failed_validation)?;
    train.seek(SeekFrom::Start(start + BYTES * cut)).map_err(&failed)?;
    validation.seek(SeekFrom::Start(start)).map_err(&failed_validation)?;
    let mut characters = 0;
    let mut block = vec![0; BLOCK];
    loop {
        let read = full(&mut train, &mut block).map_err(&failed)?;
        if read == 0 {
            break;
        }
        validation.write_all(&block[..read]).map_err(&failed_validation)?;
        characters += characters_of(&tokenizer, &block[..read]);
    }
    train.set_len(start + BYTES * cut).map_err(&failed)?;
    for (file, count, failed) in
        [(&mut train, cut, &failed), (&mut validation, total - cut, &failed_validation)]
    {
        if start > 0 {
            let tokens = count;
            let count = u32::try_from(count).map_err(|_| TokenizeError::Count { tokens })?;
            file.seek(SeekFrom::Start(0)).map_err(failed)?;
            file.write_all(&llm_header(count)).map_err(failed)?;
        }
        file.sync_all().map_err(failed)?;
    }
    let meta = TokenMeta {
        unit: plan.unit,
        vocabulary: tokenizer.size(),
        alphabet: tokenizer.characters(),
        train: cut,
        validation: total - cut,
        validation_characters: characters,
    };
    let path = folder.join(META);
    replace(&mut Disk, &path, meta.to_json().as_bytes()).map_err(writing(&path))?;
    Ok(meta)
}

/// That of the unit; where it is characters, of all that the texts have.
fn tokenizer(unit: TokenUnit, files: &[PathBuf]) -> Result<Tokenizer, TokenizeError> {
    if unit != TokenUnit::Characters {
        return Ok(Tokenizer::of(unit, ""));
    }
    let mut characters = BTreeSet::new();
    for path in files {
        characters.extend(text::utf8(path, &text::read(path)?)?.chars());
    }
    let given = characters.len();
    if given > Alphabet::LARGEST {
        return Err(TokenizeError::Characters { given });
    }
    let characters: String = characters.into_iter().collect();
    Ok(Tokenizer::of(unit, &characters))
}

/// Writes the tokens of all texts from `start` on, and counts them.
fn append(
    unit: TokenUnit,
    tokenizer: &Tokenizer,
    files: &[PathBuf],
    out: &File,
    start: u64,
    failed: &impl Fn(io::Error) -> TokenizeError,
) -> Result<u64, TokenizeError> {
    let mut out = BufWriter::with_capacity(BLOCK, out);
    out.seek(SeekFrom::Start(start)).map_err(failed)?;
    let mut total = 0;
    for path in files {
        let bytes = text::read(path)?;
        let mut tokens = if unit == TokenUnit::Bytes {
            bytes.iter().copied().map(u16::from).collect()
        } else {
            let text = text::utf8(path, &bytes)?;
            tokenizer.encode(text).map_err(|character| DataError::Character {
                path: path.clone(),
                character,
                next: "it has changed since it was first read: run again".to_owned(),
            })?
        };
        if files.len() > 1 {
            tokens.extend(tokenizer.end_of_text());
        }
        total += tokens.len() as u64;
        for token in tokens {
            out.write_all(&token.to_le_bytes()).map_err(failed)?;
        }
    }
    out.flush().map_err(failed)?;
    Ok(total)
}

/// Reads until the block is full or the file at its end.
fn full(file: &mut File, block: &mut [u8]) -> io::Result<usize> {
    let mut filled = 0;
    while filled < block.len() {
        match file.read(&mut block[filled..])? {
            0 => break,
            read => filled += read,
        }
    }
    Ok(filled)
}

/// Characters of the text of these tokens: bytes that go on with a character do not count, so that a block may end within
/// one.
fn characters_of(tokenizer: &Tokenizer, bytes: &[u8]) -> u64 {
    let tokens = bytes.chunks_exact(2).map(|pair| u16::from_le_bytes([pair[0], pair[1]]));
    let tokens: Vec<u16> = tokens.filter(|&token| Some(token) != tokenizer.end_of_text()).collect();
    tokenizer.decode(&tokens).iter().filter(|&&byte| byte & 0xc0 != 0x80).count() as u64
}

#[cfg(test)]
mod tests;
