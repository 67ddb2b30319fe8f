//! The view in the words of an update: which revision plays which role. Values only, no choices.

use std::ops::Deref;
use std::sync::Arc;

use chrono::{DateTime, Duration, Utc};
use sluice_crds::labels;
use sluice_crds::object::Meta;
use sluice_crds::rollout::status::SluiceStatus;
use sluice_crds::rollout::strategy::{BlueGreenStrategy, CanaryStrategy, Strategy};
use sluice_crds::rollout::{CanaryStep, RolloutRecord, RolloutStatus};

use super::ephemeral;
use super::replicas::Threshold;
use super::spec_facts::SpecFacts;
use crate::view::{ReplicaSetRecord, RolloutView};

/// A ReplicaSet of the view.
pub(crate) type Set<'a> = &'a Arc<ReplicaSetRecord>;

/// The strategy of a Rollout: exactly one.
#[derive(Clone, Copy)]
pub(crate) enum Chosen<'a> {
    Canary(&'a CanaryStrategy),
    BlueGreen(&'a BlueGreenStrategy),
}

impl<'a> Chosen<'a> {
    /// Returns the strategy; `None` if there is none, or more than one.
    pub(crate) fn of(strategy: &'a Strategy) -> Option<Self> {
        match (strategy.canary.as_deref(), strategy.blue_green.as_deref()) {
            (Some(canary), None) => Some(Self::Canary(canary)),
            (None, Some(blue_green)) => Some(Self::BlueGreen(blue_green)),
            (Some(_), Some(_)) | (None, None) => None,
        }
    }
}

/// The roles of an update, whatever its strategy.
pub(crate) struct Roles<'a> {
    pub(crate) view: &'a RolloutView,
    pub(crate) rollout: &'a RolloutRecord,
    pub(crate) chosen: Chosen<'a>,
    /// Steps of a canary.
    pub(crate) steps: &'a [CanaryStep],
    /// `spec.replicas`.
    pub(crate) n: u32,
    /// Hash of the revision of `spec.template`: the label of its ReplicaSet, or computed while there is none.
    pub(crate) hash: String,
    /// ReplicaSet of `spec.template`.
    pub(crate) current: Option<Set<'a>>,
    /// Hash of the last fully promoted revision; `None` before the first.
    pub(crate) stable_hash: Option<&'a str>,
    /// Its ReplicaSet.
    pub(crate) stable: Option<Set<'a>>,
    /// Owned ReplicaSets that are neither, newest revision first.
    pub(crate) older: Vec<Set<'a>>,
    /// Hash of `steps`; empty for a strategy without steps.
    pub(crate) step_hash: String,
}

/// The roles of a canary.
pub(crate) struct Situation<'a> {
    roles: Roles<'a>,
    pub(crate) canary: &'a CanaryStrategy,
}

impl<'a> Deref for Situation<'a> {
    type Target = Roles<'a>;

    fn deref(&self) -> &Roles<'a> {
        &self.roles
    }
}

impl<'a> Situation<'a> {
    pub(crate) fn observe(view: &'a RolloutView, canary: &'a CanaryStrategy) -> Self {
        Self { roles: Roles::observe(view, Chosen::Canary(canary)), canary }
    }

    pub(crate) fn is_routed(&self) -> bool {
        self.canary.traffic_routing.is_some()
    }

    pub(crate) fn threshold(&self) -> Threshold {
        Threshold::of(self.canary.replica_progress_threshold.as_ref())
    }

    pub(crate) fn scale_down_delay(&self) -> Duration {
        let seconds = self.canary.scale_down_delay_seconds.unwrap_or(30);
        Duration::seconds(i64::from(seconds.max(0)))
    }
}

impl<'a> Roles<'a> {
    pub(crate) fn observe(view: &'a RolloutView, chosen: Chosen<'a>) -> Self {
        let rollout: &RolloutRecord = &view.rollout;
        let current = current_set(view);
        let hash = match current.and_then(|rs| rs.hash()) {
            Some(hash) => hash.to_owned(),
            None => wanted_hash(rollout),
        };
        let stable_hash = rollout.status.stable_rs.as_deref().filter(|hash| !hash.is_empty());
        let stable = stable_hash.and_then(|hash| view.owned(hash));
        let mut older: Vec<Set<'a>> = view
            .replica_sets
            .iter()
            .filter(|rs| rs.meta.is_owned_by(&rollout.meta.uid))
            .filter(|rs| {
                let name = &rs.meta.name;
                current.is_none_or(|c| c.meta.name != *name)
                    && stable.is_none_or(|s| s.meta.name != *name)
            })
            .collect();
        older.sort_by_key(|rs| std::cmp::Reverse(revision_of(&rs.meta)));
        let (steps, step_hash) = match chosen {
            Chosen::Canary(canary) => (
                canary.steps.as_deref().unwrap_or_default(),
                SpecFacts::of(rollout).step_hash.clone(),
            ),
            Chosen::BlueGreen(_) => (&[][..], String::new()),
        };
        Self {
            view,
            rollout,
            chosen,
            steps,
            n: view.replicas(),
            hash,
            current,
            stable_hash,
            stable,
            older,
            step_hash,
        }
    }

    pub(crate) fn status(&self) -> &'a RolloutStatus {
        &self.view.rollout.status
    }

    pub(crate) fn sluice(&self) -> SluiceStatus {
        self.status().sluice.clone().unwrap_or_default()
    }

    pub(crate) fn now(&self) -> DateTime<Utc> {
        self.view.now
    }

    /// Whether the revision of `spec.template` is the stable one.
    pub(crate) fn is_promoted(&self) -> bool {
        self.stable_hash == Some(self.hash.as_str())
    }

    /// Whether nothing was ever promoted.
    pub(crate) fn is_first(&self) -> bool {
        self.stable_hash.is_none()
    }

    /// Whether a new template or new steps are not in the status yet.
    pub(crate) fn is_changed(&self) -> bool {
        self.is_new_revision() || self.is_new_steps() || self.is_unknown()
    }

    /// Whether the status records no revision at all.
    fn is_unknown(&self) -> bool {
        self.status().current_pod_hash.as_deref().unwrap_or_default().is_empty()
    }

    /// Whether the ReplicaSet of `spec.template` cannot be created because one that is not ours has its name.
    pub(crate) fn is_taken(&self) -> bool {
        let name = || format!("{}-{}", self.rollout.meta.name, self.hash);
        self.current.is_none() && self.view.taken.contains(&name())
    }

    pub(crate) fn is_new_revision(&self) -> bool {
        let recorded = self.status().current_pod_hash.as_deref().unwrap_or_default();
        !recorded.is_empty() && recorded != self.hash
    }

    fn is_new_steps(&self) -> bool {
        let recorded = self.status().current_step_hash.as_deref().unwrap_or_default();
        recorded != self.step_hash
    }

    /// Index of the current step, at most the number of steps.
    pub(crate) fn index(&self) -> usize {
        let index = self.status().current_step_index.unwrap_or(0);
        usize::try_from(index).unwrap_or(0).min(self.steps.len())
    }

    /// Current step; `None` once all are done.
    pub(crate) fn step(&self) -> Option<&'a CanaryStep> {
        self.steps.get(self.index())
    }

    /// Whether an abort is on record or asked for, and there is something to go back to.
    pub(crate) fn is_aborted(&self) -> bool {
        self.status().abort == Some(true) && !self.is_promoted() && !self.is_first()
    }

    /// Whether the user asked for full promotion.
    pub(crate) fn is_promote_full(&self) -> bool {
        self.status().promote_full == Some(true) && !self.is_promoted()
    }

    /// Whether the template went back to an older revision that needs no second judgement: within `spec.rollbackWindow`, or, of
    /// a blue-green update, while its ReplicaSet still waited for its scale-down delay (`spec-rollouts` 3.8, 3.9).
    pub(crate) fn is_fast_rollback(&self) -> bool {
        if !self.is_rollback() {
            return false;
        }
        let in_time = match self.chosen {
            Chosen::Canary(_) => false,
            Chosen::BlueGreen(_) => self.sluice().fast_rollback == Some(true),
        };
        in_time && !self.is_new_revision() || self.is_within_window()
    }

    /// Whether the revision of `spec.template` is an older one than the stable one.
    pub(crate) fn is_rollback(&self) -> bool {
        let (Some(current), Some(stable)) = (self.current, self.stable) else { return false };
        !self.is_promoted() && current.meta.creation_timestamp < stable.meta.creation_timestamp
    }

    fn is_within_window(&self) -> bool {
        let window = self.rollout.spec.rollback_window.as_ref().and_then(|w| w.revisions);
        let (Some(window), Some(current), Some(stable)) = (window, self.current, self.stable)
        else {
            return false;
        };
        let created = |rs: Set<'_>| rs.meta.creation_timestamp;
        let between = self
            .older
            .iter()
            .filter(|rs| created(rs) > created(current) && created(rs) < created(stable))
            .count();
        usize::try_from(window).is_ok_and(|window| between < window)
    }

    /// Whether steps are passed over: full promotion or fast rollback.
    pub(crate) fn skips_steps(&self) -> bool {
        self.is_promote_full() || self.is_fast_rollback()
    }

    pub(crate) fn is_paused_by_user(&self) -> bool {
        self.rollout.spec.paused == Some(true)
    }

    pub(crate) fn has_pause(&self, reason: &str) -> bool {
        self.status().pause_conditions.iter().flatten().any(|c| c.reason == reason)
    }

    /// Available Pods of the revision of `spec.template`, as far as its ReplicaSet's status describes its spec.
    pub(crate) fn current_available(&self) -> u32 {
        self.current.map_or(0, |rs| rs.available())
    }

    pub(crate) fn stable_available(&self) -> u32 {
        self.stable.map_or(0, |rs| rs.available())
    }

    /// Owned ReplicaSets.
    pub(crate) fn owned(&self) -> impl Iterator<Item = Set<'a>> + '_ {
        self.current
            .into_iter()
            .chain(self.stable.filter(|_| !self.is_promoted()))
            .chain(self.older.iter().copied())
    }

    /// Revision number that the current ReplicaSet should carry: above all others, never lowered.
    pub(crate) fn revision(&self) -> u64 {
        let own = self.current.map_or(0, |rs| revision_of(&rs.meta));
        let name = self.current.map(|rs| rs.meta.name.as_str());
        let others = self
            .view
            .replica_sets
            .iter()
            .filter(|rs| Some(rs.meta.name.as_str()) != name)
            .map(|rs| revision_of(&rs.meta))
            .max()
            .unwrap_or(0);
        own.max(others.saturating_add(1))
    }
}

/// Returns the revision annotation as a number; 0 without one.
pub(crate) fn revision_of(meta: &Meta) -> u64 {
    meta.annotations.get(labels::REVISION).and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Returns the hash that a new ReplicaSet of the template gets.
pub(crate) fn wanted_hash(rollout: &RolloutRecord) -> String {
    SpecFacts::of(rollout).hash.clone()
}

/// Finds the ReplicaSet of `spec.template`: by our hash, by the older form of the hash, by equality of templates
/// (`spec-rollouts` 2.2). Unowned ones count: they are adopted.
pub(crate) fn current_set(view: &RolloutView) -> Option<Set<'_>> {
    let template = view.rollout.spec.template.as_ref()?;
    let facts = SpecFacts::of(&view.rollout);
    let uid = &view.rollout.meta.uid;
    let mut candidates: Vec<Set<'_>> = view
        .replica_sets
        .iter()
        .filter(|rs| rs.meta.owner.is_none() || rs.meta.is_owned_by(uid))
        .filter(|rs| rs.meta.deletion_timestamp.is_none() && rs.hash().is_some())
        .collect();
    candidates.sort_by(|a, b| {
        (a.meta.creation_timestamp, &a.meta.name).cmp(&(b.meta.creation_timestamp, &b.meta.name))
    });
    let by_hash = |hash: &str| candidates.iter().find(|rs| rs.hash() == Some(hash)).copied();
    by_hash(&facts.hash)
        .or_else(|| by_hash(facts.legacy_hash(&view.rollout)))
        .or_else(|| candidates.iter().find(|rs| ephemeral::is_of(rs, template)).copied())
}
