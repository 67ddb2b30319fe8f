//! Which Services are the two destinations of a canary: `canaryService` and `stableService`, or the pair of `pingPong`, which
//! swap roles at each promotion (`spec-rollouts` 3.6).

use sluice_crds::rollout::strategy::CanaryStrategy;
use sluice_crds::rollout::{RolloutRecord, RolloutStatus};

/// Services by role.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Services<'a> {
    pub(crate) canary: Option<&'a str>,
    pub(crate) stable: Option<&'a str>,
}

/// Returns the Services in their present roles.
pub(crate) fn services<'a>(rollout: &RolloutRecord, canary: &'a CanaryStrategy) -> Services<'a> {
    let set = |name: &'a Option<String>| name.as_deref().filter(|name| !name.is_empty());
    let named =
        Services { canary: set(&canary.canary_service), stable: set(&canary.stable_service) };
    match &canary.ping_pong {
        // Validation refuses both; routes that name Services by role are then meant, as in Argo.
        Some(pair) if named == Services::default() => {
            let (ping, pong) = (pair.ping_service.as_str(), pair.pong_service.as_str());
            let (canary, stable) = if is_ping(&rollout.status) && !seeded!(RolesForgotten) {
                (pong, ping)
            } else {
                (ping, pong)
            };
            Services { canary: Some(canary), stable: Some(stable) }
        }
        Some(_) | None => named,
    }
}

/// Whether ping is the stable Service; before the first promotion pong is.
fn is_ping(status: &RolloutStatus) -> bool {
    status.canary.as_ref().and_then(|canary| canary.stable_ping_pong.as_deref()) == Some("ping")
}

/// Returns `status.canary.stablePingPong` after a promotion; `None` without `pingPong`.
pub(crate) fn after_promotion(status: &RolloutStatus, canary: &CanaryStrategy) -> Option<String> {
    canary.ping_pong.as_ref()?;
    Some(if is_ping(status) { "pong" } else { "ping" }.to_owned())
}

/// Returns the Services that the strategy names, each with its field.
pub(crate) fn named(canary: &CanaryStrategy) -> impl Iterator<Item = (&'static str, &str)> {
    let pair = canary.ping_pong.as_ref();
    [
        ("canaryService", canary.canary_service.as_deref()),
        ("stableService", canary.stable_service.as_deref()),
        ("pingPong.pingService", pair.map(|pair| pair.ping_service.as_str())),
        ("pingPong.pongService", pair.map(|pair| pair.pong_service.as_str())),
    ]
    .into_iter()
    .filter_map(|(field, name)| Some((field, name.filter(|name| !name.is_empty())?)))
}
