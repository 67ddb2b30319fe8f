//! Flags and environment, read here and nowhere else, parsed once into a validated [`Config`].
//!
//! Names and defaults are Argo Rollouts' where Argo has the flag (`spec-rollouts.md` 0).

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};
use sluice_engine::config::EngineConfig;
use sluice_engine::fence::FenceRules;

use crate::client::Target;

/// What the command line and the environment say.
#[derive(Parser, Clone, Debug)]
#[command(name = "sluice-controller", version, about = "Rolls out what Git says, step by step")]
pub struct Flags {
    /// Namespace to watch with `--namespaced`, and where the Lease lives. Default: the Pod's own.
    #[arg(long, env = "POD_NAMESPACE", default_value = "sluice-system")]
    namespace: String,
    /// Watch only `--namespace`; cluster-scoped kinds are not watched.
    #[arg(long)]
    namespaced: bool,
    /// Act only on objects labelled with this `controller-instance-id`; without it, only on unlabelled ones.
    #[arg(long, default_value = "")]
    instance_id: String,
    /// Namespace of Applications and AppProjects.
    #[arg(long, default_value = "argocd")]
    application_namespace: String,
    /// What this process does.
    #[arg(long, value_delimiter = ',', value_enum,
        default_values = ["rollouts", "analysis", "applications"])]
    controllers: Vec<Role>,
    /// Seconds that a Lease is held without renewal.
    #[arg(long, default_value = "15s", value_parser = seconds)]
    leader_election_lease_duration: Duration,
    /// Time within which the leader must renew, or give up.
    #[arg(long, default_value = "10s", value_parser = seconds)]
    leader_election_renew_deadline: Duration,
    /// Time between attempts to take or renew the Lease.
    #[arg(long, default_value = "2s", value_parser = seconds)]
    leader_election_retry_period: Duration,
    /// Name of the Lease.
    #[arg(long, default_value = "argo-rollouts-controller-lock")]
    lease_name: String,
    /// Namespace of the Lease. Default: `--namespace`.
    #[arg(long)]
    lease_namespace: Option<String>,
    /// Port of `/metrics`.
    #[arg(long = "metricsport", default_value_t = 8090)]
    metrics_port: u16,
    /// Port of `/healthz` and `/readyz`.
    #[arg(long = "healthzPort", default_value_t = 8080)]
    healthz_port: u16,
    /// Address that both ports listen on.
    #[arg(long, default_value = "0.0.0.0")]
    listen_address: std::net::IpAddr,
    /// `error`, `warn`, `info`, `debug` or `trace`.
    #[arg(long = "loglevel", default_value = "info")]
    log_level: String,
    /// `json` or `text`.
    #[arg(long = "logformat", value_enum, default_value = "json")]
    log_format: LogFormat,
    /// Prometheus of metrics that name no address.
    #[arg(long, env = "ARGO_ROLLOUTS_PROMETHEUS_ADDRESS")]
    prometheus_address: Option<String>,
    /// The kustomize binary.
    #[arg(long, default_value = "kustomize")]
    kustomize_binary: PathBuf,
    /// Its version: another one may render the same files differently.
    #[arg(long, default_value = "")]
    kustomize_version: String,
    /// Where clones and rendered manifests are cached.
    #[arg(long, default_value = "/tmp/sluice")]
    cache_dir: PathBuf,
    /// Time between a switch of what a destination resolves to, and weight on it.
    #[arg(long, default_value = "1s", value_parser = seconds)]
    switch_confirmation_delay: Duration,
    /// Time between weight leaving a set and capacity leaving it.
    #[arg(long, default_value = "5s", value_parser = seconds)]
    route_confirmation_delay: Duration,
    /// istiod's debug interface, such as `http://istiod.istio-system:15014`: several are separated by commas. What proxies are known
    /// to use is waited for no longer than that; without it the delays above decide.
    #[arg(long, value_delimiter = ',')]
    istio_debug_address: Vec<String>,
    /// How long an unreachable metrics server holds the weight before that counts as errors.
    #[arg(long, default_value = "10m", value_parser = seconds)]
    outage_budget: Duration,
    /// Limit of one call to the API server.
    #[arg(long, default_value = "8s", value_parser = seconds)]
    request_timeout: Duration,
    /// A kubeconfig file. Default: `KUBECONFIG`, then the Pod's service account.
    #[arg(long)]
    kubeconfig: Option<PathBuf>,
    /// URL of the API server, instead of the kubeconfig's.
    #[arg(long)]
    server: Option<String>,
}

/// What a process may be asked to do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, ValueEnum)]
pub enum Role {
    /// Rollouts, and the Experiments that they and people begin.
    Rollouts,
    /// Experiments: a part of the role of Rollouts, as in Argo, and never asked for by itself.
    #[value(skip)]
    Experiments,
    /// AnalysisRuns.
    Analysis,
    /// Applications.
    Applications,
}

/// Form of log lines.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum LogFormat {
    /// One JSON object per line.
    Json,
    /// For a terminal.
    Text,
}

/// Times of the elector.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseConfig {
    /// Name of the Lease.
    pub name: String,
    /// Its namespace.
    pub namespace: String,
    /// Who this process is; unique per start.
    pub identity: String,
    /// How long others wait without seeing a renewal. Default 15 s.
    pub duration: Duration,
    /// How long this process may write without a renewal. Default 10 s.
    pub renew_deadline: Duration,
    /// Time between attempts. Default 2 s.
    pub retry_period: Duration,
}

/// Validated configuration of a process.
#[derive(Clone, Debug)]
pub struct Config {
    /// Watched namespace; `None` is all.
    pub namespace: Option<String>,
    /// Instance id; empty selects objects without the label.
    pub instance_id: String,
    /// Namespace of Applications and AppProjects.
    pub application_namespace: String,
    /// Namespace in which records of quarantine are kept.
    pub control_namespace: String,
    /// What to do.
    pub roles: BTreeSet<Role>,
    /// Times of the elector.
    pub lease: LeaseConfig,
    /// Address of `/metrics`; `None` serves none.
    pub metrics_address: Option<SocketAddr>,
    /// Address of `/healthz` and `/readyz`; `None` serves none.
    pub health_address: Option<SocketAddr>,
    /// Log level.
    pub log_level: tracing_subscriber::filter::LevelFilter,
    /// Log format.
    pub log_format: LogFormat,
    /// Knobs of the engine.
    pub engine: EngineConfig,
    /// Prometheus of metrics that name no address.
    pub prometheus_address: Option<String>,
    /// istiod's debug interfaces; empty: what proxies use is not asked for.
    pub istio_debug_addresses: Vec<String>,
    /// The kustomize binary.
    pub kustomize_binary: PathBuf,
    /// Its version.
    pub kustomize_version: String,
    /// Where clones and rendered manifests are cached.
    pub cache_dir: PathBuf,
    /// Where the API server is.
    pub target: Target,
    /// Limit of one call to the API server.
    pub request_timeout: Duration,
    /// Most keys decided at the same time; fewer while the API server answers late. Default 32.
    pub concurrency: usize,
    /// How long running decisions may take to end when the process is asked to stop. Default 20 s.
    pub drain: Duration,
    /// Seed of jitter.
    pub seed: u64,
}

/// What is wrong with the flags.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
pub enum ConfigError {
    /// The elector's times must shrink: lease duration, renew deadline, retry period.
    #[error(
        "--leader-election-{longer} is {longer_value:?}, and must be longer than \
         --leader-election-{shorter}, which is {shorter_value:?}"
    )]
    LeaseTimes {
        /// The flag that must be longer.
        longer: &'static str,
        /// Its value.
        longer_value: Duration,
        /// The flag that must be shorter.
        shorter: &'static str,
        /// Its value.
        shorter_value: Duration,
    },
    /// Not a level.
    #[error("--loglevel is `{0}`; wanted is one of `error`, `warn`, `info`, `debug`, `trace`")]
    LogLevel(String),
    /// Nothing to do.
    #[error("--controllers is empty; wanted are some of `rollouts`, `analysis`, `applications`")]
    NoRoles,
}

impl Config {
    /// Returns the configuration of tests and of the simulator: Argo's defaults, no ports.
    pub fn for_tests(identity: &str) -> Self {
        let flags = Flags::parse_from(["sluice-controller"]);
        let mut config =
            Self::validated(flags, identity.to_owned(), 1).expect("defaults are valid");
        config.metrics_address = None;
        config.health_address = None;
        config
    }

    /// Validates the flags. `identity` names this process, uniquely for each start; `seed` is for jitter.
    ///
    /// # Errors
    /// If flags contradict each other.
    pub fn validated(flags: Flags, identity: String, seed: u64) -> Result<Self, ConfigError> {
        check_times(&flags)?;
        let log_level =
            flags.log_level.parse().map_err(|_| ConfigError::LogLevel(flags.log_level.clone()))?;
        let roles: BTreeSet<Role> = flags.controllers.iter().copied().collect();
        if roles.is_empty() {
            return Err(ConfigError::NoRoles);
        }
        let delay = |d| chrono::Duration::from_std(d).unwrap_or(chrono::Duration::MAX);
        let mut name = flags.lease_name;
        if !flags.instance_id.is_empty() {
            name = format!("{name}-{}", flags.instance_id);
        }
        Ok(Self {
            namespace: flags.namespaced.then(|| flags.namespace.clone()),
            instance_id: flags.instance_id,
            application_namespace: flags.application_namespace,
            control_namespace: flags.namespace.clone(),
            roles,
            lease: LeaseConfig {
                name,
                namespace: flags.lease_namespace.unwrap_or(flags.namespace),
                identity,
                duration: flags.leader_election_lease_duration,
                renew_deadline: flags.leader_election_renew_deadline,
                retry_period: flags.leader_election_retry_period,
            },
            metrics_address: Some((flags.listen_address, flags.metrics_port).into()),
            health_address: Some((flags.listen_address, flags.healthz_port).into()),
            log_level,
            log_format: flags.log_format,
            engine: EngineConfig {
                switch_confirmation: delay(flags.switch_confirmation_delay),
                route_confirmation: delay(flags.route_confirmation_delay),
                outage_budget: delay(flags.outage_budget),
                fence: FenceRules::ALL,
            },
            prometheus_address: flags.prometheus_address,
            istio_debug_addresses: flags.istio_debug_address,
            kustomize_binary: flags.kustomize_binary,
            kustomize_version: flags.kustomize_version,
            cache_dir: flags.cache_dir,
            target: Target { kubeconfig: flags.kubeconfig, server: flags.server },
            request_timeout: flags.request_timeout,
            concurrency: 32,
            drain: Duration::from_secs(20),
            seed,
        })
    }

    /// Returns whether this process acts on kinds of the role.
    pub fn has(&self, role: Role) -> bool {
        self.roles.contains(&role)
    }
}

fn check_times(flags: &Flags) -> Result<(), ConfigError> {
    let (lease, renew, retry) = (
        flags.leader_election_lease_duration,
        flags.leader_election_renew_deadline,
        flags.leader_election_retry_period,
    );
    let pairs = [
        ("lease-duration", lease, "renew-deadline", renew),
        ("renew-deadline", renew, "retry-period", retry),
    ];
    for (longer, longer_value, shorter, shorter_value) in pairs {
        if longer_value <= shorter_value {
            return Err(ConfigError::LeaseTimes { longer, longer_value, shorter, shorter_value });
        }
    }
    Ok(())
}

/// Parses Go's durations as far as flags use them: `250ms`, `15s`, `2m`, `1h`, and a number of seconds.
fn seconds(text: &str) -> Result<Duration, String> {
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let number: f64 = number.parse().map_err(|_| wanted(text))?;
    let factor = match unit {
        "ms" => 0.001,
        "" | "s" => 1.0,
        "m" => 60.0,
        "h" => 3600.0,
        _ => return Err(wanted(text)),
    };
    Duration::try_from_secs_f64(number * factor).map_err(|_| wanted(text))
}

fn wanted(text: &str) -> String {
    format!(
        "`{text}` is not a duration; wanted is a number with unit, such as `500ms`, `15s` or `2m`"
    )
}

#[cfg(test)]
mod tests;
