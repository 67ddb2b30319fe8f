use super::{FieldPath, Findings, is_set, listed};
use crate::rollout::CanaryStrategy;
use crate::rollout::traffic_routing::{IstioTrafficRouting, TrafficRouting};

/// What a router can do beside weights. Source: Argo Rollouts' validation of steps; `engine` declares the same as abilities.
#[derive(Clone, Copy)]
pub(super) struct Router {
    pub(super) name: &'static str,
    pub(super) headers: bool,
    pub(super) mirror: bool,
    /// Whether an Experiment may have a weight of its own.
    pub(super) experiment_weights: bool,
    ping_pong: bool,
    /// Whether canaryService and stableService are needed in any case.
    both_services: bool,
    is_set: fn(&TrafficRouting) -> bool,
}

const NONE: Router = Router {
    name: "",
    headers: false,
    mirror: false,
    experiment_weights: false,
    ping_pong: false,
    both_services: true,
    is_set: |_| false,
};

/// In the order in which Argo runs them.
static ROUTERS: [Router; 9] = [
    Router {
        name: "istio",
        headers: true,
        mirror: true,
        experiment_weights: true,
        ping_pong: true,
        both_services: false,
        is_set: |routing| routing.istio.is_some(),
    },
    Router { name: "nginx", is_set: |routing| routing.nginx.is_some(), ..NONE },
    Router {
        name: "alb",
        headers: true,
        experiment_weights: true,
        ping_pong: true,
        both_services: false,
        is_set: |routing| routing.alb.is_some(),
        ..NONE
    },
    Router {
        name: "smi",
        experiment_weights: true,
        is_set: |routing| routing.smi.is_some(),
        ..NONE
    },
    Router { name: "ambassador", is_set: |routing| routing.ambassador.is_some(), ..NONE },
    Router { name: "appMesh", is_set: |routing| routing.app_mesh.is_some(), ..NONE },
    Router { name: "traefik", is_set: |routing| routing.traefik.is_some(), ..NONE },
    Router { name: "apisix", headers: true, is_set: |routing| routing.apisix.is_some(), ..NONE },
    Router {
        name: "plugins",
        headers: true,
        mirror: true,
        experiment_weights: true,
        ping_pong: true,
        both_services: false,
        is_set: |routing| routing.plugins.as_ref().is_some_and(|plugins| !plugins.is_empty()),
    },
];

/// Returns the routers that are configured.
pub(super) fn routers(routing: &TrafficRouting) -> Vec<Router> {
    ROUTERS.into_iter().filter(|router| (router.is_set)(routing)).collect()
}

/// Reports a router that lacks what a step asks for.
pub(super) fn need(
    path: &FieldPath,
    canary: &CanaryStrategy,
    what: &str,
    able: fn(&Router) -> bool,
    findings: &mut Findings,
) {
    let able_routers: Vec<&str> =
        ROUTERS.iter().filter(|router| able(router)).map(|router| router.name).collect();
    let hint = format!("remove the step, or route through one of {}", listed(&able_routers));
    let configured = canary.traffic_routing.as_deref().map(routers).unwrap_or_default();
    if configured.is_empty() {
        findings.hint(path.clone(), format!("needs a traffic router that can {what}"), hint);
        return;
    }
    for router in configured.iter().filter(|router| !able(router)) {
        findings.hint(
            path.clone(),
            format!("router `{}` cannot {what}", router.name),
            hint.clone(),
        );
    }
}

pub(super) fn check(
    path: &FieldPath,
    routing: &TrafficRouting,
    canary: &CanaryStrategy,
    findings: &mut Findings,
) {
    let configured = routers(routing);
    if configured.is_empty() {
        findings.hint(
            path.clone(),
            "names no router",
            "name one, such as `istio`, or remove trafficRouting for a canary by Pods",
        );
    }
    for router in &configured {
        services(path, *router, routing, canary, findings);
        if canary.ping_pong.is_some() && !router.ping_pong {
            findings.add(
                path.field(router.name),
                format!("router `{}` cannot swap pingPong Services", router.name),
            );
        }
    }
    if let Some(weight) = routing.max_traffic_weight {
        findings.at_least(path.field("maxTrafficWeight"), Some(weight), 1);
        if !configured.iter().any(|router| ["nginx", "plugins"].contains(&router.name)) {
            findings.add(
                path.field("maxTrafficWeight"),
                "only nginx and plugins have another weight than 100",
            );
        }
    }
    managed_routes(path, routing, findings);
    if let Some(istio) = &routing.istio {
        check_istio(&path.field("istio"), istio, findings);
    }
    other_routers(path, routing, canary, findings);
}

fn services(
    path: &FieldPath,
    router: Router,
    routing: &TrafficRouting,
    canary: &CanaryStrategy,
    findings: &mut Findings,
) {
    let subsets = routing.istio.as_ref().is_some_and(|istio| istio.destination_rule.is_some());
    let needs_both = match router.name {
        "istio" => !subsets && canary.ping_pong.is_none(),
        "alb" => canary.ping_pong.is_none(),
        _ => router.both_services,
    };
    if !needs_both {
        return;
    }
    let canary_path = FieldPath::spec().field("strategy.canary");
    for (name, service) in
        [("canaryService", &canary.canary_service), ("stableService", &canary.stable_service)]
    {
        if !is_set(service.as_ref()) {
            let message = format!("required by {}", path.field(router.name));
            findings.add(canary_path.field(name), message);
        }
    }
}

fn managed_routes(path: &FieldPath, routing: &TrafficRouting, findings: &mut Findings) {
    let path = path.field("managedRoutes");
    let routes = routing.managed_routes.as_deref().unwrap_or_default();
    for (index, route) in routes.iter().enumerate() {
        findings.required(path.index(index).field("name"), &route.name);
    }
    let names = routes.iter().enumerate();
    findings
        .unique(names.map(|(index, route)| (path.index(index).field("name"), route.name.as_str())));
}

fn check_istio(path: &FieldPath, istio: &IstioTrafficRouting, findings: &mut Findings) {
    let several = istio.virtual_services.as_deref().unwrap_or_default();
    match (&istio.virtual_service, several) {
        (None, []) => {
            findings.add(path.clone(), "one of `virtualService` and `virtualServices` must be set");
        }
        (Some(_), [_, ..]) => {
            findings
                .add(path.clone(), "only one of `virtualService` and `virtualServices` may be set");
        }
        _ => {}
    }
    let single =
        istio.virtual_service.iter().map(|service| (path.field("virtualService"), service));
    let several = several
        .iter()
        .enumerate()
        .map(|(index, service)| (path.field("virtualServices").index(index), service));
    let mut names = Vec::new();
    for (path, service) in single.chain(several) {
        findings.required(path.field("name"), &service.name);
        let routes = service.routes.as_deref().unwrap_or_default();
        let route_names = routes
            .iter()
            .enumerate()
            .map(|(i, name)| (path.field("routes").index(i), name.as_str()));
        findings.unique(route_names);
        names.push((path.field("name"), service.name.as_str()));
    }
    findings.unique(names);
    if let Some(rule) = &istio.destination_rule {
        let path = path.field("destinationRule");
        findings.required(path.field("name"), &rule.name);
        if rule.canary_subset() == rule.stable_subset() {
            findings.add(
                path.field("canarySubsetName"),
                "is the stableSubsetName, too: they must differ",
            );
        }
    }
}

fn other_routers(
    path: &FieldPath,
    routing: &TrafficRouting,
    canary: &CanaryStrategy,
    findings: &mut Findings,
) {
    if let Some(nginx) = &routing.nginx {
        let path = path.field("nginx");
        single_or_list(
            &path,
            "stableIngress",
            &nginx.stable_ingress,
            &nginx.stable_ingresses,
            findings,
        );
    }
    if let Some(alb) = &routing.alb {
        let path = path.field("alb");
        single_or_list(&path, "ingress", &alb.ingress, &alb.ingresses, findings);
        if canary.ping_pong.is_some() && !is_set(alb.root_service.as_ref()) {
            findings.add(path.field("rootService"), "required with pingPong");
        }
        findings.at_least(path.field("servicePort"), Some(alb.service_port), 1);
        if let Some(stickiness) = &alb.stickiness_config
            && !(1..=604_800).contains(&stickiness.duration_seconds)
        {
            let message = format!("{} is not in 1..=604800", stickiness.duration_seconds);
            findings.add(path.field("stickinessConfig.durationSeconds"), message);
        }
    }
    if let Some(ambassador) = &routing.ambassador
        && ambassador.mappings.is_empty()
    {
        findings.add(path.field("ambassador.mappings"), "required: at least one Mapping");
    }
    if let Some(mesh) = &routing.app_mesh
        && mesh.virtual_service.as_ref().is_none_or(|service| service.name.is_empty())
    {
        findings.add(path.field("appMesh.virtualService.name"), "required");
    }
    if let Some(traefik) = &routing.traefik {
        let path = path.field("traefik.weightedTraefikServiceName");
        findings.required(path, &traefik.weighted_traefik_service_name);
    }
    if let Some(apisix) = &routing.apisix
        && apisix.route.as_ref().is_none_or(|route| route.name.is_empty())
    {
        findings.add(path.field("apisix.route.name"), "required");
    }
}

fn single_or_list(
    path: &FieldPath,
    name: &str,
    single: &Option<String>,
    list: &Option<Vec<String>>,
    findings: &mut Findings,
) {
    let several = list.as_ref().is_some_and(|list| !list.is_empty());
    if is_set(single.as_ref()) == several {
        findings.add(path.clone(), format!("exactly one of `{name}` and `{name}es` must be set"));
    }
}
