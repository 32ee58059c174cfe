//! What the tokens of a text are: GPT-2's pieces, its characters, or its bytes.

use clap::ValueEnum;
use serde::{Deserialize, Serialize};
use tiktoken_rs::{CoreBPE, r50k_base_singleton};

use super::text::Alphabet;

/// `<|endoftext|>`.
const END_OF_TEXT: u16 = 50_256;

/// What a token is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[value(rename_all = "lower")]
pub enum TokenUnit {
    /// A piece of GPT-2's byte pair encoding.
    Gpt2,
    /// A character.
    Characters,
    /// A byte.
    Bytes,
}

impl TokenUnit {
    /// How many tokens GPT-2 has, the end of a text among them.
    pub const GPT2_TOKENS: usize = 50_257;

    /// Its name on the command line.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Gpt2 => "gpt2",
            Self::Characters => "characters",
            Self::Bytes => "bytes",
        }
    }
}

/// Text to tokens and back.
///
/// ```
/// use cpr_host::data::tokenizer::{TokenUnit, Tokenizer};
/// let gpt2 = Tokenizer::of(TokenUnit::Gpt2, "");
/// let tokens = gpt2.encode("Hello world").unwrap();
/// assert_eq!(tokens, [15496, 995]);
/// assert_eq!(gpt2.decode(&tokens), b"Hello world");
/// ```
#[derive(Clone)]
pub enum Tokenizer {
    /// GPT-2's byte pair encoding. Its vocabulary is part of the program. Source: Radford et al., "Language Models are
    /// Unsupervised Multitask Learners", 2019, section 2.2.
    Gpt2(&'static CoreBPE),
    /// Characters or bytes.
    Alphabet(Alphabet),
}

impl std::fmt::Debug for Tokenizer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gpt2(_) => f.write_str("Gpt2"),
            Self::Alphabet(alphabet) => f.debug_tuple("Alphabet").field(alphabet).finish(),
        }
    }
}

impl Tokenizer {
    /// That of a unit; `text` is what the characters are taken from, where they are tokens: all of it, or each once.
    #[must_use]
    pub fn of(unit: TokenUnit, text: &str) -> Self {
        match unit {
            TokenUnit::Gpt2 => Self::Gpt2(r50k_base_singleton()),
            TokenUnit::Characters => Self::Alphabet(Alphabet::of(text)),
            TokenUnit::Bytes => Self::Alphabet(Alphabet::Bytes),
        }
    }

    /// Number of tokens.
    #[must_use]
    pub fn size(&self) -> usize {
        match self {
            Self::Gpt2(_) => TokenUnit::GPT2_TOKENS,
            Self::Alphabet(alphabet) => alphabet.size(),
        }
    }

    /// The tokens of a text; `<|endoftext|>` in it is text as any other.
    ///
    /// # Errors
    /// Its first character that is not in the alphabet.
    pub fn encode(&self, text: &str) -> Result<Vec<u16>, char> {
        match self {
            Self::Alphabet(alphabet) => alphabet.encode(text),
            // Each is below 2¹⁶.
            Self::Gpt2(pairs) => {
                let tokens = pairs.encode_ordinary(text).into_iter();
                Ok(tokens.filter_map(|token| u16::try_from(token).ok()).collect())
            }
        }
    }

    /// The bytes of the text of these tokens; tokens beyond the vocabulary are left out.
    #[must_use]
    pub fn decode(&self, tokens: &[u16]) -> Vec<u8> {
        match self {
            Self::Alphabet(alphabet) => alphabet.decode(tokens),
            Self::Gpt2(pairs) => {
                let known = tokens.iter().map(|&token| u32::from(token));
                let known =
                    known.filter(|&token| token <= END_OF_TEXT.into()).collect::<Vec<u32>>();
                // Every token that is left has its bytes.
                pairs.decode_bytes(&known).unwrap_or_default()
            }
        }
    }

    /// The token that stands between two texts, where there is one: GPT-2's `<|endoftext|>`.
    #[must_use]
    pub const fn end_of_text(&self) -> Option<u16> {
        match self {
            Self::Gpt2(_) => Some(END_OF_TEXT),
            Self::Alphabet(_) => None,
        }
    }

    /// The characters that are tokens, each once, where characters are.
    #[must_use]
    pub fn characters(&self) -> Option<String> {
        match self {
            Self::Alphabet(Alphabet::Characters(characters)) => Some(characters.iter().collect()),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gpt2_has_its_published_tokens_and_takes_any_bytes_back() {
        let gpt2 = Tokenizer::of(TokenUnit::Gpt2, "");
        // From OpenAI's encoder: the classic example, a space before a word, a word it does not know, a line feed.
        for (text, tokens) in [
            ("Hello, my dog is cute", &[15496, 11, 616, 3290, 318, 13779][..]),
            (" the", &[262]),
            ("\n\n", &[628]),
            ("<|endoftext|>", &[27, 91, 437, 1659, 5239, 91, 29]),
        ] {
            assert_eq!(gpt2.encode(text).unwrap(), tokens, "{text:?}");
        }
        let text = "naïve 日本 \u{1f980} x  y\t\r\n'll";
        assert_eq!(gpt2.decode(&gpt2.encode(text).unwrap()), text.as_bytes());
        assert_eq!(gpt2.decode(&[END_OF_TEXT, 60_000, 262]), b"<|endoftext|> the");
        assert_eq!((gpt2.size(), gpt2.end_of_text()), (50_257, Some(50_256)));
    }

    #[test]
    fn characters_and_bytes_are_alphabets() {
        let characters = Tokenizer::of(TokenUnit::Characters, "beada");
        assert_eq!(characters.characters().as_deref(), Some("abde"));
        assert_eq!(characters.encode("bad").unwrap(), [1, 0, 2]);
        assert_eq!(characters.encode("c"), Err('c'));
        let bytes = Tokenizer::of(TokenUnit::Bytes, "");
        assert_eq!(bytes.encode("é").unwrap(), [0xc3, 0xa9]);
        assert_eq!((bytes.size(), bytes.characters()), (256, None));
    }
}
