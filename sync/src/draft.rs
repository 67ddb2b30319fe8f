//! A decision in the making: it begins as "nothing changes" and collects what does.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use sluice_crds::application::{ApplicationStatus, HealthStatusCode, SyncStatusCode};
use sluice_crds::labels::MANAGER_STATUS;
use sluice_crds::object::{Change, Kind, Preconditions, Write, merge_patch};
use sluice_crds::time::Time;
use sluice_engine::plan::{Decision, Notice, Plan, Severity, Wake, WakeReason};
use sluice_engine::report::Report;
use sluice_engine::view::Fact;

use crate::ApplicationReconciler;
use crate::action::Action;
use crate::conditions::Conditions;
use crate::view::{ApplicationView, Task};

pub(crate) struct Draft<'a> {
    pub(crate) view: &'a ApplicationView,
    /// Begins as the status that was read.
    pub(crate) status: ApplicationStatus,
    pub(crate) conditions: Conditions,
    pub(crate) plan: Plan<Action>,
    pub(crate) tasks: BTreeSet<Task>,
    pub(crate) notices: Vec<Notice>,
    pub(crate) wake: Option<Wake>,
    pub(crate) report: Report,
    /// Whether the top-level `operation` is over.
    pub(crate) ends_operation: bool,
    /// Annotations of the Application that were acted on.
    pub(crate) consumed: BTreeSet<&'static str>,
}

impl<'a> Draft<'a> {
    pub(crate) fn new(view: &'a ApplicationView) -> Self {
        Self {
            view,
            status: view.application.status.clone(),
            conditions: Conditions::default(),
            plan: Plan::empty(),
            tasks: BTreeSet::new(),
            notices: Vec::new(),
            wake: None,
            report: Report::default(),
            ends_operation: false,
            consumed: BTreeSet::new(),
        }
    }

    pub(crate) fn now(&self) -> Time {
        Time::new(self.view.now)
    }

    pub(crate) fn wake_at(&mut self, at: chrono::DateTime<chrono::Utc>, reason: WakeReason) {
        self.wake = Wake::earliest(self.wake.take(), Some(Wake { at, reason }));
    }

    pub(crate) fn notice(&mut self, severity: Severity, reason: &'static str, message: String) {
        self.notices.push(Notice { severity, reason, message });
    }

    /// Returns the decision that changes nothing, not even conditions.
    pub(crate) fn silent(self) -> Decision<ApplicationReconciler> {
        Decision {
            plan: Plan::empty(),
            tasks: self.tasks,
            status_write: None,
            status: self.view.application.status.clone(),
            notices: Vec::new(),
            wake: self.wake,
            report: self.report,
        }
    }

    /// Returns the decision, with one write of the status if it differs by more than the time.
    pub(crate) fn finish(mut self) -> Decision<ApplicationReconciler> {
        let before = &self.view.application.status;
        self.status.conditions = self.conditions.list(&before.conditions, self.view.now);
        self.transitions();
        let asks = self.ends_operation || !self.consumed.is_empty();
        let status_write = if self.status != *before || asks {
            self.status.reconciled_at = Some(self.now());
            self.fetched();
            Some(self.status_write())
        } else {
            None
        };
        Decision {
            plan: self.plan,
            tasks: self.tasks,
            status_write,
            status: self.status,
            notices: self.notices,
            wake: self.wake,
            report: self.report,
        }
    }

    /// When Git was last asked is written along with something else, never for its own sake.
    fn fetched(&mut self) {
        let source = self.view.application.spec.effective_sources().first();
        let fact =
            source.and_then(|source| self.view.revisions.get(&crate::source::main_key(source)));
        if let (Some(Fact::Known(_, at) | Fact::Failed(_, at)), Some(sluice)) =
            (fact, &mut self.status.sluice)
        {
            sluice.fetched_at = Some(Time::new(*at));
        }
    }

    /// Health says since when; changes of it and of the sync status are events, with Argo's words.
    fn transitions(&mut self) {
        let before = &self.view.application.status;
        let old = before.health.as_ref().map(|health| health.status);
        if let Some(health) = &mut self.status.health {
            let since = before.health.as_ref().and_then(|h| h.last_transition_time);
            let now = Time::new(self.view.now);
            let same = old == Some(health.status);
            health.last_transition_time = Some(since.filter(|_| same).unwrap_or(now));
        }
        let new = self.status.health.as_ref().map(|health| health.status);
        if old != new {
            let name =
                |code: Option<HealthStatusCode>| code.map_or(String::new(), |c| format!("{c:?}"));
            let message = format!("Updated health status: {} -> {}", name(old), name(new));
            self.notice(Severity::Normal, "ResourceUpdated", message);
        }
        let old = before.sync.as_ref().map(|sync| sync.status);
        let new = self.status.sync.as_ref().map(|sync| sync.status);
        if old != new {
            let name =
                |code: Option<SyncStatusCode>| code.map_or(String::new(), |c| format!("{c:?}"));
            let message = format!("Updated sync status: {} -> {}", name(old), name(new));
            self.notice(Severity::Normal, "ResourceUpdated", message);
        }
    }

    /// Status, `operation` and annotations of an Application change in one write: it has no status subresource.
    fn status_write(&self) -> Write {
        let application = &self.view.application;
        let wire = |status| serde_json::to_value(status).expect("a status has only string keys");
        let mut body = serde_json::Map::new();
        if let Some(patch) = merge_patch(&wire(&application.status), &wire(&self.status)) {
            body.insert("status".to_owned(), patch);
        }
        if self.ends_operation {
            body.insert("operation".to_owned(), Value::Null);
        }
        if !self.consumed.is_empty() {
            let gone: serde_json::Map<String, Value> =
                self.consumed.iter().map(|key| ((*key).to_owned(), Value::Null)).collect();
            body.insert("metadata".to_owned(), json!({ "annotations": gone }));
        }
        let body = Value::Object(body);
        let (body, preconditions) = match &self.view.epoch {
            Some(epoch) => (epoch.stamped(body), epoch.preconditions(&application.meta)),
            None => (body, Preconditions::of(&application.meta)),
        };
        Write {
            object: application.meta.object(Kind::APPLICATION),
            preconditions,
            manager: MANAGER_STATUS.into(),
            change: Change::MergePatch { body },
        }
    }
}
