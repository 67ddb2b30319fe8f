//! S21: no hot loop, and silence once everything is done.

use chrono::Duration;

use super::super::state::State;
use super::{History, Key, Step};

/// Writes of ours that are tolerated in a minute in which nothing moves.
const WRITES: usize = 20;
/// Touches of a Rollout's objects that are tolerated in a minute of one term: one of each, and some after lost answers.
const TOUCHES: usize = 40;
/// How long after our answer to the last input the last counts may be written.
const SETTLES: Duration = Duration::seconds(15);

impl History {
    /// Counts writes between which nothing moves. Touches are counted apart: each new term makes one of each object.
    pub(super) fn busy(&mut self, step: &Step<'_>, before: Option<&State>, after: &State) {
        let at = step.at();
        let acts = before.is_none_or(|before| before.differs_in_deed(after));
        let term = step.is_touch().then(|| term_of(step)).flatten();
        let counts = step.ours && self.is_own(step);
        let memory = self.memory.entry(after.rollout.meta.uid.clone()).or_default();
        let mut too_many = None;
        if let Some(term) = term {
            let touches = memory.touches.entry(term).or_default();
            touches.retain(|when| at - *when < Duration::minutes(1));
            touches.push(at);
            if touches.len() > TOUCHES {
                touches.clear();
                too_many = Some(format!("more than {TOUCHES} touches of one term in a minute"));
            }
        } else if acts {
            memory.idle_writes.clear();
        } else if counts {
            memory.idle_writes.retain(|when| at - *when < Duration::minutes(1));
            memory.idle_writes.push(at);
            if memory.idle_writes.len() > WRITES {
                memory.idle_writes.clear();
                too_many = Some(format!(
                    "more than {WRITES} writes of ours in a minute in which nothing moves"
                ));
            }
        }
        if step.ours {
            let kept = memory.at_rest.filter(|_| before.is_some_and(State::is_at_rest));
            memory.at_rest = after.is_at_rest().then(|| kept.unwrap_or(at));
        }
        if let Some(detail) = too_many {
            self.fail("S21", step, detail);
        }
    }

    /// Nothing is written to what is at rest. A touch is: the new leader's first word.
    pub(super) fn rest_is_kept(&mut self, step: &Step<'_>, before: &State) {
        let memory = self.memory.get(&before.rollout.meta.uid);
        let Some(since) = memory.and_then(|memory| memory.at_rest) else { return };
        let late = step.at() - since > SETTLES;
        if before.is_at_rest() && late && !step.is_touch() && self.is_own(step) {
            let detail = format!("a write of ours, and nothing was left to do since {since}");
            self.fail("S21", step, detail);
        }
    }

    /// Whether the object is of one Rollout alone, and is no AnalysisRun: those are written with each measurement.
    fn is_own(&self, step: &Step<'_>) -> bool {
        !step.is("AnalysisRun") && self.named.get(&step.key).is_none_or(|names| names.len() < 2)
    }

    /// A revision of somebody else is an input, and we may answer whenever we are there: of the Rollouts that it concerns, or, of a kind that none names, of all.
    pub(super) fn input(&mut self, step: &Step<'_>, concerned: &[Key]) {
        // Also what sync says about an Application is an input: which content is in quarantine.
        if step.ours && !step.is("Application") {
            return;
        }
        let uid = |key: &Key| self.rollouts.get(key).map(|rollout| rollout.meta.uid.clone());
        let uids: Vec<String> = if concerned.is_empty() {
            self.rollouts.values().map(|rollout| rollout.meta.uid.clone()).collect()
        } else {
            concerned.iter().filter_map(uid).collect()
        };
        for uid in uids {
            if let Some(memory) = self.memory.get_mut(&uid) {
                memory.at_rest = None;
            }
        }
    }
}

/// The term of the stamp that the revision carries.
fn term_of(step: &Step<'_>) -> Option<String> {
    let annotations = step.revision.object["metadata"]["annotations"].as_object()?;
    let stamp = annotations
        .iter()
        .find(|(name, _)| name.starts_with(sluice_crds::labels::EPOCH_PREFIX))
        .and_then(|(_, stamp)| crate::fence::Stamp::parse(stamp.as_str()?))?;
    Some(format!("{}:{}", stamp.lease_uid, stamp.acquired))
}
