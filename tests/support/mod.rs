//! What several tests need.

pub mod issuer;
pub mod keys;
pub mod log;
pub mod merkle;
pub mod postgres;
pub mod service;
