//! What drives the real program: an issuer that signs tokens, the program as a child, a connection to it.
//!
//! The tests include this folder too: what a kill may not lose is looked for by the same lines in both places. Either has the keys of
//! the tests' support at its root.

pub mod audited;
pub mod fleet;
pub mod hammer;
pub mod issuer;
pub mod kills;
pub mod proxy;
pub mod running;
pub mod standby;
pub mod tokens;
pub mod wire;
pub mod wires;
