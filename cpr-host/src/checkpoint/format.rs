//! The bytes before the payload: how they are laid out, and how they are read without trust.
//!
//! The crate `safetensors` is the oracle of the tests. It does not read here, because it lets a
//! doubled name pass, takes a header of 100 MB (which parses into several times that), and wants
//! the file in memory before it looks at it.

use std::fmt;
use std::path::Path;

use safetensors::Dtype;
use serde::de::{self, Deserialize, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};

use super::error::CheckpointError;
use super::meta::Meta;
use super::tensor::Signature;

/// Version of the format that is written, and the only one that is read.
pub const FORMAT_VERSION: u64 = 1;

/// Longest header that is written or read, in bytes: room for about 80 000 tensors. Parsed, a
/// header takes up to four times its length, so this also bounds the reader's memory.
pub const MAX_HEADER_BYTES: u64 = 8 << 20;

/// Longest metadata document that is written or read, in bytes. A parsed JSON value may take a
/// hundred times its length.
pub const MAX_DOCUMENT_BYTES: usize = 256 << 10;

/// Most dimensions that a tensor may have.
pub const MAX_RANK: usize = 16;

/// Start of the names of moments.
pub(super) const OPTIMIZER_PREFIX: &str = "optimizer/";
/// Start of the names of constraint records.
pub(super) const CONSTRAINT_PREFIX: &str = "constraint/";
/// The key that safetensors reserves.
pub(super) const METADATA_KEY: &str = "__metadata__";
/// The one entry of the metadata.
const DOCUMENT_KEY: &str = "cpr";

/// Bytes of the length field at the start of the file.
pub(super) const LENGTH_BYTES: usize = 8;
/// Digits of the checksum.
pub(super) const CHECKSUM_DIGITS: usize = 8;
/// What stands for the checksum while it is computed.
pub(super) const CHECKSUM_ZEROS: &str = "00000000";
/// How the header of every checkpoint begins; the digits of the checksum follow. That it is always
/// at the same place lets the reader blank it without parsing.
pub(super) const HEADER_START: &str = r#"{"__metadata__":{"cpr":"{\"format\":1,\"checksum\":\""#;

/// One tensor as the header describes it.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) name: String,
    pub(super) signature: Signature,
    /// First byte, from the start of the payload.
    pub(super) begin: u64,
    /// One past the last byte.
    pub(super) end: u64,
}

/// A header whose entries are in the order of the payload, without gap or overlap.
#[derive(Debug)]
pub(super) struct Header {
    /// The `cpr` entry of the metadata.
    pub(super) document: Option<String>,
    pub(super) entries: Vec<Entry>,
}

impl Header {
    /// Length of the payload in bytes.
    pub(super) fn payload(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.end)
    }
}

/// Number of bytes that a signature asks for; none if that is no whole number or overflows.
pub(super) fn byte_len(signature: &Signature) -> Option<u64> {
    let bits = u64::try_from(signature.dtype.bitsize()).ok()?;
    let elements = signature
        .shape
        .iter()
        .try_fold(1_u64, |product, &length| product.checked_mul(u64::try_from(length).ok()?))?;
    let bits = elements.checked_mul(bits)?;
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// The metadata document with its checksum still blank.
pub(super) fn document(meta: &Meta) -> serde_json::Result<String> {
    #[derive(serde::Serialize)]
    struct Document<'a> {
        format: u64,
        checksum: &'static str,
        meta: &'a Meta,
    }
    serde_json::to_string(&Document { format: FORMAT_VERSION, checksum: CHECKSUM_ZEROS, meta })
}

/// Reads the version alone: only when it is known can the rest be.
pub(super) fn read_version(document: &str) -> serde_json::Result<u64> {
    #[derive(serde::Deserialize)]
    struct Version {
        format: u64,
    }
    serde_json::from_str(document).map(|Version { format }| format)
}

/// Reads a document of this version.
pub(super) fn read_document(document: &str) -> serde_json::Result<Meta> {
    #[derive(serde::Deserialize)]
    #[serde(deny_unknown_fields)]
    struct Document {
        #[serde(rename = "format")]
        _format: u64,
        #[serde(rename = "checksum")]
        _checksum: String,
        meta: Meta,
    }
    serde_json::from_str(document).map(|Document { meta, .. }| meta)
}

/// The length field and the header, padded with spaces so that the payload starts at a multiple
/// of 8.
pub(super) fn write_header(document: &str, entries: &[Entry]) -> serde_json::Result<Vec<u8>> {
    #[derive(serde::Serialize)]
    struct Info<'a> {
        dtype: Dtype,
        shape: &'a [usize],
        data_offsets: [u64; 2],
    }

    let mut bytes = vec![0; LENGTH_BYTES];
    bytes.extend_from_slice(br#"{"__metadata__":{"cpr":"#);
    serde_json::to_writer(&mut bytes, document)?;
    bytes.push(b'}');
    for Entry { name, signature, begin, end } in entries {
        let Signature { dtype, shape } = signature;
        bytes.push(b',');
        serde_json::to_writer(&mut bytes, name)?;
        bytes.push(b':');
        let info = Info { dtype: *dtype, shape, data_offsets: [*begin, *end] };
        serde_json::to_writer(&mut bytes, &info)?;
    }
    bytes.push(b'}');
    bytes.resize(bytes.len().next_multiple_of(LENGTH_BYTES), b' ');
    let length = (bytes.len() - LENGTH_BYTES) as u64;
    bytes[..LENGTH_BYTES].copy_from_slice(&length.to_le_bytes());
    Ok(bytes)
}

/// Parses and checks a header (without the length field); memory is bounded by its length.
///
/// # Errors
///
/// [`CheckpointError::Header`], [`CheckpointError::Duplicate`] or [`CheckpointError::Offsets`].
pub(super) fn read_header(path: &Path, bytes: &[u8]) -> Result<Header, CheckpointError> {
    let RawHeader { document, mut entries } = serde_json::from_slice(bytes).map_err(|error| {
        CheckpointError::Header { path: path.to_path_buf(), reason: error.to_string() }
    })?;

    entries.sort_unstable_by(|a, b| a.name.cmp(&b.name));
    if let Some(pair) = entries.windows(2).find(|pair| pair[0].name == pair[1].name) {
        let name = pair[0].name.clone();
        return Err(CheckpointError::Duplicate { path: path.to_path_buf(), name });
    }

    entries.sort_by_key(|entry| (entry.begin, entry.end));
    let mut covered = 0;
    for entry in &entries {
        let needed = byte_len(&entry.signature);
        let reason = if entry.end < entry.begin {
            "they run backwards".to_owned()
        } else if needed != Some(entry.end - entry.begin) {
            match needed {
                Some(needed) => format!("{} takes {needed} bytes", entry.signature),
                None => format!("{} is no whole number of bytes below 2⁶¹", entry.signature),
            }
        } else if entry.begin < covered {
            format!("they overlap the tensor before, which ends at {covered}")
        } else if entry.begin > covered {
            format!("the tensor before ends at {covered}, and gaps are not allowed")
        } else {
            covered = entry.end;
            continue;
        };
        return Err(CheckpointError::Offsets {
            path: path.to_path_buf(),
            name: entry.name.clone(),
            begin: entry.begin,
            end: entry.end,
            reason,
        });
    }
    Ok(Header { document, entries })
}

/// A header as it stands in the file: syntax alone is settled.
struct RawHeader {
    document: Option<String>,
    entries: Vec<Entry>,
}

impl<'de> Deserialize<'de> for RawHeader {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct HeaderVisitor;

        impl<'de> Visitor<'de> for HeaderVisitor {
            type Value = RawHeader;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object with an entry for each tensor")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<RawHeader, A::Error> {
                let mut metadata = None;
                let mut entries = Vec::new();
                while let Some(name) = map.next_key::<String>()? {
                    if name != METADATA_KEY {
                        let Info { dtype, shape: Shape(shape), data_offsets: (begin, end) } =
                            map.next_value()?;
                        let signature = Signature { dtype, shape };
                        entries.push(Entry { name, signature, begin, end });
                    } else if metadata.replace(map.next_value::<Metadata>()?).is_some() {
                        return Err(de::Error::duplicate_field(METADATA_KEY));
                    }
                }
                let document = metadata.and_then(|Metadata(document)| document);
                Ok(RawHeader { document, entries })
            }
        }

        deserializer.deserialize_map(HeaderVisitor)
    }
}

/// What the header says of one tensor.
#[derive(serde::Deserialize)]
struct Info {
    dtype: Dtype,
    shape: Shape,
    data_offsets: (u64, u64),
}

/// A shape that stops growing at [`MAX_RANK`], whatever the file lists.
struct Shape(Vec<usize>);

impl<'de> Deserialize<'de> for Shape {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct ShapeVisitor;

        impl<'de> Visitor<'de> for ShapeVisitor {
            type Value = Shape;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "an array of at most {MAX_RANK} lengths")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Shape, A::Error> {
                let mut shape = Vec::new();
                while let Some(length) = seq.next_element()? {
                    if shape.len() == MAX_RANK {
                        return Err(de::Error::invalid_length(MAX_RANK + 1, &self));
                    }
                    shape.push(length);
                }
                Ok(Shape(shape))
            }
        }

        deserializer.deserialize_seq(ShapeVisitor)
    }
}

/// The metadata's entry `cpr`; the others are passed over.
struct Metadata(Option<String>);

impl<'de> Deserialize<'de> for Metadata {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct MetadataVisitor;

        impl<'de> Visitor<'de> for MetadataVisitor {
            type Value = Metadata;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object of strings")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Metadata, A::Error> {
                let mut document = None;
                while let Some(key) = map.next_key::<String>()? {
                    if key != DOCUMENT_KEY {
                        map.next_value::<IgnoredAny>()?;
                    } else if document.replace(map.next_value()?).is_some() {
                        return Err(de::Error::duplicate_field(DOCUMENT_KEY));
                    }
                }
                Ok(Metadata(document))
            }
        }

        deserializer.deserialize_map(MetadataVisitor)
    }
}
