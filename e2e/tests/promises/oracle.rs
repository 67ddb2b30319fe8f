//! A server with Prometheus' API that answers what the test says, and notes when.

pub(crate) use sluice_e2e::oracle::Oracle;
