//! Independent witnesses: every revision of the objects that matter, straight from the API server,
//! and the API server's own audit log.

use std::{
    collections::BTreeMap,
    fs,
    io::{BufRead as _, BufReader},
    path::{Path, PathBuf},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};
use chrono::{DateTime, Utc};
use futures::{StreamExt as _, TryStreamExt as _, pin_mut};
use kube::{
    Api, Client, ResourceExt as _,
    api::{ApiResource, DynamicObject, ListParams, WatchEvent, WatchParams},
};
use serde::Deserialize;
use serde_json::Value;
use tokio::{task::JoinHandle, time::sleep};

use crate::bed::{
    controller::{CREDENTIAL, USER},
    process::until,
};

/// Group, version, kind and plural of everything that is recorded.
const KINDS: [(&str, &str, &str, &str); 12] = [
    ("argoproj.io", "v1alpha1", "Rollout", "rollouts"),
    ("argoproj.io", "v1alpha1", "Application", "applications"),
    ("argoproj.io", "v1alpha1", "AnalysisRun", "analysisruns"),
    ("argoproj.io", "v1alpha1", "Experiment", "experiments"),
    ("argoproj.io", "v1alpha1", "AnalysisTemplate", "analysistemplates"),
    ("", "v1", "ConfigMap", "configmaps"),
    ("apps", "v1", "ReplicaSet", "replicasets"),
    ("apps", "v1", "Deployment", "deployments"),
    ("batch", "v1", "Job", "jobs"),
    ("", "v1", "Service", "services"),
    ("networking.istio.io", "v1", "VirtualService", "virtualservices"),
    ("networking.istio.io", "v1", "DestinationRule", "destinationrules"),
];

/// One version of one object, in the order in which the API server told of it.
#[derive(Debug, Clone)]
pub struct Revision {
    pub kind: String,
    pub namespace: String,
    pub name: String,
    pub resource_version: String,
    /// The last state before its end.
    pub deleted: bool,
    /// When the recorder saw it.
    pub seen: DateTime<Utc>,
    /// The whole object.
    pub object: Value,
}

/// Watches until dropped.
#[derive(Debug)]
pub struct Recorder {
    run: PathBuf,
    shared: Arc<Shared>,
    tasks: Vec<JoinHandle<()>>,
}

#[derive(Debug, Default)]
struct Shared {
    history: Mutex<Vec<Revision>>,
    gaps: Mutex<Vec<String>>,
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

impl Recorder {
    /// Lists and then watches every kind that the API server serves, in all namespaces. The bed's folder `run` has the audit
    /// log and the repositories.
    ///
    /// # Errors
    /// When a list fails for another reason than that the kind is not served.
    pub async fn start(client: Client, run: &Path) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let mut tasks = Vec::new();
        for (group, version, kind, plural) in KINDS {
            let api_version =
                if group.is_empty() { version.to_owned() } else { format!("{group}/{version}") };
            let resource = ApiResource {
                group: group.to_owned(),
                version: version.to_owned(),
                api_version,
                kind: kind.to_owned(),
                plural: plural.to_owned(),
            };
            let api: Api<DynamicObject> = Api::all_with(client.clone(), &resource);
            let list = match api.list(&ListParams::default()).await {
                Ok(list) => list,
                Err(kube::Error::Api(status)) if status.code == 404 => continue,
                Err(error) => return Err(error).context(format!("cannot list {plural}")),
            };
            let version = list.metadata.resource_version.clone().unwrap_or_default();
            for object in list.items {
                shared.note(kind, object, false)?;
            }
            tasks.push(tokio::spawn(follow(Arc::clone(&shared), api, kind, version)));
        }
        Ok(Self { run: run.to_owned(), shared, tasks })
    }

    /// Everything so far, of one namespace.
    ///
    /// # Errors
    /// When revisions were lost: a history with holes proves nothing.
    pub fn history(&self, namespace: &str) -> Result<Vec<Revision>> {
        let gaps = guard(&self.shared.gaps);
        ensure!(gaps.is_empty(), "the recorder lost revisions: {}", gaps.join("; "));
        let all = guard(&self.shared.history);
        Ok(all.iter().filter(|revision| revision.namespace == namespace).cloned().collect())
    }

    /// How many objects of a kind in a namespace are as `test` wants them, by their last revisions so far.
    #[must_use]
    pub fn now(&self, kind: &str, namespace: &str, test: impl Fn(&Value) -> bool) -> usize {
        let all = guard(&self.shared.history);
        let mut last = BTreeMap::new();
        for r in all.iter().rev().filter(|r| r.kind == kind && r.namespace == namespace) {
            last.entry(r.name.as_str()).or_insert(r);
        }
        last.values().filter(|r| !r.deleted && test(&r.object)).count()
    }

    /// How many revisions there are so far, of all namespaces.
    #[must_use]
    pub fn count(&self) -> usize {
        guard(&self.shared.history).len()
    }

    /// Everybody's requests so far about objects of a namespace or about Applications, and the controller's lists, in the order
    /// of their answers.
    ///
    /// # Errors
    /// When the audit log cannot be read.
    pub fn requests(&self, namespace: &str) -> Result<Vec<Request>> {
        let here = format!("\"namespace\":\"{namespace}\"");
        let applications = "\"resource\":\"applications\"";
        entries(&self.run.join("audit.log"), |line| {
            let lists = line.contains(USER) && line.contains("\"verb\":\"list\"");
            lists || line.contains(&here) || line.contains(applications)
        })
    }

    /// Where the bare repositories of the bed are.
    #[must_use]
    pub fn repositories(&self) -> PathBuf {
        self.run.join("git/bare")
    }

    /// Waits until the history holds a version of an object: what the caller has read or written
    /// must be in it before it is judged.
    ///
    /// # Errors
    /// When it is not seen within 10 s.
    pub async fn caught_up(&self, kind: &str, name: &str, resource_version: &str) -> Result<()> {
        let is = |r: &Revision| {
            r.kind == kind && r.name == name && r.resource_version == resource_version
        };
        until(&format!("the recorder sees {kind} `{name}`"), Duration::from_secs(10), || async {
            Ok(guard(&self.shared.history).iter().any(is).then_some(()))
        })
        .await
    }
}

fn guard<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn note(&self, kind: &str, object: DynamicObject, deleted: bool) -> Result<()> {
        let revision = Revision {
            kind: kind.to_owned(),
            namespace: object.namespace().unwrap_or_default(),
            name: object.name_any(),
            resource_version: object.resource_version().unwrap_or_default(),
            deleted,
            seen: Utc::now(),
            object: serde_json::to_value(&object)?,
        };
        guard(&self.history).push(revision);
        Ok(())
    }
}

/// Watches on from the last version, over broken connections too; a version that the API server
/// no longer has is a gap.
async fn follow(
    shared: Arc<Shared>,
    api: Api<DynamicObject>,
    kind: &'static str,
    mut version: String,
) {
    loop {
        if let Err(error) = watch(&shared, &api, kind, &mut version).await {
            if error.downcast_ref::<Expired>().is_some() {
                guard(&shared.gaps).push(format!("{kind}: {error:#}"));
                return;
            }
            sleep(Duration::from_millis(50)).await;
        }
    }
}

/// The API server has forgotten the version from which the watch wanted to go on.
#[derive(Debug)]
struct Expired(String);

impl std::fmt::Display for Expired {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Expired {}

async fn watch(
    shared: &Shared,
    api: &Api<DynamicObject>,
    kind: &str,
    version: &mut String,
) -> Result<()> {
    let stream = api.watch(&WatchParams::default().timeout(290), version).await?;
    pin_mut!(stream);
    while let Some(event) = stream.try_next().await? {
        let (object, deleted) = match event {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => (object, false),
            WatchEvent::Deleted(object) => (object, true),
            WatchEvent::Bookmark(bookmark) => {
                *version = bookmark.metadata.resource_version;
                continue;
            }
            WatchEvent::Error(status) if status.code == 410 => {
                return Err(Expired(status.message.clone()).into());
            }
            WatchEvent::Error(status) => anyhow::bail!("{}", status.message),
        };
        *version = object.resource_version().unwrap_or_default();
        shared.note(kind, object, deleted)?;
    }
    Ok(())
}

/// One request of the audit log, as answered.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Request {
    pub verb: String,
    #[serde(rename = "requestURI")]
    pub uri: String,
    pub user: User,
    pub object_ref: Option<Target>,
    pub response_status: Option<Answer>,
    /// When the API server had received it.
    pub request_received_timestamp: DateTime<Utc>,
    /// When it had answered; a watch is in the log when it ends.
    pub stage_timestamp: DateTime<Utc>,
    stage: String,
}

/// Who asked.
#[derive(Debug, Clone, Deserialize)]
pub struct User {
    pub username: String,
    #[serde(default)]
    extra: BTreeMap<String, Vec<String>>,
}

impl User {
    /// The id of the token that was used; empty where it was none.
    #[must_use]
    pub fn credential(&self) -> &str {
        self.extra.get(CREDENTIAL).and_then(|ids| ids.first()).map_or("", String::as_str)
    }
}

/// What was asked for.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
pub struct Target {
    pub api_group: String,
    pub resource: String,
    pub subresource: String,
    pub namespace: String,
    pub name: String,
}

/// How it was answered.
#[derive(Debug, Clone, Deserialize)]
pub struct Answer {
    #[serde(default)]
    pub code: u16,
}

impl Request {
    /// Whether it asked for a change.
    #[must_use]
    pub fn is_write(&self) -> bool {
        matches!(self.verb.as_str(), "create" | "update" | "patch" | "delete" | "deletecollection")
    }

    /// Whether it was carried out.
    #[must_use]
    pub fn is_accepted(&self) -> bool {
        self.response_status.as_ref().is_some_and(|a| (200..300).contains(&a.code))
    }

    /// Whether it is about an object or list of a namespace.
    #[must_use]
    pub fn is_of(&self, namespace: &str) -> bool {
        self.object_ref.as_ref().is_some_and(|object| object.namespace == namespace)
    }

    /// Whether it is about the object of a revision.
    #[must_use]
    pub fn is_about(&self, revision: &Revision) -> bool {
        let plural = KINDS.iter().find(|(_, _, kind, _)| *kind == revision.kind).map(|k| k.3);
        self.object_ref.as_ref().is_some_and(|object| {
            Some(object.resource.as_str()) == plural
                && object.namespace == revision.namespace
                && object.name == revision.name
        })
    }

    /// The field manager that the request names.
    #[must_use]
    pub fn manager(&self) -> Option<&str> {
        let (_, query) = self.uri.split_once('?')?;
        query.split('&').find_map(|pair| pair.strip_prefix("fieldManager="))
    }
}

/// All answered requests of `user` since `since`, in order, rotated files included.
///
/// # Errors
/// When a file cannot be read or a whole line is no audit event.
pub fn audit(log: &Path, user: &str, since: DateTime<Utc>) -> Result<Vec<Request>> {
    let mut all = entries(log, |line| line.contains(user))?;
    all.retain(|r| r.user.username == user && r.request_received_timestamp >= since);
    Ok(all)
}

/// Likewise, of those who use one token: its [`User::credential`].
///
/// # Errors
/// When the log cannot be read.
pub fn audit_of(log: &Path, credential: &str, since: DateTime<Utc>) -> Result<Vec<Request>> {
    let mut all = entries(log, |line| line.contains(credential))?;
    all.retain(|r| r.user.credential() == credential && r.request_received_timestamp >= since);
    Ok(all)
}

/// The answered requests of the lines that are `wanted`, in the order of their answers, rotated files included.
fn entries(log: &Path, wanted: impl Fn(&str) -> bool) -> Result<Vec<Request>> {
    let folder = log.parent().context("the log is in a folder")?;
    let stem = log.file_stem().context("the log has a name")?.to_string_lossy().into_owned();
    let mut all = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if !(name.starts_with(&stem) && name.ends_with(".log")) {
            continue;
        }
        // Line by line: the log of a long test is large, and several tests may read it at once.
        let mut file = BufReader::new(fs::File::open(entry.path())?);
        let mut line = String::new();
        // A line without its end is being written.
        while file.read_line(&mut line)? > 0 && line.ends_with('\n') {
            if wanted(&line) {
                let request: Request =
                    serde_json::from_str(&line).context("a line of the audit log")?;
                if request.stage == "ResponseComplete" {
                    all.push(request);
                }
            }
            line.clear();
        }
    }
    all.sort_by_key(|request| request.stage_timestamp);
    Ok(all)
}

/// Never ends: yields each new revision of the history after `from`, for live output.
pub fn live(recorder: &Recorder, from: usize) -> impl futures::Stream<Item = Revision> + use<> {
    let shared = Arc::clone(&recorder.shared);
    futures::stream::unfold((shared, from), |(shared, next)| async move {
        loop {
            let found = guard(&shared.history).get(next).cloned();
            if let Some(revision) = found {
                return Some((revision, (shared, next + 1)));
            }
            sleep(Duration::from_millis(10)).await;
        }
    })
    .boxed()
}
