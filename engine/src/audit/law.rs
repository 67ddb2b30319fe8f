//! What the laws are stated in: need, weight of a revision, what a destination resolves to (`reliability` 3.1).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;
use sluice_crds::labels::POD_TEMPLATE_HASH;
use sluice_crds::rollout::strategy::{BlueGreenStrategy, CanaryStrategy};
use sluice_crds::rollout::traffic_routing::IstioVirtualService;
use sluice_crds::rollout::{CanaryStep, RolloutRecord, RolloutSpec, RolloutStatus};

/// A revision that a destination reaches; `None` if it does not tell revisions apart.
pub(super) type Reached = Option<String>;

/// Shares of one managed route: of the canary destination and of the stable one, and the sum of all destinations.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct RouteShares {
    pub(super) canary: i64,
    pub(super) stable: i64,
    pub(super) total: i64,
    /// Whether every share is in 0..=100.
    pub(super) in_range: bool,
}

/// What routes a Rollout's traffic.
#[derive(Clone, Copy)]
pub(super) struct Routing<'a> {
    rollout: &'a RolloutRecord,
    canary: &'a CanaryStrategy,
}

impl<'a> Routing<'a> {
    /// Returns the routing of a canary through Istio; `None` for anything else.
    pub(super) fn of(rollout: &'a RolloutRecord) -> Option<Self> {
        let canary = rollout.spec.strategy.canary.as_deref()?;
        canary.traffic_routing.as_ref()?.istio.as_ref()?;
        Some(Self { rollout, canary })
    }

    /// Names of VirtualServices, without a namespace that may follow.
    pub(super) fn virtual_services(&self) -> Vec<&'a str> {
        let istio = self.canary.traffic_routing.as_ref().and_then(|r| r.istio.as_ref());
        istio
            .into_iter()
            .flat_map(|istio| {
                istio.virtual_service.iter().chain(istio.virtual_services.iter().flatten())
            })
            .map(|vs| vs.name.split('.').next().unwrap_or_default())
            .collect()
    }

    /// Name of the DestinationRule and its two subsets.
    pub(super) fn rule(&self) -> Option<(&'a str, &'a str, &'a str)> {
        let istio = self.canary.traffic_routing.as_ref().and_then(|r| r.istio.as_ref())?;
        let rule = istio.destination_rule.as_ref()?;
        let canary = rule.canary_subset_name.as_deref().unwrap_or("canary");
        Some((&rule.name, canary, rule.stable_subset_name.as_deref().unwrap_or("stable")))
    }

    /// Names of the canary and stable Services, in their present roles.
    pub(super) fn services(&self) -> (Option<&'a str>, Option<&'a str>) {
        let set = |name: &'a Option<String>| name.as_deref().filter(|name| !name.is_empty());
        let named = (set(&self.canary.canary_service), set(&self.canary.stable_service));
        let Some(pair) = self.canary.ping_pong.as_ref().filter(|_| named == (None, None)) else {
            return named;
        };
        let status = self.rollout.status.canary.as_ref();
        let stable = status.and_then(|canary| canary.stable_ping_pong.as_deref());
        let (ping, pong) = (Some(pair.ping_service.as_str()), Some(pair.pong_service.as_str()));
        if stable == Some("ping") { (pong, ping) } else { (ping, pong) }
    }

    fn configs(&self, virtual_service: &str) -> Vec<&'a IstioVirtualService> {
        let istio = self.canary.traffic_routing.as_ref().and_then(|r| r.istio.as_ref());
        let all = istio.into_iter().flat_map(|istio| istio.all_virtual_services());
        all.filter(|vs| vs.name.split('.').next() == Some(virtual_service)).collect()
    }

    /// Names of the routes that are managed in a VirtualService; `None` where none is named and the only one is meant.
    pub(super) fn names(&self, virtual_service: &str) -> Option<BTreeSet<&'a str>> {
        let here = self.configs(virtual_service).into_iter();
        let names: BTreeSet<&str> =
            here.flat_map(|vs| vs.routes.iter().flatten()).map(String::as_str).collect();
        (!names.is_empty()).then_some(names)
    }

    /// Names of HTTP routes that are the engine's as a whole: of steps, and those that it made (`made`).
    pub(super) fn own(&self, made: &BTreeSet<String>) -> BTreeSet<String> {
        let mut names = made.clone();
        for step in self.canary.steps.iter().flatten() {
            names.extend(step.set_header_route.iter().map(|route| route.name.clone()));
            names.extend(step.set_mirror_route.iter().map(|route| route.name.clone()));
        }
        names
    }

    /// Returns the shares of every managed route of the VirtualService that has a destination for the canary, and of every
    /// mirroring one: such a route splits by weight as well.
    pub(super) fn shares(
        &self,
        virtual_service: &str,
        spec: &Value,
        own: &BTreeSet<String>,
    ) -> Vec<RouteShares> {
        let names = self.names(virtual_service);
        let routing = self.canary.traffic_routing.as_ref();
        let listed: BTreeSet<&str> = routing
            .iter()
            .flat_map(|routing| routing.managed_routes.iter().flatten())
            .map(|route| route.name.as_str())
            .collect();
        let managed = |route: &&Value| {
            let name = route.get("name").and_then(Value::as_str).unwrap_or_default();
            if own.contains(name) || listed.contains(name) {
                let named = names.as_ref().is_some_and(|names| names.contains(name));
                return named || route.get("mirror").is_some();
            }
            names.as_ref().is_none_or(|names| names.contains(name))
        };
        let list =
            |section: &str| spec.get(section).and_then(Value::as_array).into_iter().flatten();
        let configs = self.configs(virtual_service);
        let ports = |tls: bool| -> BTreeSet<i64> {
            let of = |config: &&IstioVirtualService| -> Vec<Option<i64>> {
                match tls {
                    true => config.tls_routes.iter().flatten().map(|route| route.port).collect(),
                    false => config.tcp_routes.iter().flatten().map(|route| route.port).collect(),
                }
            };
            configs.iter().flat_map(of).flatten().collect()
        };
        let by_port = |route: &&Value, ports: &BTreeSet<i64>| {
            let blocks = route.get("match").and_then(Value::as_array).into_iter().flatten();
            let mut found = blocks.filter_map(|block| block.get("port")?.as_i64());
            ports.is_empty() || found.any(|port| ports.contains(&port))
        };
        let (tls, tcp) = (ports(true), ports(false));
        list("http")
            .filter(managed)
            .chain(list("tls").filter(|route| by_port(route, &tls)))
            .chain(list("tcp").filter(|route| by_port(route, &tcp)))
            .filter_map(|route| self.route(route))
            .collect()
    }

    /// Whether a route of the engine's leads requests, or copies of them, to the canary's destination.
    pub(super) fn is_exposed(&self, spec: &Value, own: &BTreeSet<String>) -> bool {
        let to_canary = |route: &Value| {
            let destinations = route.get("route").and_then(Value::as_array).into_iter().flatten();
            let mut all = destinations
                .filter_map(|destination| destination.get("destination"))
                .chain(route.get("mirror"));
            all.any(|destination| self.side(destination) == Some(true))
        };
        let routes = spec.get("http").and_then(Value::as_array).into_iter().flatten();
        routes
            .filter(|r| r.get("name").and_then(Value::as_str).is_some_and(|n| own.contains(n)))
            .any(to_canary)
    }

    fn route(&self, route: &Value) -> Option<RouteShares> {
        let destinations = route.get("route").and_then(Value::as_array)?;
        let mut shares = RouteShares { in_range: true, ..RouteShares::default() };
        let mut found = false;
        for destination in destinations {
            let only = if destinations.len() == 1 { 100 } else { 0 };
            let weight = destination.get("weight").and_then(Value::as_i64).unwrap_or(only);
            shares.total += weight;
            shares.in_range &= (0..=100).contains(&weight);
            match self.side(destination.get("destination")?) {
                Some(true) => {
                    shares.canary += weight;
                    found = true;
                }
                Some(false) => shares.stable += weight,
                None => {}
            }
        }
        found.then_some(shares)
    }

    /// Whether a destination is the canary's (true) or the stable one's (false).
    fn side(&self, destination: &Value) -> Option<bool> {
        if let Some((_, canary, stable)) = self.rule() {
            let subset = destination.get("subset").and_then(Value::as_str)?;
            return if subset == canary { Some(true) } else { (subset == stable).then_some(false) };
        }
        let host = destination.get("host").and_then(Value::as_str)?.split('.').next()?;
        let (canary, stable) = self.services();
        if Some(host) == canary { Some(true) } else { (Some(host) == stable).then_some(false) }
    }

    /// Returns what the two destinations reach, given the selectors of Services by name and the spec of the rule.
    pub(super) fn reached(
        &self,
        selected: impl Fn(&str) -> Reached,
        rule: Option<&Value>,
    ) -> (Reached, Reached) {
        if let Some((_, canary, stable)) = self.rule() {
            let of = |name: &str| {
                let subsets = rule?.get("subsets")?.as_array()?;
                let subset =
                    subsets.iter().find(|s| s.get("name").and_then(Value::as_str) == Some(name))?;
                subset.get("labels")?.get(POD_TEMPLATE_HASH)?.as_str().map(str::to_owned)
            };
            return (of(canary), of(stable));
        }
        let (canary, stable) = self.services();
        (canary.and_then(&selected), stable.and_then(&selected))
    }
}

/// The Services of a blue-green Rollout.
#[derive(Clone, Copy)]
pub(super) struct Lanes<'a> {
    pub(super) strategy: &'a BlueGreenStrategy,
    /// Service of all users.
    pub(super) active: &'a str,
    /// Service of those who look first.
    pub(super) preview: Option<&'a str>,
}

impl<'a> Lanes<'a> {
    /// Returns the Services; `None` for a canary.
    pub(super) fn of(spec: &'a RolloutSpec) -> Option<Self> {
        let strategy = spec.strategy.blue_green.as_deref()?;
        let active = strategy.active_service.as_deref().filter(|name| !name.is_empty())?;
        let preview = strategy.preview_service.as_deref().filter(|name| !name.is_empty());
        Some(Self { strategy, active, preview })
    }

    /// The shares of the only route there is: the active Service has all, whatever it selects.
    pub(super) fn shares() -> RouteShares {
        RouteShares { canary: 0, stable: 100, total: 100, in_range: true }
    }

    /// Returns how many Pods must be available at any time.
    pub(super) fn least(&self, n: u32) -> u32 {
        let missing = match &self.strategy.max_unavailable {
            Some(share) => share.scaled(n, false).unwrap_or(0),
            None => n / 4,
        };
        n.saturating_sub(missing).max(n.min(1))
    }

    /// Whether the users may go back to a set with so many available Pods from one with so many.
    pub(super) fn may_take_back(&self, n: u32, available: u32, left: u32) -> bool {
        available >= self.least(n) || (available > 0 && available >= left)
    }

    /// Whether the pause before the switch, as the status has it, is over at the instant; else why not.
    pub(super) fn pause_is_over(
        &self,
        status: &RolloutStatus,
        now: DateTime<Utc>,
    ) -> Result<(), &'static str> {
        let by_itself = self.strategy.auto_promotion_enabled != Some(false);
        let seconds = i64::from(self.strategy.auto_promotion_seconds.unwrap_or(0));
        let own = status.blue_green.as_ref();
        if own.and_then(|own| own.scale_up_preview_check_point) == Some(true)
            || (by_itself && seconds <= 0)
        {
            return Ok(());
        }
        let conditions = status.pause_conditions.iter().flatten();
        let paused = conditions.clone().find(|c| c.reason == "BlueGreenPause");
        match paused.map(|condition| now - condition.start_time.at()) {
            Some(waited) if by_itself && waited >= Duration::seconds(seconds) => Ok(()),
            Some(_) => Err("before the pause is over"),
            None if status.controller_pause == Some(true) => Ok(()),
            None => Err("without the pause that was asked for"),
        }
    }
}

/// Returns W(h): the greatest share of any route that reaches each revision.
pub(super) fn weights(
    shares: &[RouteShares],
    canary: &Reached,
    stable: &Reached,
) -> BTreeMap<String, u32> {
    let mut all: BTreeMap<String, u32> = BTreeMap::new();
    for route in shares {
        let mut here: BTreeMap<&str, i64> = BTreeMap::new();
        for (hash, weight) in [(canary, route.canary), (stable, route.stable)] {
            if let Some(hash) = hash {
                *here.entry(hash).or_default() += weight;
            }
        }
        for (hash, weight) in here {
            let weight = u32::try_from(weight.max(0)).unwrap_or(u32::MAX);
            let most = all.entry(hash.to_owned()).or_default();
            *most = weight.max(*most);
        }
    }
    all
}

/// Returns a VirtualService's spec without what the engine may write: weights, its own routes, destinations that it added.
pub(super) fn foreign_part(
    spec: &Value,
    own: &BTreeSet<String>,
    added: &BTreeSet<String>,
) -> Value {
    let mut spec = spec.clone();
    for section in ["http", "tls", "tcp"] {
        let Some(Value::Array(routes)) = spec.get_mut(section) else { continue };
        routes.retain(|route| {
            section != "http" || route["name"].as_str().is_none_or(|name| !own.contains(name))
        });
        for route in routes {
            let Some(Value::Array(destinations)) = route.get_mut("route") else { continue };
            destinations.retain(|to| {
                let host = to["destination"]["host"].as_str().unwrap_or_default();
                !added.contains(host.split('.').next().unwrap_or_default())
            });
            for fields in destinations.iter_mut().filter_map(Value::as_object_mut) {
                fields.remove("weight");
            }
        }
    }
    spec
}

/// Returns N.
pub(super) fn replicas(spec: &RolloutSpec) -> u32 {
    u32::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0)
}

/// Returns need(h, w): the size that `setCanaryScale` declares for the candidate, else `ceil(N * w / 100)` and at least 1.
pub(super) fn need(spec: &RolloutSpec, status: &RolloutStatus, hash: &str, weight: u32) -> u32 {
    let n = replicas(spec);
    if n == 0 || weight == 0 {
        return 0;
    }
    let candidate = status.stable_rs.as_deref() != Some(hash);
    let declared = candidate.then(|| declared_size(spec, status, n)).flatten();
    declared.unwrap_or_else(|| part(n, weight)).max(1)
}

/// Returns the current step, 0 to their number. Anybody who may promote may write any number: the engine takes one below 0 for the
/// first step and one beyond the last for the end, and so do the laws.
pub(super) fn step_index(status: &RolloutStatus, steps: &[CanaryStep]) -> usize {
    usize::try_from(status.current_step_index.unwrap_or(0)).unwrap_or(0).min(steps.len())
}

fn part(n: u32, percent: u32) -> u32 {
    let whole = u64::from(n) * u64::from(percent);
    u32::try_from(whole / 100 + u64::from(whole % 100 != 0)).unwrap_or(u32::MAX)
}

fn declared_size(spec: &RolloutSpec, status: &RolloutStatus, n: u32) -> Option<u32> {
    let steps = spec.strategy.canary.as_deref()?.steps.as_deref()?;
    let index = step_index(status, steps);
    if index >= steps.len() || status.promote_full == Some(true) {
        return None;
    }
    let mut size = None;
    for step in steps.iter().take(index + 1) {
        if let Some(scale) = &step.set_canary_scale {
            let number = |value: i32| u32::try_from(value).unwrap_or(0);
            size = match (scale.match_traffic_weight, scale.replicas, scale.weight) {
                (Some(true), _, _) => None,
                (_, Some(replicas), _) => Some(number(replicas)),
                (_, None, Some(weight)) => Some(part(n, number(weight))),
                (_, None, None) => None,
            };
        }
    }
    size
}

/// Returns how many Pods must be available where `wanted` are needed: all, or the declared share of them.
pub(super) fn least_available(spec: &RolloutSpec, wanted: u32) -> u32 {
    let threshold = spec
        .strategy
        .canary
        .as_deref()
        .and_then(|canary| canary.replica_progress_threshold.as_ref());
    let Some(threshold) = threshold else { return wanted };
    let value = u32::try_from(threshold.value).unwrap_or(0);
    let declared = match threshold.kind.as_str() {
        "Percent" => part(wanted, value),
        "Pods" => value,
        _ => wanted,
    };
    if wanted == 0 { 0 } else { declared.clamp(1, wanted) }
}
