//! Networks over the layers of [`nn`](crate::nn), with the parameter names of their usual checkpoints.
//!
//! They know nothing of optimizers: a [`Store`] holds their parameters by name, and any optimizer of this crate takes
//! [`Store::named`].

pub mod gpt2;
pub mod resnet;
mod store;

pub use gpt2::{Gpt2, Gpt2Config};
pub use resnet::{Depth, ResNet, ResNetConfig};
pub use store::Store;

#[cfg(test)]
mod tests;
