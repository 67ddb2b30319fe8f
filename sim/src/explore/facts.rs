//! What the laws look at: each content reduced to a few numbers.

use std::sync::Arc;

use chrono::DateTime;
use serde_json::Value;
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunRecord};
use sluice_crds::experiment::ExperimentRecord;
use sluice_crds::labels;
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::RolloutRecord;
use sluice_crds::rollout::steps::SetCanaryScale;
use sluice_engine::fence::Stamp;
use sluice_engine::view::{ReplicaSetRecord, RouteRecord, ServiceRecord};

use super::catalog::now;

/// Name of the route that `setHeaderRoute` makes, and of that of `setMirrorRoute`.
pub(super) const HEADER: &str = "staff";
pub(super) const MIRROR: &str = "shadow";

/// A revision, by the number of its hash; 0 is none.
pub(super) type Revision = u8;

/// A content as a view holds it.
pub(super) enum Record {
    Rollout(Arc<RolloutRecord>),
    ReplicaSet(Arc<ReplicaSetRecord>),
    Service(Arc<ServiceRecord>),
    Route(Arc<RouteRecord>),
    Run(Arc<AnalysisRunRecord>),
    Experiment(Arc<ExperimentRecord>),
}

/// Hashes of revisions as numbers.
#[derive(Default)]
pub(super) struct Revisions {
    hashes: Vec<String>,
}

impl Revisions {
    fn number(&mut self, hash: &str) -> Revision {
        if hash.is_empty() {
            return 0;
        }
        let known = self.hashes.iter().position(|known| known == hash);
        let index = known.unwrap_or_else(|| {
            self.hashes.push(hash.to_owned());
            self.hashes.len() - 1
        });
        Revision::try_from(index + 1).expect("few revisions")
    }

    /// Returns the hash of a revision, for people.
    pub(super) fn hash(&self, revision: Revision) -> &str {
        let index = usize::from(revision).checked_sub(1);
        index.and_then(|index| self.hashes.get(index)).map_or("-", String::as_str)
    }
}

/// `status.phase` of a Rollout, as far as a law names it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Health {
    /// Anything else.
    #[default]
    Other,
    Healthy,
    Degraded,
    Paused,
}

/// A size that `setCanaryScale` declares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Declared {
    Pods(u32),
    /// Percent of `spec.replicas`.
    Share(u32),
}

impl Declared {
    /// Returns the size, of so many replicas; at least 1.
    pub(super) fn of(self, n: u32) -> u32 {
        match self {
            Self::Pods(pods) => pods.max(1),
            Self::Share(weight) => need(n, weight).max(1),
        }
    }
}

/// What the laws look at.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// Term on the stamp; 0 without one.
    pub(super) term: u8,
    /// ReplicaSet, AnalysisRun: its revision. Service: the one that it selects. DestinationRule: the one of the stable
    /// subset. Rollout: the current one.
    pub(super) hash: Revision,
    /// DestinationRule: the revision of the canary's subset; of nothing else.
    pub(super) canary_hash: Option<Revision>,
    /// Rollout: the stable revision.
    pub(super) stable: Revision,
    /// Rollout: `spec.replicas`. ReplicaSet: the same.
    pub(super) desired: u32,
    /// ReplicaSet: available Pods.
    pub(super) available: u32,
    /// ReplicaSet: the same, or 0 while the status does not describe the present spec: what a decision may count on.
    pub(super) proved: u32,
    /// ReplicaSet: its status describes its spec.
    pub(super) observed: bool,
    /// Rollout: the current step, and whether it is an analysis or an experiment.
    pub(super) step: usize,
    pub(super) at_analysis: bool,
    pub(super) at_experiment: bool,
    /// Rollout: users are switched as a whole; an analysis judges after that.
    pub(super) is_blue_green: bool,
    pub(super) judged_after: bool,
    /// Rollout: the stable set follows its share of traffic.
    pub(super) is_dynamic: bool,
    /// Rollout: the Services have swapped roles.
    pub(super) swapped: bool,
    /// Rollout: it goes back to a version that was still there.
    pub(super) goes_back_fast: bool,
    /// Rollout: the size that `setCanaryScale` declares at the current step, and at the one before it.
    pub(super) declared: [Option<Declared>; 2],
    /// Rollout: the smallest size that any step declares.
    pub(super) least_declared: Option<Declared>,
    /// Rollout: attempt at the current revision, and how often the stable one changed.
    pub(super) attempt: i64,
    pub(super) stable_seq: i64,
    /// Rollout: full promotion is asked for.
    pub(super) promotes_fully: bool,
    /// Rollout: its phase.
    pub(super) health: Health,
    /// Rollout: a person has to say how it goes on.
    pub(super) waits_for_person: bool,
    /// Rollout: `spec.paused`.
    pub(super) paused_by_user: bool,
    /// AnalysisRun, Experiment: how far it is.
    pub(super) phase: Option<AnalysisPhase>,
    /// It is an Experiment.
    pub(super) is_experiment: bool,
    /// AnalysisRun: it is to end now.
    pub(super) terminates: bool,
    /// Rollout: an abort is asked for.
    pub(super) asked_abort: bool,
    /// Rollout: a controller has recorded the abort that is asked for.
    pub(super) aborted: bool,
    /// Service: it was switched since the last tick, so that proxies may not know yet.
    pub(super) fresh: bool,
    /// Route: greatest weights of the canary's and the stable destination, and the sum of all, of a route where it is not 100.
    pub(super) weights: (u32, u32, u32),
    /// Route: how many routes of ours there are, and whether one leads to the canary.
    pub(super) rules: usize,
    pub(super) exposes: bool,
}

/// Parses a content for decisions, and reduces it to what the laws look at.
pub(super) fn parse(value: &Value, revisions: &mut Revisions) -> (Record, Facts) {
    let mut facts = Facts { term: term_of(value), ..Facts::default() };
    let record = match value["kind"].as_str().unwrap_or_default() {
        "Rollout" => Record::Rollout(Arc::new(rollout(value, &mut facts, revisions))),
        "ReplicaSet" => {
            let record: ReplicaSetRecord = read(value);
            facts.hash = revisions.number(record.hash().unwrap_or_default());
            facts.desired = record.replicas;
            facts.available = record.reported_available.min(record.replicas);
            facts.proved = record.available();
            facts.observed = record.observed_generation >= record.meta.generation;
            Record::ReplicaSet(Arc::new(record))
        }
        "Service" => {
            let record: ServiceRecord = read(value);
            facts.hash = revisions.number(record.hash().unwrap_or_default());
            facts.fresh = is_fresh(value);
            Record::Service(Arc::new(record))
        }
        "AnalysisRun" => {
            let record: AnalysisRunRecord = read(value);
            let hash = record.meta.labels.get(labels::POD_TEMPLATE_HASH);
            facts.hash = revisions.number(hash.map_or("", String::as_str));
            facts.phase = record.status.phase;
            facts.terminates = record.spec.terminate == Some(true);
            Record::Run(Arc::new(record))
        }
        "Experiment" => {
            let record: ExperimentRecord = read(value);
            let hash = record.meta.labels.get(labels::POD_TEMPLATE_HASH);
            facts.hash = revisions.number(hash.map_or("", String::as_str));
            facts.phase = record.status.phase;
            facts.terminates = record.spec.terminate == Some(true);
            facts.is_experiment = true;
            Record::Experiment(Arc::new(record))
        }
        kind => {
            let kind = if kind == "DestinationRule" {
                facts.hash = revisions.number(&subset(value, "stable"));
                facts.canary_hash = Some(revisions.number(&subset(value, "canary")));
                facts.fresh = is_fresh(value);
                Kind::DESTINATION_RULE
            } else {
                facts.weights = weights(value);
                let named = |name: &str| http(value).filter(|of| of["name"] == name).count();
                facts.rules = named(HEADER) + named(MIRROR);
                facts.exposes = facts.rules > 0;
                Kind::VIRTUAL_SERVICE
            };
            let name = value["metadata"]["name"].as_str().unwrap_or_default();
            let object = ObjectRef::namespaced(kind, "default", name);
            let meta = read(&value["metadata"]);
            Record::Route(Arc::new(RouteRecord {
                object,
                meta,
                spec: Arc::new(value["spec"].clone()),
            }))
        }
    };
    (record, facts)
}

fn read<T: serde::de::DeserializeOwned>(value: &Value) -> T {
    serde_json::from_value(value.clone()).expect("contents come from the API server")
}

fn rollout(value: &Value, facts: &mut Facts, revisions: &mut Revisions) -> RolloutRecord {
    let record: RolloutRecord = read(value);
    let status = &record.status;
    facts.hash = revisions.number(status.current_pod_hash.as_deref().unwrap_or_default());
    facts.stable = revisions.number(status.stable_rs.as_deref().unwrap_or_default());
    facts.desired = u32::try_from(record.spec.replicas.unwrap_or(1)).unwrap_or(0);
    facts.step = usize::try_from(status.current_step_index.unwrap_or(0)).unwrap_or(0);
    facts.promotes_fully = status.promote_full == Some(true);
    let canary = record.spec.strategy.canary.as_deref();
    let steps = canary.and_then(|canary| canary.steps.as_deref()).unwrap_or_default();
    facts.at_analysis = steps.get(facts.step).is_some_and(|step| step.analysis.is_some());
    facts.at_experiment = steps.get(facts.step).is_some_and(|step| step.experiment.is_some());
    facts.is_dynamic = canary.is_some_and(|canary| canary.dynamic_stable_scale == Some(true));
    let blue_green = record.spec.strategy.blue_green.as_deref();
    facts.is_blue_green = blue_green.is_some();
    facts.judged_after = blue_green.is_some_and(|of| of.post_promotion_analysis.is_some());
    let pair = status.canary.as_ref().and_then(|canary| canary.stable_ping_pong.as_deref());
    facts.swapped = pair == Some("ping");
    let size = |scale: &SetCanaryScale| {
        let number = |n: i32| u32::try_from(n).unwrap_or(0);
        let size = scale.replicas.map(|n| Declared::Pods(number(n)));
        let size = size.or_else(|| scale.weight.map(|weight| Declared::Share(number(weight))));
        size.filter(|_| scale.match_traffic_weight != Some(true))
    };
    let declared = |index: usize| {
        let mut scales = steps.iter().take(index + 1).rev();
        size(scales.find_map(|step| step.set_canary_scale.as_ref())?)
    };
    let over = facts.promotes_fully || facts.step >= steps.len();
    let before = if facts.promotes_fully { facts.step } else { facts.step.saturating_sub(1) };
    let now = if over { None } else { declared(facts.step) };
    let scales = steps.iter().filter_map(|step| step.set_canary_scale.as_ref());
    let least = scales.filter_map(size).min_by_key(|size| size.of(facts.desired));
    (facts.declared, facts.least_declared) = ([now, declared(before)], least);
    let own = status.sluice.as_ref();
    facts.attempt = own.and_then(|own| own.attempt).unwrap_or(1);
    facts.stable_seq = own.and_then(|own| own.stable_seq).unwrap_or(0);
    facts.goes_back_fast = own.and_then(|own| own.fast_rollback) == Some(true);
    facts.health = match status.phase.as_deref() {
        Some("Healthy") => Health::Healthy,
        Some("Degraded") => Health::Degraded,
        Some("Paused") => Health::Paused,
        Some(_) | None => Health::Other,
    };
    facts.paused_by_user = record.spec.paused == Some(true);
    let pauses = status.pause_conditions.iter().flatten().next().is_some();
    facts.waits_for_person = pauses || facts.paused_by_user;
    facts.asked_abort = status.abort == Some(true);
    facts.aborted = facts.asked_abort && status.aborted_at.is_some();
    record
}

/// Returns the Pods that a share of `n` needs: rounded up.
pub(super) fn need(n: u32, weight: u32) -> u32 {
    (n * weight).div_ceil(100)
}

fn subset(rule: &Value, name: &str) -> String {
    let mut all = rule.pointer("/spec/subsets").and_then(Value::as_array).into_iter().flatten();
    let subset = all.find(|subset| subset["name"] == name);
    let hash = subset.and_then(|subset| subset["labels"][labels::POD_TEMPLATE_HASH].as_str());
    hash.unwrap_or_default().to_owned()
}

/// Whether what it selects was switched since the last tick.
fn is_fresh(value: &Value) -> bool {
    let at = value["metadata"]["annotations"][labels::SWITCHED_AT].as_str();
    at.is_some_and(|at| DateTime::parse_from_rfc3339(at).is_ok_and(|at| at >= now()))
}

fn http(value: &Value) -> impl Iterator<Item = &Value> {
    value["spec"]["http"].as_array().into_iter().flatten()
}

fn weights(value: &Value) -> (u32, u32, u32) {
    let others = ["tls", "tcp"].into_iter().flat_map(|kind| value["spec"][kind].as_array());
    let split = |route: &&Value| route["name"] == "primary" || route["name"] == MIRROR;
    let managed = http(value).filter(split).chain(others.flatten());
    managed.fold((0, 0, 100), |(canary, stable, sum), route| {
        let (to_canary, to_stable, all) = shares(route);
        (canary.max(to_canary), stable.max(to_stable), if sum == 100 { all } else { sum })
    })
}

/// Shares of the canary's and the stable destination of one route, and of all.
fn shares(route: &Value) -> (u32, u32, u32) {
    let of = |host: &str, subset: &str| -> u32 {
        let all = route["route"].as_array().into_iter().flatten().filter(|route| {
            let to = &route["destination"];
            host.is_empty() || to["host"] == host || to["subset"] == subset
        });
        all.map(|route| u32::try_from(route["weight"].as_u64().unwrap_or(0)).unwrap_or(0)).sum()
    };
    (of("web-canary", "canary"), of("web-stable", "stable"), of("", ""))
}

fn term_of(value: &Value) -> u8 {
    let annotations = value["metadata"]["annotations"].as_object().into_iter().flatten();
    let mut stamps = annotations.filter(|(key, _)| key.starts_with(labels::EPOCH_PREFIX));
    let stamp = stamps.find_map(|(_, value)| Stamp::parse(value.as_str()?));
    stamp.and_then(|stamp| stamp.acquired.0.parse().ok()).unwrap_or(0)
}
