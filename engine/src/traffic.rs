//! Traffic routers: pure translators from a decided split to edits of router objects.
//!
//! The split is decided once, elsewhere; a router only says how its objects express it. An edit is a JSON patch that names
//! single fields and tests what it found them by, so that nothing else in a user's object can change (S18): whole-object
//! updates and server-side apply would take over lists that belong to Git (H20).
//!
//! Adding a router is one file, one line in [`registry`] and one folder of golden cases in `tests/routers`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::Value;
use sluice_crds::object::ObjectRef;
use sluice_crds::rollout::TrafficRouting;
use sluice_crds::rollout::steps::{HeaderMatch, RouteMatch};

use crate::view::{Lookup, RouteRecord};

mod backends;
pub mod istio;
pub mod made;
pub mod registry;

/// The router objects of a view, by address.
pub type LiveRoutes = BTreeMap<ObjectRef, Lookup<Arc<RouteRecord>>>;

/// Where a share of traffic goes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Destination {
    /// Service, if the router tells destinations apart by Service.
    pub service: Option<String>,
    /// Subset, if the router tells them apart by subset.
    pub subset: Option<String>,
    /// Revision that the destination should reach; empty: none.
    pub hash: String,
    /// Share, 0..=100.
    pub weight: u32,
}

/// A destination beside canary and stable: a Service of an Experiment (`spec-rollouts` 3.11). The router adds it to every
/// weighed route, gives it its share, and takes it out once it is not wanted any more.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug, Default)]
pub struct ExtraDestination {
    /// Service in the Rollout's namespace.
    pub service: String,
    /// Revision that the Service reaches.
    pub hash: String,
    /// Share, 0..=100; taken from the stable one.
    pub weight: u32,
}

/// A route that the engine makes above the weighed ones, by the name that the step gives it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteRule {
    /// Name; listed in `managedRoutes`.
    pub name: String,
    /// What it does with the requests that it matches.
    pub kind: RuleKind,
}

/// What a made route does.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum RuleKind {
    /// Sends requests with one of these headers to the canary (`setHeaderRoute`).
    Header(Vec<HeaderMatch>),
    /// Sends a copy of such requests to the canary, and the requests themselves by weight (`setMirrorRoute`).
    Mirror {
        /// Which requests.
        matches: Vec<RouteMatch>,
        /// Share of them that is copied, 0..=100.
        percentage: u32,
    },
}

/// How traffic should be split. The weights add up to 100.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct TrafficSplit {
    /// The new version.
    pub canary: Destination,
    /// The last fully promoted version.
    pub stable: Destination,
    /// Further destinations; one that the Rollout made before and that is not listed is taken out.
    pub extra: Vec<ExtraDestination>,
    /// Routes to make; one that the Rollout made before and that is not listed is taken out.
    pub rules: Vec<RouteRule>,
}

/// What a router is asked about: one Rollout's routing.
#[derive(Clone, Copy, Debug)]
pub struct RouteScope<'a> {
    /// Name of the Rollout.
    pub rollout: &'a str,
    /// Namespace of the Rollout.
    pub namespace: &'a str,
    /// `spec.strategy.canary.trafficRouting`.
    pub routing: &'a TrafficRouting,
    /// Service of the canary.
    pub canary_service: Option<&'a str>,
    /// Service of the stable version.
    pub stable_service: Option<&'a str>,
    /// Ports of those Services, as far as they are known, by Service name.
    pub ports: &'a BTreeMap<String, Vec<u16>>,
    /// Names of routes that steps of the Rollout set or remove: such routes are ours as a whole.
    pub own_routes: &'a BTreeSet<String>,
}

/// What a router can do; what it cannot is refused at admission, never silently dropped.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Abilities {
    /// Splits by weight.
    pub weight: bool,
    /// Routes by header (`setHeaderRoute`).
    pub header: bool,
    /// Mirrors requests (`setMirrorRoute`).
    pub mirror: bool,
    /// Tells whether the data plane uses the weights.
    pub verify: bool,
}

/// The change of one object. Preconditions and the fence stamp are the caller's.
#[derive(Clone, PartialEq, Debug)]
pub struct RouteEdit {
    /// The object.
    pub object: ObjectRef,
    /// JSON patch (RFC 6902); never empty. Tests of names and hosts come before the change that relies on them. Beside `spec`
    /// it may write one annotation: the note of what was made ([`made`]).
    pub operations: Vec<Value>,
}

/// Something in a router object, or in the routing, that keeps the split from being expressed.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RouteProblem {
    /// The router object; `None` if the Rollout itself is at fault.
    pub object: Option<ObjectRef>,
    /// Field path in that object, such as `spec.http[0].route`, or in the Rollout.
    pub path: String,
    /// What was found and what is needed.
    pub message: String,
    /// What to do.
    pub hint: Option<String>,
    /// Whether the object (or its kind) is not there, or not yet: it may come by itself.
    pub missing: bool,
}

/// `VirtualService shop/web: spec.http[0].route: …`
impl std::fmt::Display for RouteProblem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let Some(object) = &self.object {
            write!(f, "{object}: ")?;
        }
        if !self.path.is_empty() {
            write!(f, "{}: ", self.path)?;
        }
        f.write_str(&self.message)
    }
}

/// What it takes to express a split.
#[derive(Clone, PartialEq, Debug, Default)]
pub struct Routed {
    /// One for each object that must change; objects that are right already have none.
    pub edits: Vec<RouteEdit>,
    /// Objects and routes that could not be edited. Weight may rise only if there are none; weight that is taken away is taken
    /// wherever it can be.
    pub problems: Vec<RouteProblem>,
}

/// The weights that a managed route has.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ObservedRoute {
    /// The object.
    pub object: ObjectRef,
    /// The route: its name, or its place such as `http[0]`.
    pub route: String,
    /// Weight of the canary.
    pub canary: u32,
    /// Weight of the stable version.
    pub stable: u32,
    /// Weights of the destinations that we added, by Service.
    pub extra: BTreeMap<String, u32>,
    /// Weight of all other destinations.
    pub other: u32,
}

/// A route that the engine made, as it is.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct MadeRoute {
    /// The object.
    pub object: ObjectRef,
    /// Name of the route.
    pub name: String,
    /// Whether it sends requests, or copies of them, to the canary's destination.
    pub to_canary: bool,
}

/// What the subsets of an object select.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Resolved {
    /// The object.
    pub object: ObjectRef,
    /// Hash that the canary's subset selects.
    pub canary: Option<String>,
    /// Hash that the stable subset selects.
    pub stable: Option<String>,
}

/// A traffic router. Every function is total: what cannot be done is a [`RouteProblem`].
pub trait TrafficRouter: Sync {
    /// Returns the name as users write it in `trafficRouting`.
    fn name(&self) -> &'static str;

    /// Returns whether the routing asks for this router.
    fn configured(&self, routing: &TrafficRouting) -> bool;

    /// Returns what it can do.
    fn abilities(&self) -> Abilities;

    /// Returns the objects that it must see.
    fn reads(&self, scope: &RouteScope<'_>) -> BTreeSet<ObjectRef>;

    /// Returns everything that is wrong with the routing or its objects, whether or not it stops an edit.
    fn check(&self, scope: &RouteScope<'_>, live: &LiveRoutes) -> Vec<RouteProblem>;

    /// Returns the edits that give all destinations their weights, and make or remove routes: one for each object, so that
    /// weight and routes go together. What destinations resolve to is not touched.
    fn weigh(&self, scope: &RouteScope<'_>, split: &TrafficSplit, live: &LiveRoutes) -> Routed;

    /// Returns the edits that make the destinations resolve to their hashes; none for a router whose destinations are
    /// Services. Weights are not touched: a switch and weight never share a plan.
    fn aim(&self, scope: &RouteScope<'_>, split: &TrafficSplit, live: &LiveRoutes) -> Routed;

    /// Returns the weights of each managed route that is well formed.
    fn observed(&self, scope: &RouteScope<'_>, live: &LiveRoutes) -> Vec<ObservedRoute>;

    /// Returns the routes that the engine made.
    fn made(&self, scope: &RouteScope<'_>, live: &LiveRoutes) -> Vec<MadeRoute>;

    /// Returns what the destinations resolve to; `None` for a router whose destinations are Services, or if the object is not
    /// there.
    fn resolves(&self, scope: &RouteScope<'_>, live: &LiveRoutes) -> Option<Resolved>;
}
