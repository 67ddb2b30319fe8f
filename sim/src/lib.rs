//! A cluster in a value: API-server semantics, fake pods, fake metrics, a clock, faults; also served over HTTP.
//!
//! Start with [`api_server::ApiServer`], the server without any IO, and [`world::World`], which adds the controllers of a
//! cluster and virtual time. [`service::SimService`] is the same server as a `tower::Service`, so that the real controller
//! runs against it in process; [`serve`] puts it on a loopback port for kubectl.

pub mod api_server;
pub mod clock;
pub mod explore;
pub mod faults;
pub mod observe;
pub mod scenario;
#[cfg(debug_assertions)]
pub mod seeds;
pub mod serve;
pub mod service;
pub mod simulate;
pub mod solo;
pub mod workloads;
pub mod world;

#[cfg(test)]
mod hostile;
