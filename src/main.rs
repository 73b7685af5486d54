//! Starts, and nothing else.

fn main() {}
