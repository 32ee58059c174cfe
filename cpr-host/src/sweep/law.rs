//! Random values of swept keys.

use toml::Value;

use crate::random::Random;

/// Significant digits of a drawn number: a name of a run shows all of them.
const DIGITS: i32 = 4;

/// How a number becomes a value.
#[derive(Clone, Debug, PartialEq)]
pub enum Form {
    /// As it is.
    Number,
    /// In place of the `{}` of a text: `dependent={}`.
    Text(String),
}

/// The law that values are drawn from.
#[derive(Clone, Debug, PartialEq)]
pub enum Law {
    /// Uniform in [low, high], to four digits.
    Linear {
        /// The low end.
        low: f64,
        /// The high end.
        high: f64,
        /// How it is written.
        form: Form,
    },
    /// Its logarithm uniform, to four digits.
    Log {
        /// The low end, above 0.
        low: f64,
        /// The high end.
        high: f64,
        /// How it is written.
        form: Form,
    },
    /// Every whole number from low to high equally likely.
    Integer {
        /// The low end.
        low: i64,
        /// The high end.
        high: i64,
        /// How it is written.
        form: Form,
    },
    /// Each of these equally likely.
    Choice(Vec<Value>),
}

impl Law {
    /// One value; takes one number of the stream, whatever the law.
    pub(super) fn draw(&self, random: &mut Random) -> Value {
        let u = random.uniform();
        match self {
            Self::Linear { low, high, form } => {
                form.value(Value::Float(rounded(low + u * (high - low)).clamp(*low, *high)))
            }
            Self::Log { low, high, form } => {
                let (from, to) = (libm::log(*low), libm::log(*high));
                form.value(Value::Float(
                    rounded(libm::exp(from + u * (to - from))).clamp(*low, *high),
                ))
            }
            Self::Integer { low, high, form } => {
                let count = (high - low + 1) as f64;
                let whole = low + (u * count).floor() as i64;
                form.value(Value::Integer(whole.min(*high)))
            }
            Self::Choice(values) => {
                let index = (u * values.len() as f64).floor() as usize;
                values[index.min(values.len() - 1)].clone()
            }
        }
    }
}

impl Form {
    fn value(&self, number: Value) -> Value {
        match self {
            Self::Number => number,
            Self::Text(form) => {
                // As in Rust, a float that is whole is written without its `.0`.
                let text = match number {
                    Value::Float(number) => number.to_string(),
                    other => other.to_string(),
                };
                Value::String(form.replacen("{}", &text, 1))
            }
        }
    }
}

/// To four significant digits, by way of the decimal form, which is the same everywhere.
fn rounded(value: f64) -> f64 {
    let decimals = usize::try_from(DIGITS - 1).unwrap_or(0);
    format!("{value:.decimals$e}").parse().unwrap_or(value)
}
