//! The command line.

pub mod fake_ci;
