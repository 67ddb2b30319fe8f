//! What Git wants: polling, resolving and rendering, as facts that are there, are awaited, or could not be found out.

use std::collections::BTreeSet;

use chrono::Duration;
use sluice_crds::application::{ApplicationRecord, ApplicationSource};
use sluice_crds::duration;
use sluice_crds::labels::REFRESH;
use sluice_engine::plan::WakeReason;
use sluice_engine::view::{Fact, Lookup};

use crate::draft::Draft;
use crate::hold::{Record, short};
use crate::key::ResourceKey;
use crate::manifest::{self, ManifestSet};
use crate::view::{ApplicationView, LiveObject, RenderKey, RevisionKey, Task};

/// Returns the revisions that a view must resolve: the source's, and that of a requested operation.
pub fn revision_keys(application: &ApplicationRecord) -> BTreeSet<RevisionKey> {
    let mut keys: BTreeSet<RevisionKey> =
        application.spec.effective_sources().iter().take(1).map(main_key).collect();
    keys.extend(operation_revision(application));
    keys
}

pub(crate) fn main_key(source: &ApplicationSource) -> RevisionKey {
    RevisionKey { url: source.repo_url.clone(), revision: source.revision().to_owned() }
}

/// Returns the revision that a requested operation names, unless it is a full commit id.
pub(crate) fn operation_revision(application: &ApplicationRecord) -> Option<RevisionKey> {
    let sync = application.operation.as_ref()?.sync.as_ref()?;
    let revision = sync.revision.clone().filter(|r| !r.is_empty() && !is_commit(r))?;
    let source = sync.source.as_ref().or(application.spec.effective_sources().first())?;
    Some(RevisionKey { url: source.repo_url.clone(), revision })
}

/// Returns whether a revision is a full commit id.
pub(crate) fn is_commit(revision: &str) -> bool {
    matches!(revision.len(), 40 | 64) && revision.bytes().all(|b| b.is_ascii_hexdigit())
}

/// Returns the renderings that a view must contain if they are there: of what Git wants, of running operations, and of the
/// last healthy commits. `revisions` and `record` are those of the view.
pub fn render_keys(
    application: &ApplicationRecord,
    revisions: &std::collections::BTreeMap<RevisionKey, Fact<crate::view::Revision>>,
    record: &Lookup<std::sync::Arc<LiveObject>>,
) -> BTreeSet<RenderKey> {
    let mut keys = BTreeSet::new();
    let sources = application.spec.effective_sources();
    let state = application.status.operation_state.as_ref();
    let asked = application.operation.as_ref().or(state.map(|s| &s.operation));
    let asked = asked.and_then(|operation| operation.sync.as_ref());
    let running = state.and_then(|s| s.sync_result.as_ref()).map(|result| result.revision.as_str());
    let known = application.status.sluice.as_ref().and_then(|s| s.desired.as_deref());
    let operation_source = asked.and_then(|sync| sync.source.as_ref());
    for source in sources.iter().take(1).chain(operation_source) {
        for fact in revisions.values() {
            if let Fact::Known(revision, _) = fact {
                keys.insert(RenderKey::new(&revision.commit, source));
            }
        }
        let named = asked.and_then(|sync| sync.revision.as_deref()).filter(|r| is_commit(r));
        for commit in [running, known, named].into_iter().flatten().filter(|c| !c.is_empty()) {
            keys.insert(RenderKey::new(commit, source));
        }
    }
    if let Some(record) = record.present().and_then(|live| Record::read(live).ok()) {
        let scopes = record.healthy.into_values().map(|scope| (scope.revision, scope.source));
        let whole = record.last_healthy.map(|h| (h.revision, record.last_healthy_source));
        let pin = record.pin.map(|pin| (pin.commit, pin.source));
        keys.extend(
            scopes.chain(whole).chain(pin).map(|(commit, source)| RenderKey { commit, source }),
        );
    }
    keys
}

/// Returns the addresses at which a view must look for live objects: of everything that any rendering in the view wants, of
/// what was healthy, and the namespaces around them. `view.live` and `view.tracked` may be empty.
pub fn target_keys(view: &ApplicationView) -> BTreeSet<ResourceKey> {
    let destination = view.application.spec.destination.namespace.as_deref();
    let mut keys = BTreeSet::new();
    for (key, fact) in &view.rendered {
        if let Fact::Known(rendered, _) = fact {
            let set = manifest::read(rendered, &key.commit, destination, &view.discovery);
            keys.extend(set.manifests.into_keys());
        }
    }
    if let Some(record) = view.record.present().and_then(|live| Record::read(live).ok()) {
        for scope in record.healthy.values() {
            let rendered =
                crate::view::Rendered { manifests: scope.manifests.clone(), ..Default::default() };
            let set = manifest::read(&rendered, &scope.revision, destination, &view.discovery);
            keys.extend(set.manifests.into_keys());
        }
    }
    for rollout in &view.rollouts {
        keys.insert(ResourceKey::of(&rollout.meta.object(sluice_crds::object::Kind::ROLLOUT)));
    }
    let namespaces: BTreeSet<String> =
        keys.iter().map(|key| key.namespace.clone()).filter(|n| !n.is_empty()).collect();
    keys.extend(namespaces.iter().map(|namespace| ResourceKey::namespace(namespace)));
    keys.extend(destination.map(ResourceKey::namespace));
    keys
}

/// What Git wants.
pub(crate) struct Wanted {
    /// The commit and source.
    pub(crate) key: RenderKey,
    /// Whether Git said so when it was last asked. If not, this is the last commit that is known: nothing is synced to it.
    pub(crate) is_fresh: bool,
}

/// Asks Git when it is time, and returns what it wants. Failures become conditions.
pub(crate) fn wanted(draft: &mut Draft<'_>) -> Option<Wanted> {
    let view = draft.view;
    let source = view.application.spec.effective_sources().first()?;
    let key = main_key(source);
    let fact = view.revisions.get(&key).unwrap_or(&Fact::Pending);
    poll(draft, &key, fact);
    let last = view.application.status.sluice.as_ref().and_then(|s| s.desired.clone());
    match fact {
        Fact::Known(revision, _) => {
            Some(Wanted { key: RenderKey::new(&revision.commit, source), is_fresh: true })
        }
        Fact::Pending => {
            draft.report.waits(format!("resolving `{}` of {}", key.revision, key.url), None);
            last.map(|commit| Wanted { key: RenderKey::new(&commit, source), is_fresh: false })
        }
        Fact::Failed(error, at) => {
            let kept = last.as_deref().map_or(String::new(), |commit| {
                format!("; the last good revision {} stays", short(commit))
            });
            let message = format!(
                "cannot resolve `{}` of {} since {}: {error}{kept}",
                key.revision,
                key.url,
                at.format("%Y-%m-%dT%H:%M:%SZ")
            );
            draft
                .report
                .problem(&message, "check spec.source.repoURL and spec.source.targetRevision");
            draft.conditions.add(crate::conditions::COMPARISON_ERROR, stable_text(&message));
            last.map(|commit| Wanted { key: RenderKey::new(&commit, source), is_fresh: false })
        }
    }
}

/// Conditions are compared by text: an instant that moves with every attempt would make a write of each.
fn stable_text(message: &str) -> String {
    match (message.find(" since "), message.find("Z: ")) {
        (Some(from), Some(to)) if from < to => {
            format!("{}{}", &message[..from], &message[to + 1..])
        }
        (_, _) => message.to_owned(),
    }
}

fn poll(draft: &mut Draft<'_>, key: &RevisionKey, fact: &Fact<crate::view::Revision>) {
    let view = draft.view;
    let interval = poll_interval(view);
    let last_at = match fact {
        Fact::Pending => None,
        Fact::Known(_, at) => Some((*at, interval + view.jitter)),
        // A server that is down is asked sooner than one that had nothing new.
        Fact::Failed(_, at) => Some((*at, interval.min(Duration::seconds(30)))),
    };
    let asked = view.application.meta.annotations.contains_key(REFRESH);
    let seen = view.refresh_seen_at.unwrap_or(view.now);
    let is_due = match last_at {
        None => true,
        Some((at, _)) if asked && at < seen => true,
        Some((at, interval)) => at + interval <= view.now,
    };
    if asked && last_at.is_some_and(|(at, _)| at >= seen) {
        draft.consumed.insert(REFRESH);
    }
    if is_due {
        draft.tasks.insert(Task::FetchRevision(key.clone()));
    } else if let Some((at, interval)) = last_at {
        draft.wake_at(at + interval, WakeReason::Poll);
    }
}

/// Returns the time between two looks at Git: `spec.refreshInterval`, at least 1 s, else the controller's.
pub fn poll_interval(view: &ApplicationView) -> Duration {
    let text = view.application.spec.refresh_interval.as_deref();
    let own = text.and_then(|text| duration::parse(text).ok());
    own.map_or(view.config.poll_interval, |own| own.max(Duration::seconds(1)))
}

/// Returns the manifests of a rendering; asks for it if it is not there. Failures become conditions.
pub(crate) fn manifests(draft: &mut Draft<'_>, key: &RenderKey) -> Option<ManifestSet> {
    let view = draft.view;
    match view.rendered.get(key) {
        None | Some(Fact::Pending) => {
            draft.tasks.insert(Task::Render(key.clone()));
            draft.report.waits(format!("rendering commit {}", short(&key.commit)), None);
            None
        }
        Some(Fact::Failed(error, at)) => {
            let again = *at + poll_interval(view);
            if again <= view.now {
                draft.tasks.insert(Task::Render(key.clone()));
            } else {
                draft.wake_at(again, WakeReason::Poll);
            }
            let message = format!("cannot render commit {}: {error}", short(&key.commit));
            draft.report.problem(&message, "push a commit that renders");
            draft.conditions.add(crate::conditions::COMPARISON_ERROR, message);
            None
        }
        Some(Fact::Known(rendered, _)) => {
            let namespace = view.application.spec.destination.namespace.as_deref();
            let set = manifest::read(rendered, &key.commit, namespace, &view.discovery);
            if set.problems.is_empty() {
                return Some(set);
            }
            for problem in &set.problems {
                let message = format!("commit {}: {problem}", short(&key.commit));
                draft.report.problem(&message, "push a commit whose manifests are complete");
                draft.conditions.add(crate::conditions::COMPARISON_ERROR, message);
            }
            None
        }
    }
}
