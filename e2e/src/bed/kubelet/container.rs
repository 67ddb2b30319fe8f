//! One container: its process, its restarts, its hooks and probes.

use std::{
    fs::File,
    process::{ExitStatus, Stdio},
    sync::Arc,
    time::Duration,
};

use chrono::{DateTime, Utc};
use k8s_openapi::api::core::v1::{Container, LifecycleHandler, Pod};
use kube::ResourceExt as _;
use std::os::unix::process::ExitStatusExt as _;
use tokio::{
    process::Child,
    sync::{mpsc, watch},
    task::JoinSet,
    time::{Instant, sleep, timeout},
};

use super::{
    Context,
    image::{self, Behaviour},
    probe,
};
use crate::bed::{network::PodNetwork, process::send_signal};

/// A process that has ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Ended {
    pub(super) exit_code: i32,
    pub(super) reason: &'static str,
    pub(super) message: String,
    pub(super) started: DateTime<Utc>,
    pub(super) finished: DateTime<Utc>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum State {
    Waiting { reason: &'static str, message: String },
    Running { since: DateTime<Utc> },
    Terminated(Ended),
}

/// All that a Pod's status says of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Snapshot {
    pub(super) state: State,
    pub(super) last: Option<Ended>,
    /// The readiness probe's verdict, or running where there is none.
    pub(super) ready: bool,
    /// The startup probe's verdict, or running where there is none.
    pub(super) started: bool,
    pub(super) restarts: u32,
    /// Nothing more will happen to it.
    pub(super) finished: bool,
}

impl Snapshot {
    pub(super) fn waiting(reason: &'static str) -> Self {
        Self {
            state: State::Waiting { reason, message: String::new() },
            last: None,
            ready: false,
            started: false,
            restarts: 0,
            finished: false,
        }
    }
}

/// When a container that ended is started again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Restart {
    Always,
    OnFailure,
    Never,
}

impl Restart {
    fn after(self, exit_code: i32) -> bool {
        match self {
            Self::Always => true,
            Self::OnFailure => exit_code != 0,
            Self::Never => false,
        }
    }
}

/// Set once, when the Pod is to end: the time for hook and process together.
pub(super) type Stop = watch::Receiver<Option<Duration>>;

/// Runs one container to its end and reports every change.
pub(super) struct Supervisor {
    pub(super) context: Arc<Context>,
    pub(super) pod: Arc<Pod>,
    pub(super) spec: Container,
    pub(super) network: PodNetwork,
    pub(super) restart: Restart,
    pub(super) start_delay: Duration,
    pub(super) stop: Stop,
    pub(super) index: usize,
    pub(super) reports: mpsc::Sender<(usize, Snapshot)>,
}

/// How one life of the process ended.
enum Life {
    Ended(Ended),
    Stopped(Ended),
    /// It never lived; waiting with this reason.
    NotStarted(&'static str, String),
}

impl Supervisor {
    pub(super) async fn run(mut self) {
        let behaviour = image::behaviour(&self.spec);
        let mut snapshot = Snapshot::waiting("ContainerCreating");
        if !self.pause(self.start_delay).await {
            return self.finish(snapshot).await;
        }
        if behaviour == Behaviour::PullFails {
            return self.pull_fails(snapshot).await;
        }
        let mut backoff = self.context.options.crash_backoff;
        loop {
            let life = self.live(&behaviour, &mut snapshot).await;
            (snapshot.ready, snapshot.started) = (false, false);
            let reason = match life {
                Life::Stopped(ended) => {
                    snapshot.state = State::Terminated(ended);
                    return self.finish(snapshot).await;
                }
                Life::Ended(ended) => {
                    let again = self.restart.after(ended.exit_code);
                    snapshot.state = State::Terminated(ended.clone());
                    if !again {
                        return self.finish(snapshot).await;
                    }
                    self.report(&snapshot).await;
                    snapshot.last = Some(ended);
                    "CrashLoopBackOff"
                }
                Life::NotStarted(reason, message) => {
                    snapshot.state = State::Waiting { reason, message };
                    self.report(&snapshot).await;
                    reason
                }
            };
            if reason == "CrashLoopBackOff" {
                let name = &self.spec.name;
                let message = format!("back-off {backoff:?} restarting failed container={name}");
                snapshot.state = State::Waiting { reason, message };
                self.report(&snapshot).await;
            }
            if !self.pause(backoff).await {
                return self.finish(snapshot).await;
            }
            backoff = (backoff * 2).min(Duration::from_secs(300));
            snapshot.restarts += 1;
        }
    }

    /// As real pulls do: three seconds of trying, then the error, then the back-off, for ever.
    async fn pull_fails(mut self, mut snapshot: Snapshot) {
        let image = self.spec.image.clone().unwrap_or_default();
        for (after, reason) in [(3, "ErrImagePull"), (2, "ImagePullBackOff")] {
            if !self.pause(Duration::from_secs(after)).await {
                return self.finish(snapshot).await;
            }
            let message = format!("{image}: not found");
            snapshot.state = State::Waiting { reason, message };
            self.report(&snapshot).await;
        }
        self.stopped().await;
        self.finish(snapshot).await;
    }

    /// One life of the process, from its environment to its exit code.
    async fn live(&mut self, behaviour: &Behaviour, snapshot: &mut Snapshot) -> Life {
        let client = &self.context.client;
        let variables = match image::environment(client, &self.pod, &self.spec, &self.network).await
        {
            Ok(variables) => variables,
            Err(message) => return Life::NotStarted("CreateContainerConfigError", message),
        };
        let started = Utc::now();
        let child = match self.spawn(behaviour, variables) {
            Ok(child) => child,
            Err(message) if self.restart == Restart::Never => {
                let finished = started;
                let reason = "StartError";
                return Life::Ended(Ended { exit_code: 128, reason, message, started, finished });
            }
            Err(message) => return Life::NotStarted("RunContainerError", message),
        };
        if let Some(hook) = self.spec.lifecycle.as_ref().and_then(|l| l.post_start.clone()) {
            self.hook(&hook).await;
        }
        snapshot.state = State::Running { since: started };
        snapshot.started = self.spec.startup_probe.is_none();
        snapshot.ready = snapshot.started && self.spec.readiness_probe.is_none();
        self.report(snapshot).await;
        self.guard(child, started, snapshot).await
    }

    /// Waits for the first of: exit, a liveness failure, the end of the Pod; follows the probes.
    async fn guard(
        &mut self,
        mut child: Child,
        started: DateTime<Utc>,
        snapshot: &mut Snapshot,
    ) -> Life {
        let (verdicts, mut spoken) = mpsc::channel(8);
        let mut probes = JoinSet::new();
        if self.spec.startup_probe.is_some() {
            self.probe(probe::Kind::Startup, &verdicts, &mut probes);
        } else {
            self.probe(probe::Kind::Readiness, &verdicts, &mut probes);
            self.probe(probe::Kind::Liveness, &verdicts, &mut probes);
        }
        loop {
            let mut stop = self.stop.clone();
            tokio::select! {
                status = child.wait() => return Life::Ended(ended(status.ok(), started)),
                grace = stopped(&mut stop) => {
                    let status = self.terminate(&mut child, grace).await;
                    return Life::Stopped(ended(status, started));
                }
                Some((kind, passed)) = spoken.recv() => match kind {
                    probe::Kind::Readiness => snapshot.ready = passed,
                    probe::Kind::Startup if passed => {
                        snapshot.started = true;
                        snapshot.ready = self.spec.readiness_probe.is_none();
                        probes.abort_all();
                        self.probe(probe::Kind::Readiness, &verdicts, &mut probes);
                        self.probe(probe::Kind::Liveness, &verdicts, &mut probes);
                    }
                    probe::Kind::Liveness if passed => {}
                    probe::Kind::Startup | probe::Kind::Liveness => {
                        let grace = self.pod.spec.as_ref()
                            .and_then(|spec| spec.termination_grace_period_seconds)
                            .and_then(|seconds| u64::try_from(seconds).ok()).unwrap_or(30);
                        let grace = Duration::from_secs(grace);
                        let status = self.terminate(&mut child, grace).await;
                        return Life::Ended(ended(status, started));
                    }
                },
            }
            self.report(snapshot).await;
        }
    }

    fn probe(
        &self,
        kind: probe::Kind,
        verdicts: &mpsc::Sender<(probe::Kind, bool)>,
        probes: &mut JoinSet<()>,
    ) {
        let probe = match kind {
            probe::Kind::Startup => &self.spec.startup_probe,
            probe::Kind::Readiness => &self.spec.readiness_probe,
            probe::Kind::Liveness => &self.spec.liveness_probe,
        };
        if let Some(probe) = probe.clone() {
            let (spec, network) = (self.spec.clone(), self.network.clone());
            probes.spawn(probe::run(kind, probe, spec, network, verdicts.clone()));
        }
    }

    fn spawn(&self, behaviour: &Behaviour, env: Vec<(String, String)>) -> Result<Child, String> {
        let options = &self.context.options;
        let name = format!(
            "{}_{}_{}.log",
            self.pod.namespace().unwrap_or_default(),
            self.pod.name_any(),
            self.spec.name
        );
        let open = || {
            let log = File::options().create(true).append(true).open(options.logs.join(&name))?;
            std::io::Result::Ok((log.try_clone()?, log))
        };
        let (out, err) = open().map_err(|error| format!("log file: {error}"))?;
        let mut command = image::process(behaviour, &self.spec, &self.network, &options.backend)?;
        command.envs(env).stdin(Stdio::null()).stdout(out).stderr(err);
        command.spawn().map_err(|error| error.to_string())
    }

    /// The preStop hook, SIGTERM to the process group, SIGKILL when the grace is over.
    async fn terminate(&self, child: &mut Child, grace: Duration) -> Option<ExitStatus> {
        let end = Instant::now() + grace;
        if let Some(hook) = self.spec.lifecycle.as_ref().and_then(|l| l.pre_stop.as_ref()) {
            timeout(grace, self.hook(hook)).await.ok();
        }
        let group = child.id().map(|id| format!("-{id}"))?;
        if end > Instant::now() {
            send_signal("TERM", &group).await.ok();
            if let Ok(status) = tokio::time::timeout_at(end, child.wait()).await {
                return status.ok();
            }
        }
        send_signal("KILL", &group).await.ok();
        child.wait().await.ok()
    }

    async fn hook(&self, hook: &LifecycleHandler) {
        if let Some(action) = &hook.sleep {
            sleep(Duration::from_secs(u64::try_from(action.seconds).unwrap_or_default())).await;
        } else if let Some(exec) = &hook.exec {
            let words = exec.command.as_deref().unwrap_or_default();
            probe::command(words, &self.network).await;
        } else if let Some(get) = &hook.http_get {
            probe::http_get(get, &self.spec, &self.network).await;
        }
    }

    /// Sleeps; false when the Pod was stopped meanwhile.
    async fn pause(&mut self, time: Duration) -> bool {
        tokio::select! {
            () = sleep(time) => true,
            _ = stopped(&mut self.stop) => false,
        }
    }

    async fn stopped(&mut self) {
        stopped(&mut self.stop).await;
    }

    async fn report(&self, snapshot: &Snapshot) {
        // A Pod that is gone needs no reports.
        self.reports.send((self.index, snapshot.clone())).await.ok();
    }

    async fn finish(&self, mut snapshot: Snapshot) {
        snapshot.finished = true;
        self.report(&snapshot).await;
    }
}

async fn stopped(stop: &mut Stop) -> Duration {
    match stop.wait_for(Option::is_some).await {
        Ok(grace) => grace.unwrap_or_default(),
        // The Pod's task is gone: end at once.
        Err(_) => Duration::ZERO,
    }
}

fn ended(status: Option<ExitStatus>, started: DateTime<Utc>) -> Ended {
    let code = status.and_then(|s| s.code().or(s.signal().map(|signal| 128 + signal)));
    let exit_code = code.unwrap_or(137);
    let reason = if exit_code == 0 { "Completed" } else { "Error" };
    Ended { exit_code, reason, message: String::new(), started, finished: Utc::now() }
}
