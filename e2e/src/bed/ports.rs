//! Every port of the bed, on the loopback of its own network namespace.

pub const APISERVER: u16 = 6443;
pub const ETCD: u16 = 2379;
pub const ETCD_PEER: u16 = 2380;
pub const CONTROLLER_MANAGER: u16 = 10257;
pub const SCHEDULER: u16 = 10259;
pub const ENVOY_ADMIN: u16 = 15000;
pub const ISTIOD_XDS: u16 = 15010;
pub const ISTIOD_MONITORING: u16 = 15014;
pub const ISTIOD_WEBHOOK: u16 = 15017;
pub const ISTIOD_HTTP: u16 = 15080;
/// Where `Gateway` objects of tests and demo let Envoy listen.
pub const GATEWAY: u16 = 8080;
pub const PROMETHEUS: u16 = 9090;
pub const GIT: u16 = 3000;
/// Metrics and health of our controller.
pub const CONTROLLER: u16 = 8090;
