//! A part of a sweep, for job arrays.

use std::{fmt, str::FromStr};

/// Part `index` of `count`, from 1: every `count`-th run, so that the parts of a grid are about equally long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shard {
    index: usize,
    count: usize,
}

impl Shard {
    /// Whether the run at this place of the plan, from 0, belongs to the part.
    #[must_use]
    pub fn has(self, place: usize) -> bool {
        place % self.count == self.index - 1
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.index, self.count)
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts = text.split_once('/').and_then(|(index, count)| {
            Some((index.parse::<usize>().ok()?, count.parse::<usize>().ok()?))
        });
        match parts {
            Some((index, count)) if (1..=count).contains(&index) => Ok(Self { index, count }),
            Some((0, count)) if count > 0 => {
                Err(format!("expected I/N, I from 1: the first part is 1/{count}"))
            }
            _ => Err("expected I/N, part I of N, such as 1/8".to_owned()),
        }
    }
}
