//! The table of traffic routers.

use sluice_crds::rollout::TrafficRouting;

use super::{TrafficRouter, istio};

/// Every router, in alphabetical order.
pub static ROUTERS: &[&dyn TrafficRouter] = &[&istio::Istio];

/// Returns the router that the routing asks for; `None` if it asks for none that we have.
pub fn router(routing: &TrafficRouting) -> Option<&'static dyn TrafficRouter> {
    ROUTERS.iter().copied().find(|router| router.configured(routing))
}
