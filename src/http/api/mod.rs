//! `/api/v1/…`: what programs ask about.

mod audit;

pub(super) use audit::routes;
