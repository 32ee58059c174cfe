//! A folder of token files: `train.bin`, `val.bin`, and `meta.json`, which says what their tokens are.

use std::{fs, path::Path};

use serde::{Deserialize, Serialize};

use super::{DataError, tokenizer::TokenUnit};

/// The file of the tokens to train on.
pub const TRAIN: &str = "train.bin";
/// The file of the tokens to validate with.
pub const VALIDATION: &str = "val.bin";
/// What the tokens are; files of other origin have none.
pub const META: &str = "meta.json";

/// The content of [`META`].
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct TokenMeta {
    /// What a token is.
    pub unit: TokenUnit,
    /// Number of different tokens.
    pub vocabulary: usize,
    /// The characters in the order of their tokens, where a token is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub alphabet: Option<String>,
    /// Tokens to train on.
    pub train: u64,
    /// Tokens to validate with.
    pub validation: u64,
    /// Characters of the text to validate with: for bits a character.
    pub validation_characters: u64,
}

impl TokenMeta {
    /// That of a folder; none where there is no such file.
    ///
    /// # Errors
    /// [`DataError`] for a file that cannot be read or is no such document.
    pub fn of(folder: &Path) -> Result<Option<Self>, DataError> {
        let path = folder.join(META);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read(&path).map_err(|error| DataError::read(&path, error))?;
        serde_json::from_slice(&text).map(Some).map_err(|error| DataError::Document {
            path,
            what: error.to_string(),
            next: "make the folder again with `cpr tokens`, or remove this file and say what the tokens are".to_owned(),
        })
    }

    /// The document, with a line feed at its end.
    #[must_use]
    pub fn to_json(&self) -> String {
        format!("{:#}\n", serde_json::json!(self))
    }
}
