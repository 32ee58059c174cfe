//! `events.out.tfevents.*`: scalars for TensorBoard.
//!
//! The file is a sequence of TFRecord frames: length (u64), masked CRC32C of the length (u32), the
//! bytes, masked CRC32C of the bytes (u32), all little-endian. The bytes are protocol buffers of the
//! message `Event`, of which these fields are written:
//!
//! ```text
//! Event   { 1: double wall_time, 2: int64 step, 3: string file_version, 5: Summary summary }
//! Summary { 1: repeated Value value }
//! Value   { 1: string tag, 2: float simple_value }
//! ```
//!
//! Source: `tensorflow/core/util/event.proto`, `summary.proto` and `tensorflow/core/lib/io`.

use std::path::Path;

use super::{
    Clock, Observe, ObserveError, Position, Row,
    append::{AppendFile, Cut},
};
use crate::store::Shared;

/// Name of the file in a run folder. TensorBoard asks for `tfevents` in it; the customary time and
/// host name are left out, so that a resumed run finds its file.
pub(super) const FILE: &str = "events.out.tfevents.0.cpr";

/// Writes rows as TensorBoard events, one tag a name; `/` in a name groups the charts.
///
/// Values are rounded to f32, which is what the format holds. Values that are not defined yet are
/// left out; infinities and NaN are written as such.
#[derive(Debug)]
pub struct TfEvents<C> {
    file: AppendFile,
    clock: C,
}

impl<C: Clock> TfEvents<C> {
    /// Makes a file at `path` that holds the version record alone. `clock` counts from 1970.
    ///
    /// # Errors
    ///
    /// When there is a file already, or none can be made.
    pub fn create(path: &Path, clock: C) -> Result<Self, ObserveError> {
        Self::create_on(&Shared::default(), path, clock)
    }

    pub(super) fn create_on(store: &Shared, path: &Path, clock: C) -> Result<Self, ObserveError> {
        let mut events = Self { file: AppendFile::create(store, path)?, clock };
        events.write_version()?;
        Ok(events)
    }

    /// Opens the file of an interrupted run and cuts it to `length` bytes.
    ///
    /// # Errors
    ///
    /// When the file is shorter or cannot be opened.
    pub fn open_at(path: &Path, length: u64, clock: C) -> Result<Self, ObserveError> {
        Self::open_on(&Shared::default(), path, length, clock)
    }

    pub(super) fn open_on(
        store: &Shared,
        path: &Path,
        length: u64,
        clock: C,
    ) -> Result<Self, ObserveError> {
        let mut events =
            Self { file: AppendFile::open_at(store, path, length, Cut::Frame)?, clock };
        if length == 0 {
            events.write_version()?;
        }
        Ok(events)
    }

    /// Length of the file in bytes.
    #[must_use]
    pub fn position(&self) -> u64 {
        self.file.length()
    }

    fn write_version(&mut self) -> Result<(), ObserveError> {
        let mut event = Vec::new();
        put_double(&mut event, 1, self.clock.seconds());
        put_bytes(&mut event, 3, b"brain.Event:2");
        self.file.append(&frame(&event))
    }
}

impl<C: Clock> Observe for TfEvents<C> {
    fn record(&mut self, row: &Row) -> Result<(), ObserveError> {
        let mut summary = Vec::new();
        for (name, value) in &row.scalars {
            if let Some(value) = value {
                let mut scalar = Vec::new();
                put_bytes(&mut scalar, 1, name.as_bytes());
                put_float(&mut scalar, 2, *value as f32);
                put_bytes(&mut summary, 1, &scalar);
            }
        }
        let mut event = Vec::new();
        put_double(&mut event, 1, self.clock.seconds());
        put_integer(&mut event, 2, row.step);
        put_bytes(&mut event, 5, &summary);
        self.file.append(&frame(&event))
    }

    fn sync(&mut self) -> Result<Vec<Position>, ObserveError> {
        Ok(vec![self.file.sync()?])
    }

    fn finish(&mut self) -> Result<(), ObserveError> {
        self.file.sync().map(drop)
    }
}

/// CRC32C, rotated and offset so that a checksum over data with checksums inside stays good.
pub(super) fn masked_crc32c(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes).rotate_right(15).wrapping_add(0xa282_ead8)
}

fn frame(record: &[u8]) -> Vec<u8> {
    let length = (record.len() as u64).to_le_bytes();
    let mut frame = Vec::with_capacity(record.len() + 16);
    frame.extend_from_slice(&length);
    frame.extend_from_slice(&masked_crc32c(&length).to_le_bytes());
    frame.extend_from_slice(record);
    frame.extend_from_slice(&masked_crc32c(record).to_le_bytes());
    frame
}

/// Wire types of protocol buffers.
const VARINT: u64 = 0;
const FIXED_64: u64 = 1;
const LENGTH_DELIMITED: u64 = 2;
const FIXED_32: u64 = 5;

fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push((value & 0x7f) as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

fn put_key(out: &mut Vec<u8>, field: u64, wire_type: u64) {
    put_varint(out, field << 3 | wire_type);
}

fn put_integer(out: &mut Vec<u8>, field: u64, value: u64) {
    put_key(out, field, VARINT);
    put_varint(out, value);
}

fn put_double(out: &mut Vec<u8>, field: u64, value: f64) {
    put_key(out, field, FIXED_64);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_float(out: &mut Vec<u8>, field: u64, value: f32) {
    put_key(out, field, FIXED_32);
    out.extend_from_slice(&value.to_le_bytes());
}

fn put_bytes(out: &mut Vec<u8>, field: u64, bytes: &[u8]) {
    put_key(out, field, LENGTH_DELIMITED);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}
