//! Which AnalysisRuns should exist, and what they say (`spec-rollouts` 6.1, 6.2).

use std::collections::BTreeMap;

use chrono::{DateTime, SecondsFormat};
use serde_json::{Value, json};
use sluice_crds::analysis::{AnalysisPhase, AnalysisRunSpec};
use sluice_crds::labels;
use sluice_crds::object::{Kind, ObjectRef, controller_reference};
use sluice_crds::rollout::RolloutAnalysis;
use sluice_crds::rollout::status::AnalysisRunRef;
use sluice_crds::rollout::strategy::BackgroundAnalysis;

use super::abort::Abort;
use super::action::{Action, Target};
use super::experiment::{self, Trial};
use super::situation::{Chosen, Roles, Situation};
use crate::analysis::arguments::{self, ArgumentError, RolloutSource};
use crate::analysis::{judge, named};
use crate::view::{AnalysisRunView, hash_of};

/// Why a run exists.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Purpose {
    /// An `analysis` step.
    Step,
    /// `canary.analysis`, beside the steps.
    Background,
    /// `blueGreen.prePromotionAnalysis`, before users are switched.
    PrePromotion,
    /// `blueGreen.postPromotionAnalysis`, after users are switched.
    PostPromotion,
}

impl Purpose {
    fn label(self) -> &'static str {
        match self {
            Self::Step => "Step",
            Self::Background => "Background",
            Self::PrePromotion => "PrePromotion",
            Self::PostPromotion => "PostPromotion",
        }
    }

    /// Returns the first words of the cause of an abort.
    fn words(self) -> &'static str {
        match self {
            Self::Step => "Step-based",
            Self::Background => "Background",
            Self::PrePromotion => "Pre-promotion",
            Self::PostPromotion => "Post-promotion",
        }
    }
}

/// What a run says, measurements that are not in its status yet included.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Verdict {
    pub(crate) name: String,
    pub(crate) phase: AnalysisPhase,
    pub(crate) message: String,
    /// What is out of reach, if something is: no more weight goes where nobody can see.
    pub(crate) outage: Option<Outage>,
}

/// A metrics server that cannot be reached.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Outage {
    metric: String,
    run: String,
    since: String,
}

impl Outage {
    /// Says since when, what it means, and what ends it.
    pub(crate) fn message(&self, s: &Roles<'_>) -> String {
        let since = DateTime::parse_from_rfc3339(&self.since).ok();
        let until = since.map(|since| since.to_utc() + s.view.config.outage_budget);
        let until = until.map_or_else(String::new, |until| {
            let until = until.to_rfc3339_opts(SecondsFormat::Secs, true);
            format!(", or until {until}, when its silence counts as errors")
        });
        format!(
            "the metrics server of `{}` of {} has been out of reach since {}: the weight holds until it answers{until}",
            self.metric, self.run, self.since
        )
    }
}

/// What the runs of the present attempt say.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(crate) struct Verdicts {
    pub(crate) step: Option<Verdict>,
    pub(crate) background: Option<Verdict>,
    pub(crate) pre: Option<Verdict>,
    pub(crate) post: Option<Verdict>,
    /// Cause of an abort.
    pub(crate) failure: Option<String>,
    /// Whether a run ended without a verdict.
    pub(crate) inconclusive: bool,
    /// Whether the user said to go on after that, so that a new run is due.
    pub(crate) resumed: bool,
    /// Whether the run of the current step is Successful.
    pub(crate) step_succeeded: bool,
    /// The Experiment of the current step.
    pub(crate) trial: Option<Trial>,
}

impl Verdicts {
    /// Returns the verdict of the present run with the purpose.
    pub(crate) fn of(&self, purpose: Purpose) -> Option<&Verdict> {
        match purpose {
            Purpose::Step => self.step.as_ref(),
            Purpose::Background => self.background.as_ref(),
            Purpose::PrePromotion => self.pre.as_ref(),
            Purpose::PostPromotion => self.post.as_ref(),
        }
    }

    fn all(&self) -> impl Iterator<Item = (Purpose, &Verdict)> {
        [Purpose::Step, Purpose::Background, Purpose::PrePromotion, Purpose::PostPromotion]
            .into_iter()
            .filter_map(|purpose| Some((purpose, self.of(purpose)?)))
    }

    pub(crate) fn is_current(&self, name: &str) -> bool {
        self.all().any(|(_, verdict)| verdict.name == name)
    }

    /// Returns what keeps the weight where it is: a metrics server that is out of reach.
    pub(crate) fn outage(&self) -> Option<&Outage> {
        self.all().find_map(|(_, verdict)| verdict.outage.as_ref())
    }

    /// Whether the run with the purpose is Successful.
    pub(crate) fn succeeded(&self, purpose: Purpose) -> bool {
        self.of(purpose).is_some_and(|verdict| verdict.phase == AnalysisPhase::Successful)
    }

    pub(crate) fn step_ref(&self) -> Option<AnalysisRunRef> {
        self.reference(Purpose::Step)
    }

    pub(crate) fn background_ref(&self) -> Option<AnalysisRunRef> {
        self.reference(Purpose::Background)
    }

    pub(crate) fn reference(&self, purpose: Purpose) -> Option<AnalysisRunRef> {
        self.of(purpose).map(reference)
    }
}

fn reference(verdict: &Verdict) -> AnalysisRunRef {
    AnalysisRunRef {
        name: verdict.name.clone(),
        status: verdict.phase.as_str().to_owned(),
        message: (!verdict.message.is_empty()).then(|| verdict.message.clone()),
    }
}

/// Reads the verdicts of the present attempt at the present step.
pub(crate) fn verdicts(s: &Roles<'_>) -> Verdicts {
    let of = |purpose| latest(s, purpose).map(|view| verdict(s, view));
    let mut verdicts = match s.chosen {
        Chosen::Canary(_) => Verdicts {
            step: of(Purpose::Step),
            background: of(Purpose::Background),
            ..Verdicts::default()
        },
        Chosen::BlueGreen(_) => Verdicts {
            pre: of(Purpose::PrePromotion),
            post: of(Purpose::PostPromotion),
            ..Verdicts::default()
        },
    };
    let mut failure = None;
    let mut inconclusive = false;
    for (purpose, verdict) in verdicts.all() {
        match verdict.phase {
            AnalysisPhase::Error if seeded!(ErrorIsSuccess) => {}
            AnalysisPhase::Failed | AnalysisPhase::Error => {
                let (kind, phase) = (purpose.words(), verdict.phase.as_str().to_lowercase());
                let message = &verdict.message;
                failure = Some(format!("{kind} analysis phase error/{phase}: {message}"));
            }
            AnalysisPhase::Inconclusive => inconclusive = true,
            AnalysisPhase::Pending | AnalysisPhase::Running | AnalysisPhase::Successful => {}
        }
    }
    (verdicts.failure, verdicts.inconclusive) = (failure, inconclusive);
    let status = s.status();
    let pauses = status.pause_conditions.iter().flatten().next().is_some();
    verdicts.resumed = verdicts.inconclusive && status.controller_pause == Some(true) && !pauses;
    verdicts.step_succeeded = verdicts.succeeded(Purpose::Step)
        || (seeded!(ErrorIsSuccess)
            && verdicts.step.as_ref().is_some_and(|step| step.phase == AnalysisPhase::Error));
    experiment::judge(s, &mut verdicts);
    verdicts
}

fn verdict(s: &Roles<'_>, view: &AnalysisRunView) -> Verdict {
    let outcome = judge::verdict_of(view, s.now(), &s.view.config);
    let name = view.run.meta.name.clone();
    let outage = outcome
        .out_of_reach
        .map(|(metric, since)| Outage { metric, run: name.clone(), since })
        .filter(|_| !outcome.phase.is_completed());
    Verdict { name, phase: outcome.phase, message: outcome.message, outage }
}

/// The newest run of the present attempt with the purpose, of the present step for step runs. One that we ended ourselves does
/// not count: a retry may overtake the record of the abort that ended it, and then nothing else tells the attempts apart.
fn latest<'a>(s: &Roles<'a>, purpose: Purpose) -> Option<&'a AnalysisRunView> {
    let index = s.index().to_string();
    let attempt = s.sluice().attempt.unwrap_or(1).to_string();
    s.view
        .analysis_runs
        .iter()
        .filter(|view| {
            let meta = &view.run.meta;
            let label = |key: &str| meta.labels.get(key).map(String::as_str);
            meta.is_owned_by(&s.rollout.meta.uid)
                && (!meta.annotations.contains_key(labels::STOPPED) || seeded!(StoppedRunCounts))
                && hash_of(meta) == Some(s.hash.as_str())
                && label(labels::ROLLOUT_TYPE) == Some(purpose.label())
                && (purpose != Purpose::Step || label(labels::STEP_INDEX) == Some(index.as_str()))
                && meta.annotations.get(labels::ATTEMPT).is_none_or(|of| *of == attempt)
        })
        .max_by_key(|view| (suffix(&view.run.meta.name), view.run.meta.creation_timestamp))
}

/// The number behind the dot of a name that had to avoid others.
fn suffix(name: &str) -> u32 {
    name.rsplit_once('.').and_then(|(_, n)| n.parse().ok()).unwrap_or(0)
}

/// A run that should be there now.
pub(crate) struct Wanted<'a> {
    pub(crate) purpose: Purpose,
    pub(crate) analysis: &'a RolloutAnalysis,
    /// Whether it may start now; one that goes on is left alone.
    pub(crate) is_due: bool,
}

/// Returns the starts and ends of a canary's runs that are due.
pub(crate) fn changes(s: &Situation<'_>, verdicts: &Verdicts, abort: &Abort) -> Vec<Action> {
    let mut wanted = Vec::new();
    let paused = s.status().pause_conditions.iter().flatten().next().is_some();
    if let Some(analysis) = s.step().and_then(|step| step.analysis.as_ref()) {
        let is_due = !paused && !s.is_paused_by_user();
        wanted.push(Wanted { purpose: Purpose::Step, analysis, is_due });
    }
    if let Some(background) = &s.canary.analysis
        && s.index() >= usize::try_from(background.starting_step.unwrap_or(0)).unwrap_or(0)
    {
        let analysis = &background.analysis;
        wanted.push(Wanted { purpose: Purpose::Background, analysis, is_due: true });
    }
    starts_and_ends(s, &wanted, verdicts, abort)
}

/// Returns the starts of wanted runs that are due, and the ends of all others. While nothing is judged, none is wanted.
pub(crate) fn starts_and_ends(
    s: &Roles<'_>,
    wanted: &[Wanted<'_>],
    verdicts: &Verdicts,
    abort: &Abort,
) -> Vec<Action> {
    let held = s.is_promoted()
        || s.is_first()
        || s.is_changed()
        || s.skips_steps()
        || abort.is_on()
        || s.status().aborted_at.is_some()
        || s.current.is_none();
    let wanted: &[Wanted<'_>] = if held { &[] } else { wanted };
    let mut actions: Vec<Action> =
        wanted.iter().filter_map(|wanted| start(s, wanted, verdicts)).collect();
    let kept: Vec<String> = wanted
        .iter()
        .filter_map(|wanted| verdicts.of(wanted.purpose))
        .map(|verdict| verdict.name.clone())
        .collect();
    actions.extend(stops(s, &kept));
    actions
}

fn start(s: &Roles<'_>, wanted: &Wanted<'_>, verdicts: &Verdicts) -> Option<Action> {
    let Wanted { purpose, analysis, is_due } = wanted;
    let purpose = *purpose;
    let present = verdicts.of(purpose);
    let again = verdicts.resumed && present.is_some_and(|v| v.phase == AnalysisPhase::Inconclusive);
    let inline = inline(s, purpose);
    let is_empty = analysis.templates.iter().flatten().next().is_none() && inline.is_none();
    if is_empty || !is_due || (present.is_some() && !again) {
        return None;
    }
    // A spec that cannot be resolved is reported by `problems` before a decision comes this far.
    let spec = match inline {
        Some(background) => background_spec(s, background),
        None => run_spec(s, analysis),
    };
    let spec = spec.ok()?;
    let revision = format!("{}-{}-{}", s.rollout.meta.name, s.hash, s.revision());
    let base = match purpose {
        Purpose::Step => format!("{revision}-{}", s.index()),
        Purpose::Background => revision,
        Purpose::PrePromotion => format!("{revision}-pre"),
        Purpose::PostPromotion => format!("{revision}-post"),
    };
    let name = free_name(s, &base);
    let body = run_body(s, purpose, analysis, &name, &spec);
    let object = ObjectRef { kind: Kind::ANALYSIS_RUN, namespace: s.view.object().namespace, name };
    Some(Action::StartAnalysis { target: Target::new(s.view, object), body })
}

/// Returns the spec of the run that the analysis asks for.
pub(crate) fn run_spec(
    s: &Roles<'_>,
    analysis: &RolloutAnalysis,
) -> Result<AnalysisRunSpec, ArgumentError> {
    let source = RolloutSource {
        rollout: s.rollout,
        latest: Some(&s.hash),
        // Before the first promotion there is no other version to name.
        stable: s.stable_hash.or(Some(&s.hash)),
    };
    arguments::run_spec(analysis, &s.view.templates, &source)
}

/// The background analysis, if that is the purpose and it has metrics of its own.
fn inline<'a>(s: &Roles<'a>, purpose: Purpose) -> Option<&'a BackgroundAnalysis> {
    let Chosen::Canary(canary) = s.chosen else { return None };
    let background = canary.analysis.as_ref().filter(|_| purpose == Purpose::Background);
    background.filter(|background| named::is_inline(background))
}

/// Likewise, of an analysis with metrics of its own: those of its templates come first.
pub(crate) fn background_spec(
    s: &Roles<'_>,
    background: &BackgroundAnalysis,
) -> Result<AnalysisRunSpec, ArgumentError> {
    let set = format!("{}-{}", s.rollout.meta.name, s.hash);
    let set = s.current.map_or(set, |current| current.meta.name.clone());
    let own = named::metrics(background, &s.rollout.meta.namespace, &set)?;
    let templates = background.analysis.templates.iter().flatten().next();
    let mut spec = match templates {
        Some(_) => run_spec(s, &background.analysis)?,
        None => AnalysisRunSpec {
            dry_run: background.analysis.dry_run.clone(),
            measurement_retention: background.analysis.measurement_retention.clone(),
            ..AnalysisRunSpec::default()
        },
    };
    let double = own.iter().find(|own| spec.metrics.iter().any(|metric| metric.name == own.name));
    if let Some(double) = double {
        let what = format!("metric `{}` is also one of a template", double.name);
        return Err(ArgumentError::Invalid(what));
    }
    spec.metrics.extend(own);
    Ok(spec)
}

fn free_name(s: &Roles<'_>, base: &str) -> String {
    let taken = |name: &str| s.view.analysis_runs.iter().any(|view| view.run.meta.name == name);
    let mut name = base.to_owned();
    let mut n = 0_u32;
    while taken(&name) {
        n += 1;
        name = format!("{base}.{n}");
    }
    name
}

fn run_body(
    s: &Roles<'_>,
    purpose: Purpose,
    analysis: &RolloutAnalysis,
    name: &str,
    spec: &AnalysisRunSpec,
) -> Value {
    let metadata = analysis.analysis_run_metadata.clone().unwrap_or_default();
    let mut run_labels = metadata.labels.unwrap_or_default();
    let selector = s.rollout.spec.selector.as_ref().and_then(|sel| sel.match_labels.clone());
    run_labels.extend(selector.unwrap_or_default());
    run_labels.insert(labels::POD_TEMPLATE_HASH.to_owned(), s.hash.clone());
    run_labels.insert(labels::ROLLOUT_TYPE.to_owned(), purpose.label().to_owned());
    if purpose == Purpose::Step {
        run_labels.insert(labels::STEP_INDEX.to_owned(), s.index().to_string());
    }
    if let Some(id) = s.rollout.meta.labels.get(labels::INSTANCE_ID) {
        run_labels.insert(labels::INSTANCE_ID.to_owned(), id.clone());
    }
    let mut annotations: BTreeMap<String, String> = metadata.annotations.unwrap_or_default();
    annotations.insert(labels::REVISION.to_owned(), s.revision().to_string());
    annotations.insert(labels::ATTEMPT.to_owned(), s.sluice().attempt.unwrap_or(1).to_string());
    json!({
        "apiVersion": Kind::ANALYSIS_RUN.api_version(),
        "kind": "AnalysisRun",
        "metadata": {
            "name": name,
            "namespace": s.rollout.meta.namespace,
            "labels": run_labels,
            "annotations": annotations,
            "ownerReferences": [controller_reference(&s.view.object(), &s.rollout.meta.uid)],
        },
        "spec": spec,
    })
}

fn stops(s: &Roles<'_>, wanted: &[String]) -> Vec<Action> {
    if seeded!(RunsGoOn) {
        return Vec::new();
    }
    s.view
        .analysis_runs
        .iter()
        .filter(|view| view.run.meta.is_owned_by(&s.rollout.meta.uid))
        .filter(|view| !view.run.status.phase.is_some_and(AnalysisPhase::is_completed))
        .filter(|view| view.run.spec.terminate != Some(true))
        .filter(|view| !wanted.contains(&view.run.meta.name))
        // The patch that completes the run is on its way when the verdict is in already.
        .filter(|view| !judge::verdict_of(view, s.now(), &s.view.config).phase.is_completed())
        .map(|view| Action::StopAnalysis {
            target: Target::of(s.view, view.run.meta.object(Kind::ANALYSIS_RUN), &view.run.meta),
        })
        .collect()
}
