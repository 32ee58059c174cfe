//! Where an experiment runs: the value of `--device`.

use std::{fmt, str::FromStr};

use candle_core::Device;
use cpr_host::config::{ConfigError, FormError};
use serde::{Deserialize, Serialize};

/// A device as the command line names it: `cpu`, `cuda` (the first one) or `cuda:N`.
///
/// ```
/// use cpr_gpu::device::DeviceChoice;
/// assert_eq!("cuda:1".parse(), Ok(DeviceChoice::Cuda(1)));
/// assert_eq!("cuda".parse(), Ok(DeviceChoice::Cuda(0)));
/// assert!("gpu".parse::<DeviceChoice>().is_err());
/// assert!(DeviceChoice::Cpu.open()?.is_cpu());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub enum DeviceChoice {
    /// The processor.
    #[default]
    Cpu,
    /// The CUDA device of this index, counted from 0 as `nvidia-smi` does.
    Cuda(usize),
}

/// A device that there is not.
#[derive(Debug, thiserror::Error)]
#[error(
    "there is no {device} to be used ({source}): `nvidia-smi -L` lists what there is, from 0; take one of those, or \
     `--device cpu`"
)]
pub struct DeviceError {
    /// What was asked for.
    device: DeviceChoice,
    /// Why.
    source: candle_core::Error,
}

impl DeviceChoice {
    /// Whether this build can use such a device.
    #[must_use]
    pub const fn is_compiled_in(self) -> bool {
        matches!(self, Self::Cpu) || cfg!(feature = "cuda")
    }

    /// Refuses a device that this build cannot use, as the value of the key `device`.
    ///
    /// # Errors
    /// [`ConfigError::Value`] says how to build for it.
    pub fn check(self) -> Result<(), ConfigError> {
        if self.is_compiled_in() {
            return Ok(());
        }
        let expected = "it must be cpu, for this program was built without CUDA; build it with \
                        `cargo build --release -p cpr-gpu --features cuda`, where docs/CUDA.md says what that takes";
        Err(ConfigError::refused("device", self, expected))
    }

    /// Opens it.
    ///
    /// # Errors
    /// [`DeviceError`]: a build without CUDA, no driver, or no device of that index.
    pub fn open(self) -> Result<Device, DeviceError> {
        match self {
            Self::Cpu => Ok(Device::Cpu),
            Self::Cuda(index) => {
                Device::new_cuda(index).map_err(|source| DeviceError { device: self, source })
            }
        }
    }
}

impl FromStr for DeviceChoice {
    type Err = FormError;

    fn from_str(text: &str) -> Result<Self, FormError> {
        let refused = FormError { allowed: "cpu, cuda or cuda:N" };
        match text {
            "cpu" => Ok(Self::Cpu),
            "cuda" => Ok(Self::Cuda(0)),
            text => {
                let index = text.strip_prefix("cuda:").and_then(|index| index.parse().ok());
                index.map(Self::Cuda).ok_or(refused)
            }
        }
    }
}

impl fmt::Display for DeviceChoice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Cpu => f.pad("cpu"),
            Self::Cuda(index) => f.pad(&format!("cuda:{index}")),
        }
    }
}

impl From<DeviceChoice> for String {
    fn from(device: DeviceChoice) -> Self {
        device.to_string()
    }
}

impl TryFrom<String> for DeviceChoice {
    type Error = FormError;

    fn try_from(text: String) -> Result<Self, FormError> {
        text.parse()
    }
}
