//! The newest state of every recorded object, and each write of the engine, as the API server tells of them.

use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result};
use futures::StreamExt as _;
use serde_json::Value;
use sluice_crds::labels::{EPOCH_PREFIX, POD_TEMPLATE_HASH};
use sluice_e2e::{
    bed::Bed,
    recorder::{self, Revision},
};
use sluice_engine::fence::Stamp;
use tokio::{
    sync::{OnceCell, broadcast, watch},
    task::JoinHandle,
    time::timeout,
};

static EYES: OnceCell<Arc<Eyes>> = OnceCell::const_new();

/// The one pair of eyes of this bed.
pub(crate) async fn eyes(bed: &Bed) -> Arc<Eyes> {
    EYES.get_or_init(|| async { Arc::new(Eyes::open(bed)) }).await.clone()
}

/// What a write of the engine did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Deed {
    /// Stamped an object with the term, or annotated it.
    Touch,
    /// Changed the weights of a route.
    Weight,
    /// Changed what a Service or a subset selects.
    Switch,
    /// Changed the size of a ReplicaSet.
    Scale,
    /// Moved to another step.
    Step,
    /// Changed the status otherwise.
    Status,
    /// Created a ReplicaSet or an AnalysisRun.
    Birth,
    /// Recorded measurements.
    Measure,
}

/// One write of the engine.
#[derive(Debug, Clone)]
pub(crate) struct Write {
    pub(crate) namespace: String,
    pub(crate) deed: Deed,
    /// The term on the object after it; 0 where there is none.
    pub(crate) term: u64,
}

/// Objects of one namespace by kind and name.
pub(crate) type Objects = BTreeMap<(String, String), Value>;

#[derive(Default)]
struct Space {
    objects: Objects,
    /// How often one of them has moved.
    moves: u64,
}

pub(crate) struct Eyes {
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    newest: Mutex<BTreeMap<String, Space>>,
    moved: watch::Sender<()>,
    writes: broadcast::Sender<Write>,
}

impl Drop for Eyes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Eyes {
    fn open(bed: &Bed) -> Self {
        let (moved, _) = watch::channel(());
        let (writes, _) = broadcast::channel(1 << 14);
        let shared = Arc::new(Shared { newest: Mutex::default(), moved, writes });
        let mut told = recorder::live(&bed.recorder, 0).boxed();
        let seen = Arc::clone(&shared);
        let task = tokio::spawn(async move {
            while let Some(revision) = told.next().await {
                seen.see(revision);
            }
        });
        Self { shared, task }
    }

    /// Writes of the engine from now on.
    pub(crate) fn writes(&self) -> broadcast::Receiver<Write> {
        self.shared.writes.subscribe()
    }

    /// Looks at the newest objects of a namespace.
    pub(crate) fn look<T>(&self, namespace: &str, look: impl FnOnce(&Objects) -> T) -> T {
        let newest = self.shared.newest();
        look(newest.get(namespace).map_or(&Objects::new(), |space| &space.objects))
    }

    /// The Rollout `web` of a namespace at a glance; none before it exists.
    pub(crate) fn glance(&self, namespace: &str) -> Option<Glance> {
        self.look(namespace, Glance::of)
    }

    /// Waits until the newest objects of a namespace are as `test` wants them; looks whenever one moves.
    pub(crate) async fn until<T>(
        &self,
        namespace: &str,
        what: &str,
        deadline: Duration,
        test: impl Fn(&Objects) -> Option<T>,
    ) -> Result<T> {
        self.until_all(&[namespace], what, deadline, |objects| test(objects.first()?)).await
    }

    /// Waits until the newest objects of several namespaces are as `test` wants them, at the same time.
    pub(crate) async fn until_all<T>(
        &self,
        namespaces: &[&str],
        what: &str,
        deadline: Duration,
        test: impl Fn(&[&Objects]) -> Option<T>,
    ) -> Result<T> {
        let mut moved = self.shared.moved.subscribe();
        let (nothing, mut moves) = (Space::default(), None);
        let seen = async {
            loop {
                moved.borrow_and_update();
                let found = {
                    let newest = self.shared.newest();
                    let of = |namespace: &&str| newest.get(*namespace).unwrap_or(&nothing);
                    let now: u64 = namespaces.iter().map(|name| of(name).moves).sum();
                    let objects = namespaces.iter().map(|name| &of(name).objects);
                    // Most of what moves is elsewhere.
                    let is_new = moves.replace(now) != Some(now);
                    if is_new { test(&objects.collect::<Vec<_>>()) } else { None }
                };
                if let Some(found) = found {
                    return Ok(found);
                }
                moved.changed().await.context("the eyes are shut")?;
            }
        };
        match timeout(deadline, seen).await {
            Ok(seen) => seen,
            Err(_) => {
                let last: Vec<_> = namespaces.iter().map(|of| (of, self.glance(of))).collect();
                anyhow::bail!("{what}: not within {deadline:?}; last seen: {last:?}")
            }
        }
    }
}

impl Shared {
    fn newest(&self) -> MutexGuard<'_, BTreeMap<String, Space>> {
        self.newest.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn see(&self, revision: Revision) {
        let Revision { kind, namespace, name, deleted, object, .. } = revision;
        let mut newest = self.newest();
        let space = newest.entry(namespace.clone()).or_default();
        space.moves += 1;
        let objects = &mut space.objects;
        let key = (kind, name);
        if deleted {
            objects.remove(&key);
        } else {
            let deed = deed(&key.0, objects.get(&key), &object);
            let term = term_of(&object);
            objects.insert(key, object);
            if let Some(deed) = deed {
                // Nobody may be listening.
                let _ = self.writes.send(Write { namespace, deed, term });
            }
        }
        drop(newest);
        self.moved.send_replace(());
    }
}

/// What the engine did to an object; none if the change is not its own. All that it writes carries a new stamp, except a
/// status, which otherwise only a promoting user writes here.
fn deed(kind: &str, before: Option<&Value>, after: &Value) -> Option<Deed> {
    let stamped = stamp(after) != before.and_then(stamp);
    let Some(before) = before else {
        let born = matches!(kind, "ReplicaSet" | "AnalysisRun") && stamped;
        return born.then_some(Deed::Birth);
    };
    let moved = |pointer: &str| before.pointer(pointer) != after.pointer(pointer);
    match kind {
        "Rollout" if moved("/status/currentStepIndex") => Some(Deed::Step),
        "Rollout" if moved("/status") => Some(Deed::Status),
        "AnalysisRun" if moved("/status") => Some(Deed::Measure),
        _ if !stamped => None,
        "VirtualService" if moved("/spec") => Some(Deed::Weight),
        "Service" | "DestinationRule" if moved("/spec") => Some(Deed::Switch),
        "ReplicaSet" if moved("/spec/replicas") => Some(Deed::Scale),
        _ => Some(Deed::Touch),
    }
}

fn stamp(object: &Value) -> Option<&str> {
    let annotations = object["metadata"]["annotations"].as_object()?;
    annotations.iter().find(|(key, _)| key.starts_with(EPOCH_PREFIX))?.1.as_str()
}

/// The term on an object; 0 where there is none.
pub(crate) fn term_of(object: &Value) -> u64 {
    let stamp = stamp(object).and_then(Stamp::parse);
    stamp.and_then(|stamp| stamp.acquired.0.parse().ok()).unwrap_or(0)
}

/// What a user sees of a Rollout at a glance.
#[derive(Debug, Clone)]
pub(crate) struct Glance {
    /// The image in the spec.
    pub(crate) wanted: String,
    /// The image of the revision that the status calls current; empty if its ReplicaSet is not there.
    pub(crate) image: String,
    pub(crate) phase: String,
    pub(crate) current: String,
    pub(crate) stable: String,
    pub(crate) index: i64,
    pub(crate) aborted: bool,
    /// Whether a step pauses.
    pub(crate) paused: bool,
}

impl Glance {
    pub(crate) fn of(objects: &Objects) -> Option<Self> {
        let rollout = objects.get(&("Rollout".to_owned(), "web".to_owned()))?;
        let status = &rollout["status"];
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let image =
            |object: &Value| text(&object["spec"]["template"]["spec"]["containers"][0]["image"]);
        let current = text(&status["currentPodHash"]);
        let set = objects.iter().find(|((kind, _), object)| {
            kind == "ReplicaSet"
                && object["metadata"]["labels"][POD_TEMPLATE_HASH] == current.as_str()
        });
        Some(Self {
            wanted: image(rollout),
            image: set.map(|(_, set)| image(set)).unwrap_or_default(),
            phase: text(&status["phase"]),
            current,
            stable: text(&status["stableRS"]),
            index: status["currentStepIndex"].as_i64().unwrap_or(0),
            aborted: status["abort"] == true,
            paused: status["pauseConditions"].as_array().is_some_and(|all| !all.is_empty()),
        })
    }

    /// Whether an update is under way: some version other than the stable one is on its way through the steps.
    pub(crate) fn is_mid_canary(&self) -> bool {
        let under_way = matches!(self.phase.as_str(), "Progressing" | "Paused");
        !self.stable.is_empty() && self.current != self.stable && !self.aborted && under_way
    }

    /// Whether the status is about the image.
    pub(crate) fn is_about(&self, image: &str) -> bool {
        self.wanted == image && self.image == image
    }
}
