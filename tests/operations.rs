//! What an operator sees of the service, and TLS in it.

mod metrics;
mod tls;
mod traces;
