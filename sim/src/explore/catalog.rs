//! Objects and writes as numbers.
//!
//! A state holds a number for each object in each place where it occurs (truth, two caches); the contents behind the numbers,
//! their parsed records and what a write makes of them are computed once. What a write does is asked of the real
//! [`ApiServer`], with one object in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunRecord};
use sluice_crds::labels;
use sluice_crds::object::{Change, Kind, ObjectRef, Write};
use sluice_crds::rollout::RolloutRecord;
use sluice_engine::fence::Stamp;
use sluice_engine::view::{EndpointCounts, ReplicaSetRecord, RouteRecord, ServiceRecord};

use super::runs;
use crate::api_server::ApiServer;

/// Number of an object's content; 0 is an absent object.
pub(super) type Content = u32;
/// Number of a write.
pub(super) type WriteId = u32;

/// Places of objects in a state.
pub(super) const SLOTS: usize = 10;
pub(super) const ROLLOUT: usize = 0;
pub(super) const REPLICA_SETS: std::ops::Range<usize> = 1..4;
/// The stable Service; with subsets the DestinationRule, which says what both destinations reach.
pub(super) const STABLE_SERVICE: usize = 4;
/// The canary's Service; empty with subsets.
pub(super) const CANARY_SERVICE: usize = 5;
pub(super) const ROUTE: usize = 6;
/// AnalysisRuns, in the order in which they were first met.
pub(super) const RUNS: std::ops::Range<usize> = 7..10;

/// The instant at which everything happens that has not been left behind by a tick.
pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

/// How far a tick moves: more than every delay, less than the progress deadline.
const TICK: TimeDelta = TimeDelta::seconds(60);

/// A content: parsed for decisions, and reduced to what the laws look at.
pub(super) struct Entry {
    pub(super) value: Arc<Value>,
    pub(super) record: Record,
    pub(super) facts: Facts,
    /// The same content after a tick.
    ticked: Option<Content>,
}

/// A content as a view holds it.
pub(super) enum Record {
    Rollout(Arc<RolloutRecord>),
    ReplicaSet(Arc<ReplicaSetRecord>),
    Service(Arc<ServiceRecord>),
    Route(Arc<RouteRecord>),
    Run(Arc<AnalysisRunRecord>),
}

/// What the laws look at.
#[derive(Clone, Debug, Default, PartialEq)]
pub(super) struct Facts {
    /// Term on the stamp; 0 without one.
    pub(super) term: u8,
    /// ReplicaSet, AnalysisRun: its hash. Service: the hash that it selects. DestinationRule: the one of the stable subset.
    /// Rollout: the current hash.
    pub(super) hash: String,
    /// DestinationRule: the hash of the canary's subset; of nothing else.
    pub(super) canary_hash: Option<String>,
    /// Rollout: the stable hash.
    pub(super) stable: String,
    /// Rollout: `spec.replicas`. ReplicaSet: the same.
    pub(super) desired: u32,
    /// ReplicaSet: available Pods.
    pub(super) available: u32,
    /// ReplicaSet: the same, or 0 while the status does not describe the present spec: what a decision may count on.
    pub(super) proved: u32,
    /// ReplicaSet: its status describes its spec.
    pub(super) observed: bool,
    /// Rollout: the current step.
    pub(super) step: usize,
    /// Rollout: the step that is an analysis, if one is.
    pub(super) analysis_step: Option<usize>,
    /// Rollout: full promotion is asked for.
    pub(super) promotes_fully: bool,
    /// AnalysisRun: how far it is.
    pub(super) phase: Option<AnalysisPhase>,
    /// AnalysisRun: it is to end now.
    pub(super) terminates: bool,
    /// Rollout: an abort is asked for.
    pub(super) asked_abort: bool,
    /// Rollout: a controller has recorded the abort that is asked for.
    pub(super) aborted: bool,
    /// Service: it was switched since the last tick, so that proxies may not know yet.
    pub(super) fresh: bool,
    /// Route: weights of the canary's and the stable destination, and of all together.
    pub(super) weights: (u32, u32, u32),
}

/// What a write is, besides its body.
pub(super) struct WriteInfo {
    pub(super) write: Write,
    pub(super) slot: usize,
    /// Whether it carries a resourceVersion; which one is the state's business.
    pub(super) has_version: bool,
    pub(super) is_touch: bool,
    pub(super) is_create: bool,
    pub(super) text: String,
    ticked: Option<WriteId>,
}

/// All contents and writes met so far.
pub(super) struct Catalog {
    pub(super) entries: Vec<Entry>,
    pub(super) writes: Vec<WriteInfo>,
    pub(super) endpoints: Vec<EndpointCounts>,
    content_ids: HashMap<String, Content>,
    write_ids: HashMap<String, WriteId>,
    endpoint_ids: BTreeMap<Vec<(String, u32)>, u16>,
    applied: HashMap<(Content, WriteId), Option<Content>>,
    with_pods: HashMap<(Content, u32, u32), Content>,
    slots: BTreeMap<ObjectRef, usize>,
    judged: HashMap<(Content, Answer), Content>,
    scratch: ApiServer,
}

/// What a metrics server answers.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub(super) enum Answer {
    /// All is well.
    Good,
    /// It is not.
    Bad,
    /// It cannot be reached.
    Unreachable,
}

impl Catalog {
    pub(super) fn new() -> Self {
        let absent = Entry {
            value: Arc::new(Value::Null),
            record: Record::Service(Arc::new(no_service())),
            facts: Facts::default(),
            ticked: Some(0),
        };
        Self {
            entries: vec![absent],
            writes: Vec::new(),
            endpoints: vec![EndpointCounts::default()],
            content_ids: HashMap::new(),
            write_ids: HashMap::new(),
            endpoint_ids: BTreeMap::from([(Vec::new(), 0)]),
            applied: HashMap::new(),
            with_pods: HashMap::new(),
            slots: BTreeMap::new(),
            judged: HashMap::new(),
            scratch: ApiServer::new(now()),
        }
    }

    pub(super) fn facts(&self, content: Content) -> &Facts {
        &self.entries[content as usize].facts
    }

    /// Returns the slot of an object; ReplicaSets get theirs when they are first met.
    fn slot(&mut self, object: &ObjectRef) -> usize {
        if let Some(slot) = self.slots.get(object) {
            return *slot;
        }
        let slot = match (&*object.kind.kind, object.name.as_str()) {
            ("Rollout", _) => ROLLOUT,
            ("Service", "web-stable") => STABLE_SERVICE,
            ("Service", _) => CANARY_SERVICE,
            ("DestinationRule", _) => STABLE_SERVICE,
            ("VirtualService", _) => ROUTE,
            (kind, _) => {
                let range = if kind == "AnalysisRun" { RUNS } else { REPLICA_SETS };
                let taken = self.slots.values().filter(|slot| range.contains(slot)).count();
                assert!(taken < range.len(), "{object}: more objects than modelled");
                range.start + taken
            }
        };
        self.slots.insert(object.clone(), slot);
        slot
    }

    /// Returns the object of a slot, once it was met.
    pub(super) fn object(&self, slot: usize) -> Option<&ObjectRef> {
        self.slots.iter().find(|(_, of)| **of == slot).map(|(object, _)| object)
    }

    /// Returns the number of a content.
    pub(super) fn intern(&mut self, object: &Value) -> Content {
        let mut value = object.clone();
        normalize(&mut value);
        let key = value.to_string();
        if let Some(id) = self.content_ids.get(&key) {
            return *id;
        }
        let id = Content::try_from(self.entries.len()).expect("fewer contents than states");
        value["metadata"]["resourceVersion"] = json!((1000 + id).to_string());
        let (record, facts) = parse(&value);
        let value = Arc::new(value);
        self.entries.push(Entry { value, record, facts, ticked: None });
        self.content_ids.insert(key, id);
        id
    }

    pub(super) fn intern_write(&mut self, write: &Write, is_touch: bool) -> WriteId {
        let mut bare = write.clone();
        let has_version = bare.preconditions.resource_version.take().is_some();
        let key = format!("{has_version} {bare:?}");
        if let Some(id) = self.write_ids.get(&key) {
            return *id;
        }
        let slot = self.slot(&bare.object);
        let id = WriteId::try_from(self.writes.len()).expect("fewer writes than states");
        let is_create = matches!(bare.change, Change::Create { .. });
        let text = describe(&bare, is_touch);
        let info =
            WriteInfo { write: bare, slot, has_version, is_touch, is_create, text, ticked: None };
        self.writes.push(info);
        self.write_ids.insert(key, id);
        id
    }

    /// Returns the number of ready endpoints by hash.
    pub(super) fn intern_endpoints(&mut self, ready: BTreeMap<String, u32>) -> u16 {
        let key: Vec<(String, u32)> = ready.iter().map(|(hash, n)| (hash.clone(), *n)).collect();
        if let Some(id) = self.endpoint_ids.get(&key) {
            return *id;
        }
        let id = u16::try_from(self.endpoints.len()).expect("few revisions and few Pods");
        self.endpoints.push(EndpointCounts { ready });
        self.endpoint_ids.insert(key, id);
        id
    }

    /// Returns what the write makes of the content, or `None` if the server refuses it.
    pub(super) fn apply(&mut self, content: Content, write: WriteId) -> Option<Content> {
        if let Some(done) = self.applied.get(&(content, write)) {
            return *done;
        }
        let before = Arc::clone(&self.entries[content as usize].value);
        let operation = self.writes[write as usize].write.clone();
        let mut server = self.scratch.clone();
        if content != 0 {
            server.place(&before);
        }
        let outcome = server.write(now(), "explorer", &operation).ok();
        let after = outcome.map(|_| server.get(&operation.object).map(|object| (*object).clone()));
        let result = after.map(|object| object.map_or(0, |object| self.intern(&object)));
        self.applied.insert((content, write), result);
        result
    }

    /// Returns the content with this status; ReplicaSets only.
    pub(super) fn with_pods(&mut self, content: Content, exist: u32, available: u32) -> Content {
        if let Some(done) = self.with_pods.get(&(content, exist, available)) {
            return *done;
        }
        let mut value = (*self.entries[content as usize].value).clone();
        value["status"] = json!({
            "replicas": exist,
            "readyReplicas": available,
            "availableReplicas": available,
            "observedGeneration": value["metadata"]["generation"],
        });
        let after = self.intern(&value);
        self.with_pods.insert((content, exist, available), after);
        after
    }

    /// Returns what becomes of an AnalysisRun when its metrics server answers so; its reconciler is the real one.
    pub(super) fn judged(&mut self, content: Content, answer: Answer) -> Content {
        if let Some(done) = self.judged.get(&(content, answer)) {
            return *done;
        }
        let Record::Run(run) = &self.entries[content as usize].record else { return content };
        let write = runs::answered(run, answer);
        let after = write.map_or(content, |write| {
            let id = self.intern_write(&write, false);
            self.apply(content, id).unwrap_or(content)
        });
        self.judged.insert((content, answer), after);
        after
    }

    /// Returns the content a tick later.
    pub(super) fn ticked(&mut self, content: Content) -> Content {
        if let Some(done) = self.entries[content as usize].ticked {
            return done;
        }
        let later = later(&self.entries[content as usize].value);
        let id = self.intern(&later);
        self.entries[content as usize].ticked = Some(id);
        id
    }

    /// Returns the write a tick later: the instants in it have become older.
    pub(super) fn ticked_write(&mut self, id: WriteId) -> WriteId {
        let info = &self.writes[id as usize];
        if let Some(done) = info.ticked {
            return done;
        }
        let mut write = info.write.clone();
        let (is_touch, has_version) = (info.is_touch, info.has_version);
        match &mut write.change {
            Change::Create { body }
            | Change::Apply { body }
            | Change::MergePatch { body }
            | Change::Status { body } => *body = later(body),
            Change::JsonPatch { operations } => {
                *operations = operations.iter().map(later).collect();
            }
            Change::Delete { .. } | Change::Evict => {}
        }
        if has_version {
            write.preconditions.resource_version = Some(1.into());
        }
        let later = self.intern_write(&write, is_touch);
        self.writes[id as usize].ticked = Some(later);
        later
    }
}

fn no_service() -> ServiceRecord {
    ServiceRecord {
        meta: sluice_crds::object::Meta::default(),
        selector: BTreeMap::new(),
        ports: Vec::new(),
    }
}

/// Moves every instant into the past by a tick; two ticks ago is as good as one.
fn later(value: &Value) -> Value {
    match value {
        Value::String(text) => match DateTime::parse_from_rfc3339(text) {
            Ok(at) => {
                let moved = at.with_timezone(&Utc) - TICK;
                let moved = if moved < now() { now() - TICK } else { moved };
                let whole = text.len() == "2026-01-02T03:04:05Z".len();
                let format = if whole { SecondsFormat::Secs } else { SecondsFormat::Micros };
                json!(moved.to_rfc3339_opts(format, true))
            }
            Err(_) => value.clone(),
        },
        Value::Array(items) => Value::Array(items.iter().map(later).collect()),
        Value::Object(map) => {
            Value::Object(map.iter().map(|(key, value)| (key.clone(), later(value))).collect())
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => value.clone(),
    }
}

/// Removes what would make equal situations differ: versions, ownership of fields, counters of generations.
fn normalize(value: &mut Value) {
    let kind = value["kind"].clone();
    let name = value["metadata"]["name"].clone();
    if let Some(metadata) = value["metadata"].as_object_mut() {
        metadata.remove("resourceVersion");
        metadata.remove("managedFields");
        metadata.insert("uid".into(), json!(format!("uid-{}", name.as_str().unwrap_or_default())));
    }
    if kind == "ReplicaSet" {
        let generation = value["metadata"]["generation"].as_i64().unwrap_or(1);
        let observed = value["status"]["observedGeneration"].as_i64().unwrap_or(0);
        value["metadata"]["generation"] = json!(2);
        value["status"]["observedGeneration"] = json!(if observed >= generation { 2 } else { 1 });
    }
}

fn parse(value: &Value) -> (Record, Facts) {
    let read = "contents come from the API server";
    let mut facts = Facts { term: term_of(value), ..Facts::default() };
    let text =
        |path: &str| value.pointer(path).and_then(Value::as_str).unwrap_or_default().to_owned();
    let record = match value["kind"].as_str().unwrap_or_default() {
        "Rollout" => {
            let record: RolloutRecord = serde_json::from_value(value.clone()).expect(read);
            facts.hash = text("/status/currentPodHash");
            facts.stable = text("/status/stableRS");
            facts.desired = u32::try_from(record.spec.replicas.unwrap_or(1)).unwrap_or(0);
            facts.step = record
                .status
                .current_step_index
                .and_then(|index| usize::try_from(index).ok())
                .unwrap_or(0);
            let canary = record.spec.strategy.canary.as_deref();
            let mut steps = canary.iter().flat_map(|canary| canary.steps.iter().flatten());
            facts.analysis_step = steps.position(|step| step.analysis.is_some());
            facts.promotes_fully = record.status.promote_full == Some(true);
            facts.asked_abort = record.status.abort == Some(true);
            facts.aborted = record.status.abort == Some(true) && record.status.aborted_at.is_some();
            Record::Rollout(Arc::new(record))
        }
        "ReplicaSet" => {
            let record: ReplicaSetRecord = serde_json::from_value(value.clone()).expect(read);
            facts.hash = record.hash().unwrap_or_default().to_owned();
            facts.desired = record.replicas;
            facts.available = record.reported_available.min(record.replicas);
            facts.proved = record.available();
            facts.observed = record.observed_generation >= record.meta.generation;
            Record::ReplicaSet(Arc::new(record))
        }
        "Service" => {
            let record: ServiceRecord = serde_json::from_value(value.clone()).expect(read);
            facts.hash = record.hash().unwrap_or_default().to_owned();
            facts.fresh = is_fresh(value);
            Record::Service(Arc::new(record))
        }
        "AnalysisRun" => {
            let record: AnalysisRunRecord = serde_json::from_value(value.clone()).expect(read);
            facts.hash =
                record.meta.labels.get(labels::POD_TEMPLATE_HASH).cloned().unwrap_or_default();
            facts.phase = record.status.phase;
            facts.terminates = record.spec.terminate == Some(true);
            Record::Run(Arc::new(record))
        }
        kind => {
            let kind = if kind == "DestinationRule" {
                let subsets = value.pointer("/spec/subsets").and_then(Value::as_array);
                let of = |name: &str| {
                    let mut all = subsets.into_iter().flatten();
                    let subset = all.find(|subset| subset["name"] == name);
                    let hash = subset.and_then(|s| s["labels"][labels::POD_TEMPLATE_HASH].as_str());
                    hash.unwrap_or_default().to_owned()
                };
                facts.hash = of("stable");
                facts.canary_hash = Some(of("canary"));
                facts.fresh = is_fresh(value);
                Kind::DESTINATION_RULE
            } else {
                facts.weights = weights(value);
                Kind::VIRTUAL_SERVICE
            };
            let object = ObjectRef::namespaced(kind, "default", text("/metadata/name"));
            let meta = serde_json::from_value(value["metadata"].clone()).expect(read);
            let spec = Arc::new(value["spec"].clone());
            Record::Route(Arc::new(RouteRecord { object, meta, spec }))
        }
    };
    (record, facts)
}

/// Whether what it selects was switched since the last tick.
fn is_fresh(value: &Value) -> bool {
    let at = value["metadata"]["annotations"][labels::SWITCHED_AT].as_str();
    at.is_some_and(|at| DateTime::parse_from_rfc3339(at).is_ok_and(|at| at >= now()))
}

fn weights(value: &Value) -> (u32, u32, u32) {
    let routes = value.pointer("/spec/http/0/route").and_then(Value::as_array);
    let of = |host: &str, subset: &str| -> u32 {
        let all = routes.into_iter().flatten().filter(|route| {
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

fn describe(write: &Write, is_touch: bool) -> String {
    let what = match &write.change {
        _ if is_touch => "fence".to_owned(),
        Change::Create { .. } => "create".to_owned(),
        Change::Delete { .. } => "delete".to_owned(),
        Change::Evict => "evict".to_owned(),
        Change::Status { body } => format!("status {body}"),
        Change::Apply { body } | Change::MergePatch { body } => format!("patch {body}"),
        Change::JsonPatch { operations } => format!("patch {}", Value::Array(operations.clone())),
    };
    format!("{}: {what}", write.object)
}
