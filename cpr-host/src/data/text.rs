//! Text as tokens: its characters or its bytes.

use std::{fs, path::Path, str};

use super::error::DataError;

/// What the tokens of a text are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Alphabet {
    /// Bytes, 256 of them, whatever the text.
    Bytes,
    /// These characters, in ascending order; the token of a character is its place.
    Characters(Vec<char>),
}

impl Alphabet {
    /// The most characters that there may be: a token takes 16 bits.
    pub const LARGEST: usize = 1 << 16;

    /// The characters of a text, each once.
    #[must_use]
    pub fn of(text: &str) -> Self {
        let mut characters: Vec<char> = text.chars().collect();
        characters.sort_unstable();
        characters.dedup();
        Self::Characters(characters)
    }

    /// Number of tokens.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Bytes => 256,
            Self::Characters(characters) => characters.len(),
        }
    }

    /// The tokens of a text, or its first character that is not in the alphabet.
    ///
    /// # Errors
    /// That character.
    pub fn encode(&self, text: &str) -> Result<Vec<u16>, char> {
        match self {
            Self::Bytes => Ok(text.bytes().map(u16::from).collect()),
            Self::Characters(characters) => text
                .chars()
                .map(|c| {
                    let place = characters.binary_search(&c).map_err(|_| c)?;
                    u16::try_from(place).map_err(|_| c)
                })
                .collect(),
        }
    }

    /// The bytes of the text of these tokens; tokens beyond the alphabet are left out.
    #[must_use]
    pub fn decode(&self, tokens: &[u16]) -> Vec<u8> {
        match self {
            Self::Bytes => tokens.iter().filter_map(|&token| u8::try_from(token).ok()).collect(),
            Self::Characters(characters) => {
                let text = tokens.iter().filter_map(|&token| characters.get(usize::from(token)));
                text.collect::<String>().into_bytes()
            }
        }
    }
}

/// A text as tokens.
#[derive(Clone, Debug)]
pub struct Text {
    /// What a token is.
    pub alphabet: Alphabet,
    /// The tokens that train, its beginning.
    pub train: Vec<u16>,
    /// Those that validate, the rest.
    pub validation: Vec<u16>,
}

impl Text {
    /// The text of a file in this alphabet, `None` for that of its characters; a share in (0, 1) of it trains, in
    /// sequences of up to `context` tokens.
    ///
    /// # Errors
    /// [`DataError`]: a file that is not there, is no text or one of other characters, or is too short.
    pub fn open(
        path: &Path,
        alphabet: Option<Alphabet>,
        share: f64,
        context: usize,
    ) -> Result<Self, DataError> {
        let bytes = read(path)?;
        let (alphabet, tokens) = match alphabet {
            Some(Alphabet::Bytes) => {
                (Alphabet::Bytes, bytes.iter().copied().map(u16::from).collect())
            }
            characters => {
                let text = utf8(path, &bytes)?;
                let alphabet = characters.unwrap_or_else(|| Alphabet::of(text));
                let tokens = alphabet.encode(text).map_err(|character| foreign(path, character))?;
                (alphabet, tokens)
            }
        };
        let (train, validation) = split(tokens, share);
        let parts = [train.len() as u64, validation.len() as u64];
        check_parts(path, bytes.len() as u64, parts, context)?;
        Ok(Self { alphabet, train, validation })
    }
}

/// The bytes of a text file.
///
/// # Errors
/// [`DataError::Read`], [`DataError::Empty`].
pub fn read(path: &Path) -> Result<Vec<u8>, DataError> {
    let bytes = fs::read(path).map_err(|error| DataError::read(path, error))?;
    if bytes.is_empty() {
        let next = "give a file with text in it".to_owned();
        return Err(DataError::Empty { path: path.to_owned(), next });
    }
    Ok(bytes)
}

/// Those bytes as text in UTF-8.
///
/// # Errors
/// [`DataError::Label`] names the first byte that is none.
pub fn utf8<'a>(path: &Path, bytes: &'a [u8]) -> Result<&'a str, DataError> {
    str::from_utf8(bytes).map_err(|error| {
        let at = error.valid_up_to();
        DataError::Label {
            path: path.to_owned(),
            what: "byte",
            index: at as u64,
            given: bytes.get(at).copied().unwrap_or_default().into(),
            highest: 0x7f,
            next: "it is no UTF-8: take its bytes as tokens with --unit bytes".to_owned(),
        }
    })
}

/// How many of so many tokens train, the first ones: a share in (0, 1) of them, rounded down.
#[must_use]
pub fn cut(share: f64, tokens: u64) -> u64 {
    // A count of tokens is far below 2⁵³.
    (share * tokens as f64) as u64
}

/// The tokens that train, and those that validate.
#[must_use]
pub fn split(mut tokens: Vec<u16>, share: f64) -> (Vec<u16>, Vec<u16>) {
    let cut = usize::try_from(cut(share, tokens.len() as u64)).unwrap_or(usize::MAX);
    let validation = tokens.split_off(cut.min(tokens.len()));
    (tokens, validation)
}

/// Tokens for each character of the text that they are of, at least one of them.
#[must_use]
pub fn per_character(tokens: usize, text: &[u8]) -> f64 {
    let characters = String::from_utf8_lossy(text).chars().count().max(1);
    tokens as f64 / characters as f64
}

/// `Ok` where both parts have a sequence of `context` tokens or a part of one, and what follows it.
///
/// # Errors
/// [`DataError::Length`]; `given` is the length of the file in bytes.
pub fn check_parts(
    path: &Path,
    given: u64,
    [train, validation]: [u64; 2],
    context: usize,
) -> Result<(), DataError> {
    let wanted = (context as u64).saturating_add(1);
    if train >= wanted && validation >= 2 {
        return Ok(());
    }
    Err(DataError::Length {
        path: path.to_owned(),
        given,
        expected: format!(
            "that leaves {train} tokens to train on, where a sequence takes {wanted}, and {validation} to validate with"
        ),
        next: "give more text, or a smaller --context".to_owned(),
    })
}

/// A character of a text that a run's alphabet does not have.
#[must_use]
pub fn foreign(path: &Path, character: char) -> DataError {
    let next = "give the text that the run was made with, or start one of its own".to_owned();
    DataError::Character { path: path.to_owned(), character, next }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_places_in_the_alphabet_and_back() {
        let alphabet = Alphabet::of("bazaar é");
        assert_eq!(alphabet, Alphabet::Characters(vec![' ', 'a', 'b', 'r', 'z', 'é']));
        let tokens = alphabet.encode("zebra").unwrap_err();
        assert_eq!(tokens, 'e');
        let tokens = alphabet.encode("é bar").unwrap();
        assert_eq!(tokens, [5, 0, 2, 1, 3]);
        assert_eq!(alphabet.decode(&tokens), "é bar".as_bytes());
        assert_eq!(Alphabet::Bytes.encode("é").unwrap(), [0xc3, 0xa9]);
        assert_eq!(Alphabet::Bytes.decode(&[0xc3, 0xa9, 300]), "é".as_bytes());
    }

    #[test]
    fn what_is_no_text_is_refused() {
        let error = utf8(Path::new("a.txt"), &[b'a', 0xff]).unwrap_err().to_string();
        assert!(
            error.contains("a.txt: byte 1 is 255") && error.contains("--unit bytes"),
            "{error}"
        );
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("empty.txt");
        fs::write(&path, "").unwrap();
        assert!(read(&path).unwrap_err().to_string().contains("is empty"));
        assert!(read(folder.path()).is_err());
    }
}
