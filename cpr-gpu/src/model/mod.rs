//! Networks over the layers of [`nn`](crate::nn), with the parameter names of their usual checkpoints.
//!
//! They know nothing of optimizers: a [`Store`] holds their parameters by name, and any optimizer of this crate takes
//! [`Store::named`].

mod declared;
pub mod gpt2;
mod lora;
pub mod resnet;
mod store;

pub use declared::{Declared, declared, layout, over, start};
pub use gpt2::{Gpt2, Gpt2Config};
pub use lora::Lora;
pub use resnet::{Depth, ResNet, ResNetConfig};
pub use store::Store;

#[cfg(test)]
mod tests;
