//! The published checksums of files.

use std::io::{self, Read};

use md5::Md5;
use sha2::{Sha256, digest::Output};

/// What a file was published with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Digest {
    /// Against damage, not against malice: the authors publish no other.
    Md5(&'static str),
    /// In small letters, as the other.
    Sha256(&'static str),
}

impl Digest {
    /// Which one.
    #[must_use]
    pub const fn kind(self) -> &'static str {
        match self {
            Self::Md5(_) => "MD5",
            Self::Sha256(_) => "SHA-256",
        }
    }

    /// Its hexadecimal digits.
    #[must_use]
    pub const fn expected(self) -> &'static str {
        match self {
            Self::Md5(digits) | Self::Sha256(digits) => digits,
        }
    }

    /// The digits of this kind that a content has.
    ///
    /// # Errors
    /// If it cannot be read.
    pub fn of(self, content: impl Read) -> io::Result<String> {
        match self {
            Self::Md5(_) => digits::<Md5>(content),
            Self::Sha256(_) => digits::<Sha256>(content),
        }
    }
}

fn digits<D: sha2::Digest>(mut content: impl Read) -> io::Result<String> {
    let mut digest = D::new();
    let mut buffer = vec![0; 1 << 16];
    loop {
        match content.read(&mut buffer)? {
            0 => break,
            length => digest.update(&buffer[..length]),
        }
    }
    let bytes: Output<D> = digest.finalize();
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digests_are_those_of_their_definitions() {
        let of = |digest: Digest| digest.of(&b"abc"[..]).unwrap();
        assert_eq!(of(Digest::Md5("")), "900150983cd24fb0d6963f7d28e17f72");
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(of(Digest::Sha256("")), expected);
    }
}
