//! Objects and writes as numbers.
//!
//! A state holds a number for each object in each place where it occurs (truth, two caches); the contents behind the numbers,
//! their parsed records and what a write makes of them are computed once. What a write does is asked of the real
//! [`ApiServer`], with one object in it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use chrono::{DateTime, SecondsFormat, TimeDelta, Utc};
use serde_json::{Value, json};
use sluice_crds::object::{Change, ObjectRef, Write};
use sluice_engine::view::{EndpointCounts, ServiceRecord};

use super::facts::{Facts, Record, Revision, Revisions, parse};
use super::runs;
use super::table::FastMap;
use crate::api_server::ApiServer;

/// Number of an object's content; 0 is an absent object.
pub(super) type Content = u32;
/// Number of a write.
pub(super) type WriteId = u32;

/// Places of objects in a state.
pub(super) const SLOTS: usize = 12;
pub(super) const ROLLOUT: usize = 0;
pub(super) const REPLICA_SETS: std::ops::Range<usize> = 1..4;
/// The stable Service; with subsets the DestinationRule, which says what both destinations reach.
pub(super) const STABLE_SERVICE: usize = 4;
/// The canary's Service; empty with subsets.
pub(super) const CANARY_SERVICE: usize = 5;
pub(super) const ROUTE: usize = 6;
/// AnalysisRuns and Experiments, in the order in which they were first met.
pub(super) const RUNS: std::ops::Range<usize> = 7..12;

/// The instant at which everything happens that has not been left behind by a tick.
pub(super) fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).unwrap_or_default()
}

/// How far a tick moves: more than every delay, less than the progress deadline.
const TICK: TimeDelta = TimeDelta::seconds(400);

/// A content: parsed for decisions, and reduced to what the laws look at.
pub(super) struct Entry {
    pub(super) value: Arc<Value>,
    pub(super) record: Record,
    pub(super) facts: Facts,
    /// The same content after a tick.
    ticked: Option<Content>,
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
    pub(super) revisions: Revisions,
    /// Ready endpoints of each revision, as the laws read them.
    listed: Vec<Vec<(Revision, u32)>>,
    content_ids: HashMap<String, Content>,
    write_ids: HashMap<String, WriteId>,
    endpoint_ids: BTreeMap<Vec<(Revision, u32)>, u16>,
    applied: FastMap<(Content, WriteId), Option<Content>>,
    with_pods: FastMap<(Content, u32, u32), Content>,
    slots: BTreeMap<ObjectRef, usize>,
    judged: FastMap<(Content, Answer), Content>,
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
            revisions: Revisions::default(),
            listed: vec![Vec::new()],
            content_ids: HashMap::new(),
            write_ids: HashMap::new(),
            endpoint_ids: BTreeMap::from([(Vec::new(), 0)]),
            applied: FastMap::default(),
            with_pods: FastMap::default(),
            slots: BTreeMap::new(),
            judged: FastMap::default(),
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
                let judges = matches!(kind, "AnalysisRun" | "Experiment");
                let range = if judges { RUNS } else { REPLICA_SETS };
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
        let (record, facts) = parse(&value, &mut self.revisions);
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

    /// Returns the number of a list of ready endpoints, by revision.
    pub(super) fn intern_endpoints(&mut self, listed: Vec<(Revision, u32)>) -> u16 {
        if let Some(id) = self.endpoint_ids.get(&listed) {
            return *id;
        }
        let id = u16::try_from(self.endpoints.len()).expect("few revisions and few Pods");
        let ready = listed.iter().map(|(of, n)| (self.revisions.hash(*of).to_owned(), *n));
        self.endpoints.push(EndpointCounts { ready: ready.collect() });
        self.listed.push(listed.clone());
        self.endpoint_ids.insert(listed, id);
        id
    }

    /// Returns how many ready endpoints of the revision the list has.
    pub(super) fn listed(&self, endpoints: u16, revision: Revision) -> u32 {
        let all = &self.listed[usize::from(endpoints)];
        all.iter().find(|(of, _)| *of == revision).map_or(0, |(_, ready)| *ready)
    }

    /// Bytes that contents, writes and what they make of each other take, roughly.
    pub(super) fn bytes(&self) -> usize {
        let values = self.content_ids.keys().map(|key| key.len() * 6);
        let writes = self.write_ids.keys().map(|key| key.len() * 3);
        values.chain(writes).sum::<usize>() + self.applied.capacity() * 17
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
        let write = match &self.entries[content as usize].record {
            Record::Run(run) => runs::answered(run, answer),
            Record::Experiment(experiment) => Some(runs::ended(experiment, answer)),
            _ => return content,
        };
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
