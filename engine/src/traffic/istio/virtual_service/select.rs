//! Which routes of a VirtualService are ours to weigh (`spec-rollouts` 4.1).

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_crds::rollout::traffic_routing::{IstioTcpRoute, IstioTlsRoute, IstioVirtualService};

use super::super::super::backends::Backend;
use super::super::super::{ExtraDestination, RouteProblem};
use super::destinations::{Role, backends_of};
use super::{Place, added};

/// A section of a VirtualService.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(super) enum Protocol {
    Http,
    Tls,
    Tcp,
}

impl Protocol {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Tls => "tls",
            Self::Tcp => "tcp",
        }
    }

    fn word(self) -> &'static str {
        match self {
            Self::Http => "HTTP",
            Self::Tls => "TLS",
            Self::Tcp => "TCP",
        }
    }

    /// The field of the Rollout that chooses routes of the section.
    fn selector(self) -> &'static str {
        match self {
            Self::Http => "routes",
            Self::Tls => "tlsRoutes",
            Self::Tcp => "tcpRoutes",
        }
    }
}

/// A route whose weights are ours.
pub(super) struct Route<'a> {
    pub(super) protocol: Protocol,
    pub(super) index: usize,
    pub(super) name: Option<&'a str>,
    pub(super) backends: Vec<Backend>,
}

impl<'a> Route<'a> {
    fn new(
        place: Place<'a>,
        protocol: Protocol,
        index: usize,
        extra: &BTreeSet<String>,
    ) -> Option<Self> {
        let route = place.list(protocol).get(index)?;
        let pointer = format!("/spec/{}/{index}", protocol.as_str());
        Some(Self {
            protocol,
            index,
            name: name_of(route).filter(|_| protocol == Protocol::Http),
            backends: backends_of(place, route, &pointer, extra),
        })
    }

    pub(super) fn label(&self) -> String {
        let place = || format!("{}[{}]", self.protocol.as_str(), self.index);
        self.name.map_or_else(place, str::to_owned)
    }

    /// Field path of the route.
    pub(super) fn path(&self) -> String {
        format!("spec.{}[{}]", self.protocol.as_str(), self.index)
    }

    fn pointer(&self) -> String {
        format!("/spec/{}/{}", self.protocol.as_str(), self.index)
    }

    /// The operation that tests that the route is still where it was seen.
    pub(super) fn test(&self) -> Option<Value> {
        let path = format!("{}/name", self.pointer());
        self.name.map(|name| json!({ "op": "test", "path": path, "value": name }))
    }

    /// The operation that adds a destination at the end.
    pub(super) fn append(&self, to: &ExtraDestination) -> Value {
        let path = format!("{}/route/-", self.pointer());
        json!({ "op": "add", "path": path, "value": added(&to.service, to.weight) })
    }
}

fn name_of(route: &Value) -> Option<&str> {
    route.get("name").and_then(Value::as_str)
}

/// Returns the routes whose weights are ours, and what is wrong with the choice. `extra` names Services that are to get a
/// destination of their own.
pub(super) fn managed<'a>(
    place: Place<'a>,
    config: &IstioVirtualService,
    extra: &BTreeSet<String>,
) -> (Vec<Route<'a>>, Vec<RouteProblem>) {
    let mut problems = Vec::new();
    let mut chosen = BTreeSet::new();
    let mut take = |protocol, (indices, found): (BTreeSet<usize>, Vec<RouteProblem>)| {
        chosen.extend(indices.into_iter().map(|index| (protocol, index)));
        problems.extend(found);
    };
    take(Protocol::Http, http(place, config));
    let tls = config.tls_routes.as_deref().unwrap_or_default();
    take(Protocol::Tls, by_match(place, Protocol::Tls, tls));
    let tcp = config.tcp_routes.as_deref().unwrap_or_default();
    take(Protocol::Tcp, by_match(place, Protocol::Tcp, tcp));
    if chosen.is_empty() && problems.is_empty() {
        problems.push(place.problem(
            "spec",
            "no route leads to the canary and the stable version".into(),
            "add a route with a destination for the canary and one for stable",
        ));
    }
    let routes = chosen.into_iter();
    let routes = routes.filter_map(|(protocol, index)| Route::new(place, protocol, index, extra));
    (routes.collect(), problems)
}

/// Returns the routes that the engine made.
pub(super) fn made(place: Place<'_>) -> Vec<Route<'_>> {
    let own = place.own_routes();
    let http = place.list(Protocol::Http).iter().enumerate();
    http.filter(|(_, route)| name_of(route).is_some_and(|name| own.contains(name)))
        .filter_map(|(index, _)| Route::new(place, Protocol::Http, index, &BTreeSet::new()))
        .collect()
}

fn http(place: Place<'_>, config: &IstioVirtualService) -> (BTreeSet<usize>, Vec<RouteProblem>) {
    let list = place.list(Protocol::Http);
    let names = config.routes.as_deref().unwrap_or_default();
    let mut indices = BTreeSet::new();
    let mut problems = Vec::new();
    let mut choose = |chosen: Result<usize, (String, &str)>| match chosen {
        Ok(index) => {
            indices.insert(index);
        }
        Err((message, hint)) => problems.push(place.problem("spec.http", message, hint)),
    };
    let own = place.own_routes();
    let listed = |name: &str| {
        place.scope.routing.managed_routes.iter().flatten().any(|route| route.name == name)
    };
    let is_listed = |index: &usize| {
        name_of(&list[*index]).is_some_and(|name| listed(name) || own.contains(name))
    };
    let others = [Protocol::Tls, Protocol::Tcp].iter().any(|p| !place.list(*p).is_empty());
    if list.is_empty() && (!names.is_empty() || !others) {
        let hint = "add a route with a destination for the canary and one for stable";
        choose(Err(("there is no HTTP route".into(), hint)));
    } else if names.is_empty() && !list.is_empty() {
        let plain: Vec<usize> = (0..list.len()).filter(|index| !is_listed(index)).collect();
        choose(only(&plain));
    }
    for name in names.iter().filter(|_| !list.is_empty()) {
        let found: Vec<usize> =
            (0..list.len()).filter(|index| name_of(&list[*index]) == Some(name)).collect();
        choose(named(name, &found));
    }
    // A user's route that mirrors and is listed follows the weights (Argo); those that we made are written as a whole.
    let mirrors = |index: &usize| {
        let route = &list[*index];
        let foreign = name_of(route).is_some_and(|name| !own.contains(name) && listed(name));
        foreign && route.get("mirror").is_some()
    };
    indices.extend((0..list.len()).filter(mirrors));
    (indices, problems)
}

/// Chooses the route if none is named: the only one that is not listed in `managedRoutes`.
fn only(plain: &[usize]) -> Result<usize, (String, &'static str)> {
    match plain {
        [only] => Ok(*only),
        [] => Err((
            "every route is listed in `managedRoutes`".into(),
            "add a route of your own, or name one in `virtualService.routes`",
        )),
        several => Err((
            format!("there are {} routes, and `virtualService.routes` names none", several.len()),
            "list the routes to weigh in `virtualService.routes`",
        )),
    }
}

fn named(name: &str, found: &[usize]) -> Result<usize, (String, &'static str)> {
    match found {
        [only] => Ok(*only),
        [] => Err((
            format!("there is no route named `{name}`"),
            "create it, or correct `virtualService.routes`; weights stay as they are",
        )),
        several => {
            Err((format!("{} routes are named `{name}`", several.len()), "rename all but one"))
        }
    }
}

/// What chooses routes by their match blocks.
trait Selector {
    fn port(&self) -> Option<i64>;
    fn sni_hosts(&self) -> Option<BTreeSet<&str>>;
}

impl Selector for IstioTlsRoute {
    fn port(&self) -> Option<i64> {
        self.port.filter(|port| *port != 0)
    }

    fn sni_hosts(&self) -> Option<BTreeSet<&str>> {
        let hosts = self.sni_hosts.as_ref().filter(|hosts| !hosts.is_empty())?;
        Some(hosts.iter().map(String::as_str).collect())
    }
}

impl Selector for IstioTcpRoute {
    fn port(&self) -> Option<i64> {
        self.port.filter(|port| *port != 0)
    }

    fn sni_hosts(&self) -> Option<BTreeSet<&str>> {
        None
    }
}

/// TLS and TCP routes: those that a selector matches; without selectors the only one of the section, if it leads to us at all.
fn by_match(
    place: Place<'_>,
    protocol: Protocol,
    selectors: &[impl Selector],
) -> (BTreeSet<usize>, Vec<RouteProblem>) {
    let list = place.list(protocol);
    let path = format!("spec.{}", protocol.as_str());
    let word = protocol.word();
    let field = protocol.selector();
    let mut indices = BTreeSet::new();
    let mut problems = Vec::new();
    for (number, selector) in selectors.iter().enumerate() {
        let found: Vec<usize> =
            (0..list.len()).filter(|index| matches(&list[*index], selector)).collect();
        if found.is_empty() {
            let message = format!(
                "there is no {word} route with {}, which `virtualService.{field}[{number}]` asks for",
                words(selector)
            );
            let hint = "give all match blocks of the route this port and these hosts, or correct the Rollout";
            problems.push(place.problem(path.clone(), message, hint));
        }
        indices.extend(found);
    }
    if selectors.is_empty() {
        let ours = |index: &usize| {
            let backends = backends_of(place, &list[*index], "", &BTreeSet::new());
            backends.iter().any(|backend| backend.role != Role::Foreign)
        };
        let ours = (0..list.len()).filter(ours).count();
        match (ours, list.len()) {
            (0, _) => {}
            (_, 1) => {
                indices.insert(0);
            }
            (_, several) => problems.push(place.problem(
                path,
                format!(
                    "there are {several} {word} routes, and `virtualService.{field}` names none"
                ),
                "say which ones are weighed by `port` or `sniHosts`",
            )),
        }
    }
    (indices, problems)
}

/// Whether the match blocks of a route have together exactly the port, and exactly the SNI hosts, as far as they are given.
fn matches(route: &Value, selector: &impl Selector) -> bool {
    let blocks = route.get("match").and_then(Value::as_array);
    let blocks = blocks.map_or(&[][..], Vec::as_slice);
    let ports: BTreeSet<i64> =
        blocks.iter().map(|b| b.get("port").and_then(Value::as_i64).unwrap_or(0)).collect();
    let hosts: BTreeSet<&str> = blocks
        .iter()
        .filter_map(|block| block.get("sniHosts")?.as_array())
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    match (selector.port(), selector.sni_hosts()) {
        (None, None) => ports.iter().all(|port| *port == 0) && hosts.is_empty(),
        (port, wanted) => {
            port.is_none_or(|port| ports == BTreeSet::from([port]))
                && wanted.is_none_or(|wanted| wanted == hosts)
        }
    }
}

fn words(selector: &impl Selector) -> String {
    let port = selector.port().map(|port| format!("port {port}"));
    let hosts = selector.sni_hosts().map(|hosts| {
        let hosts: Vec<String> = hosts.into_iter().map(|host| format!("`{host}`")).collect();
        format!("SNI hosts {}", hosts.join(", "))
    });
    let parts: Vec<String> = port.into_iter().chain(hosts).collect();
    if parts.is_empty() { "no port".to_owned() } else { parts.join(" and ") }
}
