//! HTTP.

pub mod fake_ci;
