//! Constrained Parameter Regularization for Candle.
