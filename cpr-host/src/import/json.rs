//! Tensors as nested lists.

use std::collections::BTreeMap;
use std::fmt;

use cpr_core::Real as _;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::Values;

/// Deepest nesting of lists: dimensions of a tensor.
const DEEPEST: usize = 16;

/// An object of numbers, truth values and nested lists of numbers, each name once.
pub(super) fn read(bytes: &[u8]) -> Result<BTreeMap<String, Values>, serde_json::Error> {
    let mut source = serde_json::Deserializer::from_slice(bytes);
    let tensors = source.deserialize_map(File)?;
    source.end()?;
    Ok(tensors)
}

struct File;

impl<'de> Visitor<'de> for File {
    type Value = BTreeMap<String, Values>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object with an entry for each tensor")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        let mut tensors = BTreeMap::new();
        while let Some(name) = map.next_key::<String>()? {
            let mut tensor = Values { shape: Vec::new(), values: Vec::new() };
            let mut known = 0;
            map.next_value_seed(List { tensor: &mut tensor, known: &mut known, depth: 0 })?;
            if tensors.contains_key(&name) {
                return Err(A::Error::custom(format!("`{name}` stands twice")));
            }
            tensors.insert(name, tensor);
        }
        Ok(tensors)
    }
}

/// One list or number at `depth`; the first of each depth says how long all of them are.
struct List<'a> {
    tensor: &'a mut Values,
    /// Dimensions whose length is known.
    known: &'a mut usize,
    depth: usize,
}

impl List<'_> {
    fn number<E: Error>(self, value: f64) -> Result<(), E> {
        if self.depth != self.tensor.shape.len() {
            return Err(E::custom("a number stands where the first entry has a list"));
        }
        self.tensor.values.push(f32::from_f64(value));
        Ok(())
    }
}

impl<'de> DeserializeSeed<'de> for List<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, source: D) -> Result<(), D::Error> {
        source.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for List<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or nested lists of numbers")
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.number(f64::from(u8::from(value)))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        self.number(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        // An integer above 2⁵³ is no weight of single precision anyhow.
        self.number(value as f64)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.number(value as f64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { tensor, known, depth } = self;
        if depth == DEEPEST {
            return Err(A::Error::custom(format!("lists are nested deeper than {DEEPEST}")));
        }
        if depth == tensor.shape.len() {
            if !tensor.values.is_empty() || *known > 0 {
                return Err(A::Error::custom("a list stands where the first entry has a number"));
            }
            tensor.shape.push(0);
        }
        let mut length = 0;
        while list
            .next_element_seed(List { tensor: &mut *tensor, known: &mut *known, depth: depth + 1 })?
            .is_some()
        {
            length += 1;
        }
        // The deepest list ends first: from there on its length, and then that of those around it, is settled.
        if tensor.shape.len() - *known == depth + 1 {
            tensor.shape[depth] = length;
            *known += 1;
        } else if tensor.shape[depth] != length {
            let first = tensor.shape[depth];
            return Err(A::Error::custom(format!(
                "a list of {length} stands beside one of {first}"
            )));
        }
        Ok(())
    }
}
