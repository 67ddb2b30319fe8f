//! Takes one sample from one metric provider; judging is the engine's.
//!
//! Start with [`MetricProvider`] and [`providers()`]. A provider asks once and answers once: counts, limits, conditions,
//! retries and timestamps belong to the engine. Every request has a total time limit, a limit of the body's size, follows no
//! redirect to another origin, and reuses the connections of the clients in [`Deps`].

mod http;
mod provider;
mod providers;
pub mod registry;
mod sample;

pub use http::{Clients, Deps};
pub use provider::{BoxFuture, MetricProvider, Query};
pub use registry::{Provided, find, providers};
pub use sample::{Sample, SampleError, SampleErrorKind};
