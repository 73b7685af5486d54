//! What several tests need.

pub mod service;
