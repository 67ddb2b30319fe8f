//! The bed: what is started, in which order, and how to reach it.

pub mod apply;
pub mod control_plane;
pub mod http;
pub mod identity;
pub mod kubelet;
pub mod network;
pub mod parts;
pub mod ports;
pub mod process;
pub mod relay;
