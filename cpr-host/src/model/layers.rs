//! Layers as pairs of functions over slices, forward and backward.
//!
//! Activations are row-major, one row for each example. A backward function adds nothing of its
//! own: whether it overwrites or accumulates is said at each.

pub mod attention;
pub mod cross_entropy;
pub mod dropout;
pub mod exp;
pub mod gelu;
pub mod layer_norm;
pub mod linear;
pub mod relu;
pub mod softmax;
pub mod vector;
pub mod wide;
