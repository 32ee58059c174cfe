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
