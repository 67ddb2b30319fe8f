//! The passes of one decision about an Application, in order.
//!
//! 1. May we act at all: leadership, another controller, deletion, spec, project.
//! 2. What is quarantined: read, released, and what failed since. Something new is recorded, and nothing else is written.
//! 3. What Git wants, and what of it may be applied.
//! 4. How live compares; status.
//! 5. What is quarantined and live is put back.
//! 6. The running operation goes on, or an automated one starts.

use sluice_crds::application::QuarantineEntry;
use sluice_crds::labels::SKIP_RECONCILE;
use sluice_crds::object::Kind;
use sluice_engine::fence::FenceState;
use sluice_engine::plan::{Decision, Severity, WakeReason};
use sluice_engine::view::Lookup;

use crate::ApplicationReconciler;
use crate::action::{Action, Verb};
use crate::comparison::{Comparison, compare};
use crate::conditions;
use crate::draft::Draft;
use crate::heal::{self, Gate};
use crate::hold::{self, Effective, Pin, RELEASE, Record};
use crate::key::ResourceKey;
use crate::manifest::ManifestSet;
use crate::operation::{self, Pass};
use crate::project::Permission;
use crate::source::{self, Wanted};
use crate::view::{ApplicationView, RenderKey};
use crate::{deletion, spec, status, track};

pub(crate) fn decide(view: &ApplicationView) -> Decision<ApplicationReconciler> {
    let mut draft = Draft::new(view);
    let application = &view.application;
    if application.meta.annotations.get(SKIP_RECONCILE).is_some_and(|value| value == "true") {
        return draft.silent();
    }
    if let Some(object) = lost(view) {
        let what =
            format!("{object} carries a stamp of a newer term: this process has lost the lease");
        draft.report.problem(what, "none: the new leader acts");
        return draft.silent();
    }
    if let Some(evidence) = &view.foreign_controller {
        let text = format!(
            "another controller acts on this application, so nothing is written: {evidence}; stop it, or set the annotation \
             `{SKIP_RECONCILE}: \"true\"` on the Application to silence this"
        );
        draft.report.problem(&text, "run one GitOps controller at a time");
        draft.conditions.add(conditions::FOREIGN_CONTROLLER, text);
        return draft.finish();
    }
    if application.meta.deletion_timestamp.is_some() {
        deletion::decide(&mut draft);
        return draft.finish();
    }
    if pass(&mut draft).is_none() && draft.status.sync.is_none() {
        // A new application shows that it was seen.
        status::unknown(&mut draft, true);
    }
    draft.finish()
}

/// Compares the view's live objects with what Git wants and may be applied; decides and writes nothing.
pub(crate) fn compare_only(view: &ApplicationView) -> Result<Comparison, String> {
    let mut draft = Draft::new(view);
    let found = compare_draft(&mut draft);
    found.ok_or_else(|| {
        let waiting = draft.report.waiting.iter().map(|waiting| waiting.what.clone());
        waiting.collect::<Vec<_>>().join("; ")
    })
}

fn compare_draft(draft: &mut Draft<'_>) -> Option<Comparison> {
    let view = draft.view;
    let permission = permission(draft)?;
    let mut record = read_record(draft)?;
    let wanted = source::wanted(draft)?;
    let steady = pinned(&mut record, &wanted);
    let set = source::manifests(draft, &steady)?;
    let effective = hold::admit(view, &set, &record);
    let comparison = compare(view, &effective, &permission);
    is_complete(draft, &comparison).then_some(comparison)
}

/// Checks the spec and what the project permits of it.
fn permission<'a>(draft: &mut Draft<'a>) -> Option<Permission<'a>> {
    let project = spec::check(draft)?;
    let spec = &draft.view.application.spec;
    let permission = Permission {
        name: spec.project_name(),
        project: &project.spec,
        destination: &spec.destination,
    };
    spec::permits(draft, &permission)?;
    Some(permission)
}

/// Returns an object whose stamp is of a newer term.
fn lost(view: &ApplicationView) -> Option<String> {
    let epoch = view.epoch.as_ref()?;
    let own = view.application.meta.object(Kind::APPLICATION);
    let is_newer = |state| matches!(state, FenceState::Lost(_));
    if is_newer(epoch.state(&own, &view.application.meta)) {
        return Some(own.to_string());
    }
    let live = view.live.values().chain([&view.record]).filter_map(Lookup::present);
    let mut newer = live.filter(|live| is_newer(epoch.state(&live.object, &live.meta)));
    newer.next().map(|live| live.object.to_string())
}

/// Runs the passes; returns early where nothing more can be decided.
fn pass(draft: &mut Draft<'_>) -> Option<()> {
    let view = draft.view;
    let permission = permission(draft)?;
    let mut record = read_record(draft)?;
    release(draft, &mut record);
    let wanted = source::wanted(draft)?;
    let steady = pinned(&mut record, &wanted);
    let Some(set) = source::manifests(draft, &steady) else {
        // A failure that is known is a comparison that failed; a rendering that is awaited changes nothing.
        if draft.conditions.has(conditions::COMPARISON_ERROR) {
            status::unknown(draft, false);
            operation_fails(draft);
        }
        remember(draft, &record, Vec::new());
        return None;
    };
    spec::hooks(draft, &set);
    let found = new_entries(draft, &set, &mut record);
    let effective = hold::admit(view, &set, &record);
    if wanted.is_fresh && steady == wanted.key {
        moot(view, &set, &mut record);
    }
    draft.tasks.extend(effective.wants.iter().cloned().map(crate::view::Task::Render));
    if let Some(at) = effective.retry_at {
        draft.wake_at(at, WakeReason::Poll);
    }
    let comparison = compare(view, &effective, &permission);
    if !is_complete(draft, &comparison) {
        remember(draft, &record, found);
        return None;
    }
    let found = health_entries(draft, &comparison, &mut record, found);
    report_holds(draft, &effective, &record, &wanted, &steady);
    for (key, owner) in &comparison.shared {
        let text = format!("{key} is part of applications `{}` and `{owner}`", instance(view));
        draft.conditions.add(conditions::SHARED_RESOURCE_WARNING, text);
    }
    if wanted.is_fresh {
        status::fill(draft, &wanted.key, &steady, &set, &effective, &comparison);
    } else if draft.conditions.has(conditions::COMPARISON_ERROR) {
        status::unknown(draft, false);
    }
    let is_recorded = remember(draft, &record, found);
    fill_sluice(draft, &record, &wanted, &steady, &comparison, effective.held.len());
    if !is_recorded {
        return Some(());
    }
    restore(draft, &comparison, &effective);
    let act = Act { permission, record, wanted, steady, set, comparison };
    act.operate(draft, effective.held.is_empty());
    Some(())
}

fn instance(view: &ApplicationView) -> String {
    track::instance(&view.application, &view.config.control_namespace)
}

/// Reads what is kept beside the status. While that is not known, nothing is written.
fn read_record(draft: &mut Draft<'_>) -> Option<Record> {
    let view = draft.view;
    let mut record = match &view.record {
        Lookup::Unknown | Lookup::NoKind => {
            draft.report.waits("reading the record of what is quarantined", None);
            return None;
        }
        Lookup::Absent => Record::default(),
        Lookup::Present(live) => match Record::read(live) {
            Ok(record) => record,
            Err(problem) => {
                let text =
                    format!("{problem}; nothing is written while what is quarantined is not known");
                draft.report.problem(&text, "restore the ConfigMap, or delete it to begin anew");
                draft.conditions.add(conditions::COMPARISON_ERROR, text);
                status::unknown(draft, false);
                return None;
            }
        },
    };
    let sluice = view.application.status.sluice.as_ref();
    record.merge_status(sluice.map_or(&[], |sluice| &sluice.quarantine));
    if record.last_healthy.is_none()
        && let Some(healthy) = sluice.and_then(|sluice| sluice.last_healthy.clone())
        && let Some(source) = view.application.spec.effective_sources().first()
    {
        record.last_healthy_source = RenderKey::new(&healthy.revision, source).source;
        record.last_healthy = Some(healthy);
    }
    Some(record)
}

/// Acts on the annotation that releases entries.
fn release(draft: &mut Draft<'_>, record: &mut Record) {
    let Some(hashes) = draft.view.application.meta.annotations.get(RELEASE) else { return };
    let now = draft.now();
    let gone = record.release(hashes, now);
    draft.consumed.insert(RELEASE);
    for entry in &gone {
        let message = format!("released from quarantine: {}", hold::evidence(entry));
        draft.notice(Severity::Normal, "QuarantineReleased", message);
    }
    if gone.is_empty() {
        let message = format!("annotation `{RELEASE}: {hashes}` names nothing that is quarantined");
        draft.notice(Severity::Warning, "QuarantineReleased", message);
    }
}

/// Returns what the application should be at: Git's commit, or the one that somebody rolled back to while Git stays (R5).
fn pinned(record: &mut Record, wanted: &Wanted) -> RenderKey {
    match &record.pin {
        Some(pin) if pin.instead_of == wanted.key.commit => {
            RenderKey { commit: pin.commit.clone(), source: pin.source.clone() }
        }
        Some(_) if wanted.is_fresh => {
            record.pin = None;
            wanted.key.clone()
        }
        Some(_) | None => wanted.key.clone(),
    }
}

fn new_entries(
    draft: &mut Draft<'_>,
    set: &ManifestSet,
    record: &mut Record,
) -> Vec<QuarantineEntry> {
    let found = hold::detect(draft.view, &instance(draft.view), set, record);
    for entry in &found {
        record.quarantine(entry.clone());
    }
    found
}

fn health_entries(
    draft: &mut Draft<'_>,
    comparison: &Comparison,
    record: &mut Record,
    mut found: Vec<QuarantineEntry>,
) -> Vec<QuarantineEntry> {
    let (late, next) = hold::health_failures(draft.view, comparison, record);
    if let Some(at) = next {
        draft.wake_at(at, WakeReason::ProgressDeadline);
    }
    for entry in late {
        record.quarantine(entry.clone());
        found.push(entry);
    }
    found
}

/// An entry is moot while Git wants something else.
fn moot(view: &ApplicationView, set: &ManifestSet, record: &mut Record) {
    let mut entries = std::mem::take(&mut record.quarantine);
    for entry in &mut entries {
        let holds = hold::holds(view, set, entry);
        entry.moot = (!holds).then_some(true);
        if holds {
            // What is healthy may have moved on since the content failed.
            let scope = entry.scope.as_deref().unwrap_or("rollout");
            let now = hold::replacement(scope, &hold::entry_key(entry), record);
            entry.replaced_by = now.or(entry.replaced_by.take());
        }
    }
    record.quarantine = entries;
}

/// Writes down what is new, before anything else (R2). Returns whether both places have it, so that the plan may go on.
fn remember(draft: &mut Draft<'_>, record: &Record, found: Vec<QuarantineEntry>) -> bool {
    let view = draft.view;
    for entry in &found {
        let text = format!("{}; {}", hold::evidence(entry), hold::advice(entry));
        draft.notice(Severity::Warning, "RevisionRejected", text);
    }
    let stored = view.record.present().and_then(|live| Record::read(live).ok()).unwrap_or_default();
    let sluice = view.application.status.sluice.as_ref();
    let in_status = sluice.map_or(&[][..], |sluice| &sluice.quarantine);
    let is_same = |a: &[QuarantineEntry]| {
        a.len() == record.quarantine.len() && record.quarantine.iter().all(|e| has(a, e))
    };
    let is_recorded = is_same(&stored.quarantine) && is_same(in_status) && stored.pin == record.pin;
    if !is_recorded {
        record_action(draft, record);
        let sluice = draft.status.sluice.get_or_insert_default();
        status::fill_record(sluice, record);
        draft.report.waits("recording what is quarantined", None);
    }
    is_recorded
}

fn has(list: &[QuarantineEntry], entry: &QuarantineEntry) -> bool {
    list.iter().any(|have| {
        hold::entry_key(have) == hold::entry_key(entry) && have.template_hash == entry.template_hash
    })
}

fn record_action(draft: &mut Draft<'_>, record: &Record) {
    let view = draft.view;
    let object = hold::record_object(&view.application, &view.config);
    if let Some(refusal) = view.refusals.get(&ResourceKey::of(&object)) {
        let text = format!(
            "{object} cannot be written, and nothing is applied without it: {}; allow the controller to write ConfigMaps in \
             namespace `{}`",
            refusal.message, view.config.control_namespace
        );
        draft.report.problem(&text, "correct the controller's role");
        draft.conditions.add(conditions::SYNC_ERROR, text);
    }
    let live = view.record.present().map(|live| &**live);
    if let Some(write) = record.write(&view.application, &object, live, view.epoch.as_ref()) {
        draft.plan.then(vec![Action {
            verb: Verb::Record,
            key: ResourceKey::of(&object),
            commit: String::new(),
            because: "what is quarantined or healthy changed".to_owned(),
            write,
        }]);
    }
}

/// "Could not list" is never "empty" (G3).
fn is_complete(draft: &mut Draft<'_>, comparison: &Comparison) -> bool {
    let view = draft.view;
    if let Some(why) = &view.discovery.failed {
        let text = format!("cannot discover the cluster's kinds: {why}");
        draft.report.problem(&text, "check aggregated APIs with `kubectl get apiservices`");
        draft.conditions.add(conditions::COMPARISON_ERROR, text);
        status::unknown(draft, false);
        return false;
    }
    if let Some(key) = comparison.unknown.first() {
        let more = comparison.unknown.len() - 1;
        draft.report.waits(format!("reading the cluster: {key} and {more} more"), None);
        return false;
    }
    if !matches!(view.tracked, Lookup::Present(_)) {
        draft.report.waits("reading the objects that carry the application's tracking id", None);
        return false;
    }
    true
}

/// Says what is held back, and why.
fn report_holds(
    draft: &mut Draft<'_>,
    effective: &Effective,
    record: &Record,
    wanted: &Wanted,
    steady: &RenderKey,
) {
    for held in &effective.held {
        let why = held.not_restored.as_ref().map_or(String::new(), |why| format!("; {why}"));
        let text = format!("{}{why}; {}", hold::evidence(&held.entry), hold::advice(&held.entry));
        draft.report.waits_for_person(&text, hold::advice(&held.entry));
        draft.conditions.add(conditions::REVISION_REJECTED, text);
    }
    if let (Some(pin), true) = (&record.pin, wanted.key != *steady) {
        let text = format!(
            "commit {} was rolled back to {} by hand; automated sync goes on when Git wants another commit, or with a sync by hand",
            hold::short(&pin.instead_of),
            hold::short(&pin.commit)
        );
        draft.report.waits_for_person(&text, "push a commit");
        draft.conditions.add(conditions::REVISION_REJECTED, text);
    }
}

fn fill_sluice(
    draft: &mut Draft<'_>,
    record: &Record,
    wanted: &Wanted,
    steady: &RenderKey,
    comparison: &Comparison,
    holding: usize,
) {
    let mut sluice = draft.status.sluice.take().unwrap_or_default();
    status::fill_sluice(&mut sluice, draft.view, record, &wanted.key, steady, comparison, holding);
    draft.status.sluice = Some(sluice);
}

/// Puts the last healthy content in the place of what is quarantined and live. This is no sync: it happens whether or not the
/// application is synced by itself, and does not occupy the operation.
fn restore(draft: &mut Draft<'_>, comparison: &Comparison, effective: &Effective) {
    let view = draft.view;
    let mut stage = Vec::new();
    for item in comparison.items.iter().filter(|item| item.is_held && item.is_writable()) {
        let is_there = item.live.is_some();
        if is_there
            && !is_quarantined_live(view, item, effective)
            && !view.application.spec.self_heals()
        {
            continue;
        }
        match heal::gate(&view.application.status, &view.config, &item.key, view.now) {
            // What is missing is created at once: the last healthy content is what should serve.
            Gate::Open => {}
            Gate::Wait(_) | Gate::Contended(_) if !is_there => {}
            Gate::Wait(at) => {
                draft.wake_at(at, WakeReason::SelfHeal);
                continue;
            }
            Gate::Contended(until) => {
                operation::contended(draft, item, until);
                continue;
            }
        }
        if let Some(action) = operation::action(draft, item, Verb::Restore) {
            if is_there {
                heal::count(&mut draft.status, &view.config, &item.key, view.now);
            }
            draft.report.decided.push(format!("{}: last healthy content", item.key));
            stage.push(action);
        }
    }
    // ConfigMaps before the Rollout that mounts them.
    let (rollouts, others): (Vec<_>, Vec<_>) =
        stage.into_iter().partition(|action: &Action| action.key.is_rollout());
    draft.plan.then(others);
    draft.plan.then(rollouts);
}

/// Returns whether the live object has what is quarantined. A ConfigMap or Secret of the scope has if it is not what it was.
fn is_quarantined_live(
    view: &ApplicationView,
    item: &crate::comparison::Item,
    effective: &Effective,
) -> bool {
    let Some(live) = &item.live else { return false };
    if !item.key.is_rollout() {
        return true;
    }
    let collisions = view.rollout(&item.key).and_then(|rollout| rollout.status.collision_count);
    effective.held.iter().any(|held| {
        hold::entry_key(&held.entry) != item.key
            || hold::matches(&held.entry, &item.key, &live.body, collisions)
    })
}

fn operation_fails(draft: &mut Draft<'_>) {
    let view = draft.view;
    if let Some((_, state)) = operation::current(view)
        && state.finished_at.is_none()
    {
        let message = draft.conditions.text(conditions::COMPARISON_ERROR);
        operation::fail(draft, state, &message);
    }
}

/// What the last passes work with.
struct Act<'a> {
    permission: Permission<'a>,
    record: Record,
    wanted: Wanted,
    steady: RenderKey,
    set: ManifestSet,
    comparison: Comparison,
}

impl Act<'_> {
    fn operate(mut self, draft: &mut Draft<'_>, nothing_held: bool) {
        let view = draft.view;
        let current = operation::current(view);
        if !self.wanted.is_fresh {
            // Git could not be asked: nothing is synced to a commit that it may not want any more (G3).
            if draft.conditions.has(conditions::COMPARISON_ERROR) {
                operation_fails(draft);
            }
            return;
        }
        if let Some((operation, state)) = &current
            && self.pins(draft, operation, state)
        {
            return;
        }
        self.observe_healthy(draft, nothing_held);
        if let Some(why) = crate::prune::mass_prune(&self.comparison)
            && !crate::prune::is_approved(&view.application, &self.steady.commit)
        {
            let text =
                format!("{why}, and that waits: {}", crate::prune::approval(&self.steady.commit));
            draft.report.waits_for_person(&text, "approve, or repair the source");
            draft.conditions.add(conditions::PRUNE_WAITS_FOR_APPROVAL, text);
        }
        let pass = Pass {
            permission: &self.permission,
            record: &self.record,
            steady: &self.steady,
            manifests: &self.set,
            comparison: &self.comparison,
        };
        match current {
            Some((operation, state)) => {
                operation::run(draft, &pass, &operation, state, &self.wanted.key);
            }
            None => operation::start(draft, &pass),
        }
    }

    /// A sync by hand to another commit than Git's, while automated sync is on, is kept until Git moves on; a sync by hand to
    /// Git's commit ends that. Recorded before it is acted on.
    fn pins(
        &mut self,
        draft: &mut Draft<'_>,
        operation: &sluice_crds::application::Operation,
        state: &sluice_crds::application::OperationState,
    ) -> bool {
        if operation::is_automated(operation) || !draft.view.application.spec.is_automated() {
            return false;
        }
        let Ok(Some(target)) = operation::target(draft, operation, state, &self.wanted.key) else {
            return false;
        };
        let sync = operation.sync.as_ref();
        if sync.is_none_or(|sync| sync.dry_run == Some(true) || !sync.resources.is_empty()) {
            return false;
        }
        let pin = (target != self.wanted.key).then(|| Pin {
            instead_of: self.wanted.key.commit.clone(),
            commit: target.commit.clone(),
            source: target.source.clone(),
            at: state.started_at,
        });
        let place =
            |pin: &Option<Pin>| pin.as_ref().map(|p| (p.instead_of.clone(), p.commit.clone()));
        if place(&pin) == place(&self.record.pin) {
            return false;
        }
        self.record.pin = pin;
        record_action(draft, &self.record);
        draft.status.operation_state = Some(state.clone());
        true
    }

    fn observe_healthy(&mut self, draft: &mut Draft<'_>, nothing_held: bool) {
        let comparison = &self.comparison;
        let is_whole = nothing_held
            && self.steady == self.wanted.key
            && !comparison.is_out_of_sync()
            && comparison.health == sluice_crds::application::HealthStatusCode::Healthy;
        hold::observe_healthy(draft.view, comparison, &self.steady, is_whole, &mut self.record);
        record_action(draft, &self.record);
        let sluice = draft.status.sluice.get_or_insert_default();
        status::fill_record(sluice, &self.record);
    }
}
