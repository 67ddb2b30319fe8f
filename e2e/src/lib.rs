//! The bed (real control plane, istiod, Envoy, Prometheus, git) and black-box promises on it.
//!
//! Everything runs as plain processes in network, mount and pid namespaces of its own
//! ([`inside::enter`]), so that two beds stand side by side with equal addresses and nothing
//! outside is touched; when the first process of the pid namespace ends, the kernel ends the rest.
//!
//! Order of reading: [`bed::Bed`] (what is started, in which order), [`bed::kubelet`] (how a Pod
//! becomes a process), [`given`] (how tests speak about it), [`harness`] (how they are run).

pub mod bed;
pub mod demo;
pub mod doctor;
pub mod given;
pub mod harness;
pub mod inside;
pub mod laws;
pub mod load;
pub mod oracle;
pub mod recorder;
pub mod shapes;
pub mod stage;
