//! The one reconcile of every kind: observe, decide, audit, execute, write status, tell, keep tasks, come back.
//!
//! Nothing flows back up: what a write did is learned from the watch. What differs between kinds is an [`Observer`]: how its
//! view is built, and how its tasks are run.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use sluice_crds::object::{Kind, Meta, ObjectRef};
use sluice_engine::fence::{EpochView, FenceRules, Stamp, Term};
use sluice_engine::plan::{Decision, Lower, Notice, Reconciler, Severity, Violation, Wake};
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::clock::{self, Backoff, Clock, Jitter};
use crate::events::{Events, Subject};
use crate::execute::{self, Executor, Outcome, Stopped};
use crate::leadership::Leadership;
use crate::lease;
use crate::queue::Key;
use crate::stores::Stores;
use crate::telemetry::Telemetry;

pub(crate) mod analysis_run;
pub(crate) mod application;
pub(crate) mod experiment;
pub(crate) mod refusals;
pub(crate) mod rollout;

/// A kind's side of the reconcile.
pub(crate) trait Observer: Send + Sync + 'static {
    type R: Reconciler;

    /// Builds the view of the key, from stores and caches alone.
    fn observe(&self, key: &Key, epoch: EpochView) -> Sight<<Self::R as Reconciler>::View>;

    /// Returns the metadata of every object in the view that may carry a stamp.
    fn metas(view: &<Self::R as Reconciler>::View) -> Vec<&Meta>;

    /// Returns the task's work. Its result is a fact that the observer keeps; ending wakes the key.
    fn run(
        &self,
        key: &Key,
        view: &<Self::R as Reconciler>::View,
        task: &<Self::R as Reconciler>::Task,
    ) -> Work;

    /// Forgets a key whose object is gone.
    fn forget(&self, key: &Key);

    /// Whether views show refusals. If not, the shell keeps a refused write from being sent again at every event.
    const SEES_REFUSALS: bool = false;

    /// Told of a view whose decision was carried out without a stop.
    fn carried_out(&self, _: &<Self::R as Reconciler>::View, _: &Decision<Self::R>) {}

    /// Told what became of each write.
    fn wrote(&self, _: &Key, _: &ObjectRef, _: &Outcome) {}
}

/// Slow work outside the cluster.
pub(crate) type Work = Pin<Box<dyn Future<Output = ()> + Send>>;

/// What was seen of a key.
pub(crate) enum Sight<V> {
    /// There is no such object, or it is being deleted.
    Gone,
    /// Something that the view needs is not known yet; its arrival wakes the key.
    Waits(String),
    /// Likewise, and at this instant the key goes on without.
    WaitsUntil(String, Instant),
    /// The view.
    Found(Box<Found<V>>),
}

/// A view and the object that it is about.
pub(crate) struct Found<V> {
    pub(crate) view: V,
    pub(crate) subject: Subject,
}

/// What every reconcile uses.
pub(crate) struct Shell {
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) stores: Arc<Stores>,
    pub(crate) executor: Executor,
    pub(crate) leadership: Arc<Leadership>,
    pub(crate) lease: lease::Address,
    pub(crate) events: Events,
    pub(crate) telemetry: Arc<Telemetry>,
    pub(crate) jitter: Jitter,
    pub(crate) rules: FenceRules,
}

/// How long a task that panicked is left alone.
const PANICKED_TASK: Duration = Duration::from_secs(10);

/// What keeps a key from going on.
struct Trouble {
    backoff: Backoff,
    until: Instant,
    kind: TroubleKind,
}

#[derive(Clone, PartialEq, Eq)]
enum TroubleKind {
    /// The server refuses this write.
    Refused(ObjectRef, String),
    /// Deciding panics.
    Panicked,
    /// Anything that goes away by itself.
    Passing,
}

type Running<T> = BTreeMap<Key, BTreeMap<T, AbortHandle>>;

/// Reconciles the keys of one kind.
pub(crate) struct Reconcile<O: Observer> {
    observer: Arc<O>,
    shell: Arc<Shell>,
    running: Arc<Mutex<Running<<O::R as Reconciler>::Task>>>,
    troubles: Mutex<BTreeMap<Key, Trouble>>,
}

type ViewOf<O> = <<O as Observer>::R as Reconciler>::View;
type DecisionOf<O> = Decision<<O as Observer>::R>;

impl<O: Observer> Reconcile<O>
where
    <O::R as Reconciler>::View: Send + Sync,
    <O::R as Reconciler>::Action: Send + Sync,
    <O::R as Reconciler>::Status: Send + Sync,
    <O::R as Reconciler>::Task: Send + Sync + 'static,
{
    pub(crate) fn new(observer: Arc<O>, shell: Arc<Shell>) -> Self {
        let running = Arc::new(Mutex::new(BTreeMap::new()));
        Self { observer, shell, running, troubles: Mutex::default() }
    }

    /// Reconciles one key, once. A panic anywhere in it is this key's alone.
    pub(crate) async fn reconcile(&self, key: &Key) {
        if let Err(panic) = AssertUnwindSafe(self.attempt(key)).catch_unwind().await {
            self.quarantine(key, None, &words(&*panic));
        }
    }

    async fn attempt(&self, key: &Key) {
        let shell = &self.shell;
        if !shell.stores.expectations.are_met(key, &*shell.stores) || self.is_quarantined(key) {
            return;
        }
        let Some(epoch) = shell.leadership.epoch(shell.rules) else { return };
        let found = match self.observer.observe(key, epoch.clone()) {
            Sight::Gone => return self.forget(key),
            Sight::Waits(what) => {
                tracing::debug!(%key, %what, "waits");
                return;
            }
            Sight::WaitsUntil(what, at) => {
                tracing::debug!(%key, %what, "waits");
                return shell.stores.queue.schedule(key, Some(at));
            }
            Sight::Found(found) => found,
        };
        if !self.check_stamps(key, &epoch, &O::metas(&found.view)).await {
            return;
        }
        let begun = Instant::now();
        let decided = catch_unwind(AssertUnwindSafe(|| {
            let decision = O::R::decide(&found.view);
            let violations = O::R::audit(&found.view, &decision);
            (decision, violations)
        }));
        shell.telemetry.decided(key, begun.elapsed());
        match decided {
            Ok((decision, violations)) if violations.is_empty() => {
                self.carry_out(key, &found, decision).await;
            }
            Ok((_, violations)) => self.hold(key, &found.subject, &violations),
            Err(panic) => self.quarantine(key, Some(&found.subject), &words(&*panic)),
        }
    }

    async fn carry_out(&self, key: &Key, found: &Found<ViewOf<O>>, decision: DecisionOf<O>) {
        trace(key, &decision);
        if self.still_refused(key, &decision) {
            return;
        }
        let wrote = !decision.plan.is_empty() || decision.status_write.is_some();
        let outcome = self.write(key, &found.subject, &decision).await;
        let stopped = outcome.is_err();
        match outcome {
            Ok(()) => {
                self.troubles().remove(key);
                if wrote {
                    self.publish(key, &found.subject, &decision.notices);
                }
                self.observer.carried_out(&found.view, &decision);
            }
            Err(stopped) => self.stopped(key, &found.subject, stopped),
        }
        self.keep_tasks(key, &found.view, &decision.tasks);
        if !stopped {
            self.come_back(key, decision.wake.as_ref());
        }
        let shell = &self.shell;
        if wrote && !stopped && shell.stores.expectations.are_met(key, &*shell.stores) {
            shell.stores.queue.wake(key.clone());
        }
    }

    /// Writes the plan, and then the status. What people hear of single writes is told as they succeed.
    async fn write(
        &self,
        key: &Key,
        subject: &Subject,
        decision: &DecisionOf<O>,
    ) -> Result<(), Stopped> {
        let (executor, stores) = (&self.shell.executor, &self.shell.stores);
        let wrote =
            |object: &ObjectRef, outcome: &Outcome| self.observer.wrote(key, object, outcome);
        let told = |notices: Vec<Notice>| self.publish(key, subject, &notices);
        executor.execute(key, &decision.plan, &stores.expectations, &wrote, &told).await?;
        let Some(write) = &decision.status_write else { return Ok(()) };
        match executor.perform(key, write, false, &stores.expectations).await {
            Outcome::Applied(_) | Outcome::AlreadyExistsOurs(_) | Outcome::Gone => Ok(()),
            outcome => Err(Stopped { object: write.object.clone(), outcome }),
        }
    }

    fn troubles(&self) -> MutexGuard<'_, BTreeMap<Key, Trouble>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn is_quarantined(&self, key: &Key) -> bool {
        let troubles = self.troubles();
        let panicked = |t: &&Trouble| t.kind == TroubleKind::Panicked && t.until > Instant::now();
        troubles.get(key).is_some_and(|trouble| panicked(&trouble))
    }

    /// A refused write is not sent again at every event, only when its time has come or the plan begins otherwise.
    fn still_refused(&self, key: &Key, decision: &DecisionOf<O>) -> bool {
        if O::SEES_REFUSALS {
            return false;
        }
        let troubles = self.troubles();
        let Some(Trouble { until, kind: TroubleKind::Refused(refused, _), .. }) = troubles.get(key)
        else {
            return false;
        };
        let mut first = decision.plan.stages.first().into_iter().flatten();
        let repeats = match &decision.status_write {
            Some(write) if decision.plan.is_empty() => write.object == *refused,
            Some(_) | None => first.any(|action| action.lower().object == *refused),
        };
        repeats && *until > Instant::now()
    }

    fn trouble(&self, key: &Key, kind: TroubleKind, first: Duration, limit: Duration) -> Instant {
        let mut troubles = self.troubles();
        let fresh = || Trouble {
            backoff: Backoff::new(first, limit),
            until: Instant::now(),
            kind: kind.clone(),
        };
        let trouble = troubles.entry(key.clone()).or_insert_with(fresh);
        if std::mem::discriminant(&trouble.kind) != std::mem::discriminant(&kind) {
            *trouble = fresh();
        }
        trouble.kind = kind;
        trouble.until = Instant::now() + trouble.backoff.next(&self.shell.jitter);
        trouble.until
    }

    fn stopped(&self, key: &Key, subject: &Subject, stopped: Stopped) {
        let Stopped { object, outcome } = stopped;
        let class = outcome.as_str();
        self.shell.telemetry.held_up(key);
        let (ms, s) = (Duration::from_millis, Duration::from_secs);
        let until = match outcome {
            Outcome::Conflict(reason) => {
                tracing::debug!(%key, %object, %reason, "the world moved");
                self.trouble(key, TroubleKind::Passing, ms(20), s(1))
            }
            Outcome::Unknown(reason) => {
                tracing::warn!(%key, %object, %reason, class, "outcome of a write is unknown");
                self.trouble(key, TroubleKind::Passing, ms(50), s(5))
            }
            Outcome::Unavailable(after) => {
                tracing::warn!(%key, %object, class, "the API server is busy");
                let until = self.trouble(key, TroubleKind::Passing, ms(100), s(30));
                until.max(Instant::now() + after.unwrap_or_default().min(s(60)))
            }
            Outcome::Refused(text) if O::SEES_REFUSALS => {
                tracing::warn!(%key, %object, error = %text, "the API server refuses a write");
                self.trouble(key, TroubleKind::Passing, ms(100), s(60))
            }
            Outcome::Refused(text) => {
                let kind = TroubleKind::Refused(object.clone(), text.clone());
                let known = self.troubles().get(key).is_some_and(|t| t.kind == kind);
                let until = self.trouble(key, kind, s(2), s(60));
                if !known {
                    tracing::error!(%key, %object, error = %text, "the API server refuses a write");
                    self.tell(key, subject, "WriteRefused", format!("{object}: {text}"));
                }
                until
            }
            Outcome::NotLeading
            | Outcome::Applied(_)
            | Outcome::AlreadyExistsOurs(_)
            | Outcome::NotEvicted(_)
            | Outcome::Gone => return,
        };
        self.shell.stores.queue.schedule(key, Some(until));
    }

    fn tell(&self, key: &Key, subject: &Subject, reason: &'static str, message: String) {
        self.publish(key, subject, &[Notice { severity: Severity::Warning, reason, message }]);
    }

    fn publish(&self, key: &Key, subject: &Subject, notices: &[Notice]) {
        for notice in notices {
            tracing::info!(%key, reason = notice.reason, message = %notice.message, "notice");
            self.shell.telemetry.noticed(key, notice);
            self.shell.events.publish(subject, notice);
        }
    }

    /// A decision that breaks a law is a bug of ours: it is not executed, and the object stays where it is until another
    /// view of it leads to a lawful one.
    fn hold(&self, key: &Key, subject: &Subject, violations: &[Violation]) {
        self.shell.telemetry.held_up(key);
        let (first, limit) = (Duration::from_secs(1), Duration::from_secs(60));
        let until = self.trouble(key, TroubleKind::Passing, first, limit);
        self.shell.stores.queue.schedule(key, Some(until));
        for violation in violations {
            self.shell.telemetry.violated(violation);
            let (id, detail) = (violation.id, &violation.detail);
            tracing::error!(%key, id, %detail, "a decision breaks an invariant and is not executed");
            self.tell(key, subject, "InvariantViolated", format!("{id}: {detail}"));
        }
    }

    fn quarantine(&self, key: &Key, subject: Option<&Subject>, panic: &str) {
        let (first, limit) = (Duration::from_secs(10), Duration::from_secs(600));
        let until = self.trouble(key, TroubleKind::Panicked, first, limit);
        self.shell.stores.queue.schedule(key, Some(until));
        self.shell.telemetry.panicked(key.role);
        self.shell.telemetry.held_up(key);
        tracing::error!(%key, %panic, "reconciling panicked; the object is left alone for a while");
        if let Some(subject) = subject {
            self.tell(key, subject, "ReconciliationError", format!("deciding panicked: {panic}"));
        }
    }

    fn come_back(&self, key: &Key, wake: Option<&Wake>) {
        // A deadline that has passed already is looked at soon, but never in a tight loop.
        let shell = &self.shell;
        let delay =
            |wake: &Wake| clock::until(&*shell.clock, wake.at).max(Duration::from_millis(50));
        let at = wake.map(|wake| Instant::now() + delay(wake));
        shell.stores.queue.schedule(key, at);
    }

    fn forget(&self, key: &Key) {
        let running = self.running().remove(key);
        running.into_iter().flatten().for_each(|(_, handle)| handle.abort());
        self.troubles().remove(key);
        self.shell.stores.expectations.forget(key);
        self.shell.stores.queue.schedule(key, None);
        self.shell.telemetry.forget(key);
        self.observer.forget(key);
    }

    fn running(&self) -> MutexGuard<'_, Running<<O::R as Reconciler>::Task>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Starts what is declared and does not run; cancels what runs and is not declared.
    fn keep_tasks(
        &self,
        key: &Key,
        view: &ViewOf<O>,
        wanted: &BTreeSet<<O::R as Reconciler>::Task>,
    ) {
        let mut running = self.running();
        let mine = running.entry(key.clone()).or_default();
        mine.retain(|task, handle| {
            let keep = wanted.contains(task);
            if !keep {
                handle.abort();
            }
            keep
        });
        for task in wanted {
            if mine.contains_key(task) {
                continue;
            }
            tracing::debug!(%key, ?task, "task starts");
            let work = self.observer.run(key, view, task);
            let (running, queue) =
                (Arc::clone(&self.running), Arc::clone(&self.shell.stores.queue));
            let (ended_key, ended) = (key.clone(), task.clone());
            let telemetry = Arc::clone(&self.shell.telemetry);
            let handle = tokio::spawn(async move {
                if let Err(panic) = AssertUnwindSafe(work).catch_unwind().await {
                    telemetry.panicked(ended_key.role);
                    let panic = words(&*panic);
                    tracing::error!(key = %ended_key, task = ?ended, %panic, "a task panicked");
                    // Until then it counts as running: it would do the same again at once.
                    tokio::time::sleep(PANICKED_TASK).await;
                }
                let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
                if let Some(tasks) = running.get_mut(&ended_key) {
                    tasks.remove(&ended);
                }
                drop(running);
                queue.wake(ended_key);
            });
            mine.insert(task.clone(), handle.abort_handle());
        }
        if mine.is_empty() {
            running.remove(key);
        }
    }

    /// Looks for stamps that say that this process does not lead any more, or that nobody knows.
    async fn check_stamps(&self, key: &Key, epoch: &EpochView, metas: &[&Meta]) -> bool {
        let annotation = epoch.key();
        let stamps =
            metas.iter().filter_map(|meta| Stamp::parse(meta.annotations.get(&annotation)?));
        let mut strangers = BTreeSet::new();
        for stamp in stamps {
            if stamp.lease_uid == epoch.term.lease_uid {
                if stamp.acquired > epoch.term.acquired {
                    let reason = format!("an object carries the stamp of a newer term: {stamp}");
                    self.shell.leadership.lose(reason);
                    return false;
                }
            } else if !epoch.disowned.contains(&stamp.lease_uid) {
                strangers.insert(stamp.lease_uid);
            }
        }
        if strangers.is_empty() {
            return true;
        }
        self.disown(key, &epoch.term, strangers).await
    }

    /// Stamps of another Lease object: a restored backup, or a Lease that was made anew. If the Lease is still ours by a live
    /// read, nobody else writes under it.
    async fn disown(&self, key: &Key, term: &Term, strangers: BTreeSet<String>) -> bool {
        let shell = &self.shell;
        match lease::is_held(&shell.executor.client, &shell.lease, &term.lease_uid).await {
            Ok(true) => {
                for uid in strangers {
                    tracing::warn!(lease_uid = %uid, "stamps of a Lease that is gone are replaced");
                    shell.leadership.disown(uid);
                }
                true
            }
            Ok(false) => {
                shell.leadership.lose("objects carry the stamp of another Lease, and ours is gone");
                false
            }
            Err(error) => {
                tracing::warn!(%key, %error, "the Lease cannot be read; waiting");
                let (first, limit) = (Duration::from_millis(100), Duration::from_secs(5));
                let until = self.trouble(key, TroubleKind::Passing, first, limit);
                shell.stores.queue.schedule(key, Some(until));
                false
            }
        }
    }
}

impl<O: Observer> Drop for Reconcile<O> {
    /// Tasks do not outlive the shell that wanted them.
    fn drop(&mut self) {
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        running.values().flat_map(BTreeMap::values).for_each(AbortHandle::abort);
        running.clear();
    }
}

fn words(panic: &(dyn std::any::Any + Send)) -> String {
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_else(|| "no words".into())
}

/// One line for each decision that does something or waits for something, at debug level.
fn trace<R: Reconciler>(key: &Key, decision: &Decision<R>) {
    if !tracing::enabled!(tracing::Level::DEBUG) {
        return;
    }
    let waiting: Vec<&str> = decision.report.waiting.iter().map(|w| w.what.as_str()).collect();
    let wake = decision.wake.as_ref();
    let stages: Vec<Vec<String>> = decision.plan.stages.iter().map(|s| stage(s)).collect();
    tracing::debug!(
        %key,
        plan = ?stages,
        tasks = ?decision.tasks,
        writes_status = decision.status_write.is_some(),
        decided = ?decision.report.decided,
        ?waiting,
        wake_at = ?wake.map(|wake| wake.at),
        wake_reason = wake.map(|wake| wake.reason.as_str()),
        "decided",
    );
}

/// Returns the writes of a stage as `verb object`.
fn stage<A: Lower>(actions: &[A]) -> Vec<String> {
    let writes = actions.iter().map(Lower::lower);
    writes.map(|write| format!("{} {}", execute::verb(&write.change), write.object)).collect()
}

/// Returns the subject of Events about an object.
pub(crate) fn subject(kind: Kind, meta: &Meta) -> Subject {
    Subject {
        object: meta.object(kind),
        uid: meta.uid.clone(),
        version: meta.resource_version.clone(),
    }
}

#[cfg(test)]
mod tests;
