//! Installs the former version, pushes the new one, and lets time pass.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::iter::Peekable;
use std::rc::Rc;
use std::sync::Arc;
use std::vec::IntoIter;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Value, json};
use sluice_crds::object::{Kind, ObjectRef};
use sluice_crds::rollout::{RolloutRecord, RolloutSpec};
use sluice_engine::report::{Report, WaitingKind};

use super::answers::{Answering, Since};
use super::cast::Cast;
use super::made_up::{self, address};
use super::outcome::{self, End};
use super::recorder::Recorder;
use super::shares::Versions;
use super::timeline::{Outcome, Step, Timeline, in_seconds};
use super::version::text;
use super::{Input, SimulateError, steps};
use crate::api_server::{Call, Reply};
use crate::scenario::controller::Controller;
use crate::scenario::transcript::Transcript;
use crate::scenario::{self, Deed, Event, ScenarioError, start};
use crate::workloads::WorkloadConfig;
use crate::world::World;

/// How long the former version may take to become healthy.
const INSTALL: TimeDelta = TimeDelta::hours(1);
/// How long a pause that nobody ends is looked at.
const PATIENCE: TimeDelta = TimeDelta::minutes(10);
/// Instants at which something happens, at most: a bound on the time that a simulation takes.
const INSTANTS: usize = 50_000;

/// Plays an update.
pub(super) fn play(input: &Input) -> Result<Timeline, SimulateError> {
    let cast = Cast::of(input)?;
    let mut player = Player::new(input, &cast);
    let mut assumed = player.load(&cast)?;
    let is_installed = player.install()?;
    if is_installed {
        player.push(&cast)?;
        player.run()?;
    } else {
        player.look();
    }
    assumed.extend(cast.assumed.iter().cloned());
    assumed.extend(player.assumed.borrow().iter().cloned());
    let outcome = player.outcome(is_installed);
    Ok(player.timeline(&cast, assumed, outcome))
}

struct Player<'a> {
    input: &'a Input,
    object: ObjectRef,
    spec: RolloutSpec,
    steps: Vec<Step>,
    world: World,
    controller: Controller,
    transcript: Transcript,
    recorder: Option<Recorder>,
    pushed: Rc<Cell<DateTime<Utc>>>,
    assumed: Rc<RefCell<BTreeSet<String>>>,
    deeds: Peekable<IntoIter<(DateTime<Utc>, Deed)>>,
    failed: usize,
    paused_since: Option<DateTime<Utc>>,
    is_promoted: bool,
}

impl<'a> Player<'a> {
    fn new(input: &'a Input, cast: &Cast) -> Self {
        let config = WorkloadConfig {
            ready_after: input.pods.ready,
            terminated_after: input.pods.terminated,
            endpoint_delay: input.pods.listed,
        };
        let pushed = Rc::new(Cell::new(start()));
        let assumed = Rc::new(RefCell::new(BTreeSet::new()));
        let answering = Answering::new(&input.answers, &pushed, &assumed);
        Self {
            input,
            object: cast.object.clone(),
            spec: cast.spec.clone(),
            steps: steps::of(&cast.spec),
            world: World::new(start(), config),
            controller: Controller::new(Box::new(answering)),
            transcript: Transcript::new(start()),
            recorder: None,
            pushed,
            assumed,
            deeds: Vec::new().into_iter().peekable(),
            failed: 0,
            paused_since: None,
            is_promoted: false,
        }
    }

    /// Creates everything but the Rollout, then that. Returns what is assumed.
    fn load(&mut self, cast: &Cast) -> Result<Vec<String>, SimulateError> {
        let mut assumed = Vec::new();
        let made = made_up::missing(&cast.before, &cast.rollout, &cast.spec);
        let objects: Vec<&Value> =
            cast.before.iter().chain(made.iter().map(|made| &made.object)).collect();
        let (rollouts, others): (Vec<&Value>, Vec<&Value>) =
            objects.into_iter().partition(|object| object["kind"] == "Rollout");
        for object in others.iter().chain(&rollouts) {
            self.make_namespace(text(object, "/metadata/namespace"))?;
            if self.world.api.path_of(object).is_err() {
                let kind = text(object, "/kind");
                assumed.push(format!("{kind} {} is left out", text(object, "/metadata/name")));
                continue;
            }
            if object["kind"] == "Rollout" && address(Kind::ROLLOUT, object) != cast.object {
                continue;
            }
            self.apply(object)?;
        }
        if !made.is_empty() {
            let names: Vec<String> = made.iter().map(made_up::MadeUp::name).collect();
            assumed.push(format!("made up, because the manifests lack them: {}", names.join(", ")));
        }
        Ok(assumed)
    }

    fn make_namespace(&mut self, name: &str) -> Result<(), SimulateError> {
        let object = ObjectRef::cluster(Kind::NAMESPACE, name);
        if name.is_empty() || self.world.api.get(&object).is_some() {
            return Ok(());
        }
        let body = json!({ "apiVersion": "v1", "kind": "Namespace", "metadata": { "name": name } });
        self.apply(&body)
    }

    /// Applies a manifest as a GitOps controller does.
    fn apply(&mut self, object: &Value) -> Result<(), SimulateError> {
        let what = format!("{} {}", text(object, "/kind"), text(object, "/metadata/name"));
        let refused = |message: String| ScenarioError::Refused { what: what.clone(), message };
        let path =
            self.world.api.path_of(object).map_err(|failure| refused(failure.to_string()))?;
        let call = Call::new("PATCH", &format!("{path}?fieldManager=git&force=true"));
        let call = call.with_body("application/apply-patch+yaml", object).by("git");
        match self.world.handle(&call) {
            Reply::Json { code, body } if code >= 300 => {
                Err(refused(text(&body, "/message").to_owned()).into())
            }
            Reply::Json { .. } | Reply::Text(_) | Reply::Watch(_) => Ok(()),
        }
    }

    /// Lets the former version come to rest. Returns whether it is healthy.
    fn install(&mut self) -> Result<bool, SimulateError> {
        let end = start() + INSTALL;
        for _ in 0..INSTANTS {
            self.settle();
            if self.is_healthy() {
                // Pushed at a whole second, so that times of objects and of the timeline agree.
                let whole = TimeDelta::seconds((self.world.now() - start()).num_seconds() + 1);
                self.advance(start() + whole);
                return Ok(true);
            }
            match self.next_at().filter(|next| *next <= end) {
                Some(next) => self.world.advance_to(next),
                None => break,
            }
        }
        Ok(false)
    }

    fn advance(&mut self, to: DateTime<Utc>) {
        while let Some(next) = self.next_at().filter(|next| *next <= to) {
            self.world.advance_to(next);
            self.settle();
        }
        self.world.advance_to(to);
        self.settle();
    }

    fn rollout(&self) -> Option<RolloutRecord> {
        let object = self.world.api.get(&self.object)?;
        serde_json::from_value((*object).clone()).ok()
    }

    fn is_healthy(&self) -> bool {
        self.rollout().is_some_and(|rollout| {
            rollout.status.phase.as_deref() == Some("Healthy")
                && rollout.status.observed_generation == Some(rollout.meta.generation.to_string())
        })
    }

    /// Lets the controller and the cluster act until nothing changes, and notes what they did.
    fn settle(&mut self) {
        let recorder = &mut self.recorder;
        self.controller.settle_watched(&mut self.world, &mut self.transcript, |world, said| {
            let entries = said.take_entries();
            if let Some(recorder) = recorder {
                recorder.watch(world, entries);
            }
        });
    }

    /// Begins to record.
    fn look(&mut self) {
        let mut versions = Versions {
            namespace: self.object.namespace.clone().unwrap_or_default(),
            uid: self.rollout().map(|rollout| rollout.meta.uid).unwrap_or_default(),
            old: BTreeSet::new(),
        };
        versions.old = versions.hashes(&self.world);
        let now = self.world.now();
        self.pushed.set(now);
        let mut recorder = Recorder::new(&self.object, &self.spec, versions, now);
        recorder.watch(&self.world, Vec::new());
        self.recorder = Some(recorder);
    }

    fn push(&mut self, cast: &Cast) -> Result<(), SimulateError> {
        self.look();
        let now = self.world.now();
        let mut deeds: Vec<(DateTime<Utc>, Deed)> = Vec::new();
        deeds.extend(self.input.deeds.iter().map(|(at, deed)| (now + *at, deed.of_scenario())));
        for (at, count) in &self.input.pods.crashes {
            // The prefix is known once the new version has a ReplicaSet.
            let crash = (now + *at, Deed::FailPod(String::new()));
            deeds.extend(std::iter::repeat_n(crash, *count));
        }
        deeds.sort_by_key(|(at, _)| *at);
        self.deeds = deeds.into_iter().peekable();
        self.transcript.pushes(now);
        for object in cast.after.iter().filter(|object| !cast.before.contains(object)) {
            self.apply(object)?;
        }
        self.settle();
        Ok(())
    }

    fn next_at(&self) -> Option<DateTime<Utc>> {
        let next = [self.world.next_at(), self.controller.next_at(self.world.now())];
        next.into_iter().flatten().min()
    }

    fn run(&mut self) -> Result<(), SimulateError> {
        let end = self.pushed.get() + self.input.until;
        for _ in 0..INSTANTS {
            self.act()?;
            if self.transcript.violations() > 0 || self.has_lost_patience() {
                break;
            }
            let next = [self.next_at(), self.next_deed(), self.next_promotion(), self.limit()];
            let next = next.into_iter().flatten().filter(|next| *next > self.world.now()).min();
            match next.filter(|next| *next <= end) {
                Some(next) => self.world.advance_to(next),
                None => break,
            }
        }
        Ok(())
    }

    /// Does everything that is due now.
    fn act(&mut self) -> Result<(), SimulateError> {
        for _ in 0..INSTANTS {
            while let Some((_, deed)) = self.deeds.next_if(|(at, _)| *at <= self.world.now()) {
                self.perform(deed)?;
            }
            self.settle();
            self.notice_pause();
            let is_due = self.next_promotion().is_some_and(|at| at <= self.world.now());
            if is_due {
                self.is_promoted = true;
                self.perform(Deed::Promote(true))?;
            } else if !self.fail_pods()? {
                return Ok(());
            }
        }
        Ok(())
    }

    fn perform(&mut self, deed: Deed) -> Result<(), SimulateError> {
        let deed = match deed {
            Deed::FailPod(_) => match self.new_pods() {
                Some(prefix) => Deed::FailPod(prefix),
                None => return Ok(()),
            },
            other => other,
        };
        let event = Event { at: in_seconds(self.world.now() - start()), deed };
        scenario::perform(&mut self.world, &event, &mut self.transcript)?;
        Ok(())
    }

    /// Returns the beginning of the names of the new version's Pods.
    fn new_pods(&self) -> Option<String> {
        let sets = self.recorder.as_ref()?.new_sets(&self.world);
        sets.last().map(|(name, _)| format!("{name}-"))
    }

    /// Lets Pods of the new version fail that are to fail from the start. Returns whether one did.
    fn fail_pods(&mut self) -> Result<bool, SimulateError> {
        let Some(prefix) = self.new_pods().filter(|_| self.failed < self.input.pods.failing) else {
            return Ok(false);
        };
        let key = crate::workloads::BEHAVIOUR;
        let pods = self.world.api.objects(&Kind::POD, self.object.namespace.as_deref());
        let is_well = |pod: &&Arc<Value>| {
            text(pod, "/metadata/name").starts_with(&prefix)
                && pod["metadata"]["annotations"][key].is_null()
        };
        if pods.iter().filter(is_well).count() == 0 {
            return Ok(false);
        }
        self.failed += 1;
        self.perform(Deed::FailPod(prefix))?;
        Ok(true)
    }

    /// Notes since when it waits for a person.
    fn notice_pause(&mut self) {
        let waits = self.waits().contains(&WaitingKind::Person);
        if !waits {
            self.paused_since = None;
            self.is_promoted = false;
        } else if self.paused_since.is_none() {
            self.paused_since = Some(self.world.now());
        }
    }

    fn report(&self) -> Report {
        self.transcript.report(&self.object).cloned().unwrap_or_default()
    }

    fn waits(&self) -> Vec<WaitingKind> {
        self.report().waiting.iter().map(|wait| wait.kind).collect()
    }

    fn next_deed(&mut self) -> Option<DateTime<Utc>> {
        self.deeds.peek().map(|(at, _)| *at)
    }

    fn next_promotion(&self) -> Option<DateTime<Utc>> {
        let after = self.input.promote_after.filter(|_| !self.is_promoted)?;
        Some(self.paused_since? + after)
    }

    /// Returns until when a pause that nobody ends is looked at: some time, and until the trace is over.
    fn limit(&self) -> Option<DateTime<Utc>> {
        let scripts = self.input.answers.scripts.values().flatten();
        let last = scripts.filter_map(|script| match script.from {
            Since::Time(from) => Some(self.pushed.get() + from),
            Since::Measurement(_) => None,
        });
        let since = self.paused_since.filter(|_| self.next_promotion().is_none())?;
        last.chain([since + PATIENCE]).max()
    }

    fn has_lost_patience(&mut self) -> bool {
        self.next_deed().is_none() && self.limit().is_some_and(|limit| limit <= self.world.now())
    }

    fn outcome(&self, is_installed: bool) -> Outcome {
        let Some(recorder) = &self.recorder else {
            return Outcome::NotInstalled { why: "nothing was seen".to_owned(), waits: Vec::new() };
        };
        let status = self.rollout().map(|rollout| rollout.status).unwrap_or_default();
        let is_new = recorder.new_sets(&self.world).iter().any(|(_, hash)| {
            status.stable_rs.as_ref() == Some(hash)
                && status.current_pod_hash.as_ref() == Some(hash)
        });
        outcome::of(&End {
            status: &status,
            report: &self.report(),
            steps: &self.steps,
            is_installed,
            is_new_stable: is_new,
            is_at_rest: self.next_at().is_none(),
            violation: recorder.violation.as_deref(),
            promoted_at: recorder.promoted_at,
            aborted_at: recorder.aborted_at,
            paused_since: self.paused_since.map(|since| in_seconds(since - self.pushed.get())),
        })
    }

    fn timeline(self, cast: &Cast, assumed: Vec<String>, outcome: Outcome) -> Timeline {
        let Self { recorder, steps, spec, .. } = self;
        let (samples, events, analysis) = match recorder {
            Some(recorder) => (recorder.samples, recorder.events, recorder.analysis),
            None => (Vec::new(), Vec::new(), Vec::new()),
        };
        let ends = [samples.last().map(|s| s.at_seconds), events.last().map(|e| e.at_seconds)];
        Timeline {
            version: 1,
            namespace: cast.object.namespace.clone().unwrap_or_default(),
            name: cast.object.name.clone(),
            strategy: steps::strategy(&spec.strategy),
            replicas: u32::try_from(spec.replicas.unwrap_or(1)).unwrap_or(0),
            routed_by: routed_by(&spec),
            steps,
            before: cast.words.0.clone(),
            after: cast.words.1.clone(),
            assumed,
            samples,
            events,
            analysis,
            outcome,
            end_seconds: ends.into_iter().flatten().fold(0.0, f64::max),
        }
    }
}

/// Returns what moves traffic, in words.
fn routed_by(spec: &RolloutSpec) -> Option<String> {
    if let Some(blue_green) = spec.strategy.blue_green.as_deref() {
        let service = blue_green.active_service.as_deref().unwrap_or_default();
        return Some(format!("Service {service}"));
    }
    let routing = spec.strategy.canary.as_deref()?.traffic_routing.as_deref()?;
    let istio = routing.istio.as_ref()?;
    let names: Vec<&str> = istio.all_virtual_services().map(|route| &*route.name).collect();
    (!names.is_empty()).then(|| format!("VirtualService {}", names.join(", ")))
}
