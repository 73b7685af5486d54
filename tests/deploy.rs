//! What is shipped for running the service is tried with the programs that will read it: systemd, nginx, Docker's, Helm's
//! and Prometheus' own.

mod alerts;
mod chart;
mod containers;
mod nginx;
mod program;
mod python;
mod unit;
