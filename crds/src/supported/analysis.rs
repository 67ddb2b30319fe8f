use super::Feature;
use super::State::{Refused, Works};

const COUNTS: &[&str] = &[
    "spec",
    "spec.args.**",
    "spec.dryRun.**",
    "spec.measurementRetention.**",
    "spec.metrics",
    "spec.metrics[].name",
    "spec.metrics[].interval",
    "spec.metrics[].initialDelay",
    "spec.metrics[].count",
    "spec.metrics[].successCondition",
    "spec.metrics[].failureCondition",
    "spec.metrics[].failureLimit",
    "spec.metrics[].inconclusiveLimit",
    "spec.metrics[].consecutiveErrorLimit",
    "spec.metrics[].consecutiveSuccessLimit",
    "spec.metrics[].provider",
];

const PROVIDERS: &[&str] =
    &["spec.metrics[].provider.prometheus.**", "spec.metrics[].provider.web.**"];

const JOB: &[&str] = &["spec.metrics[].provider.job.**"];

const SIGNED: &[&str] = &[
    "spec.metrics[].provider.prometheus.authentication.sigv4.**",
    "spec.metrics[].provider.web.authentication.sigv4.**",
];

const OTHERS: &[&str] = &[
    "spec.metrics[].provider.datadog.**",
    "spec.metrics[].provider.newRelic.**",
    "spec.metrics[].provider.cloudWatch.**",
    "spec.metrics[].provider.wavefront.**",
    "spec.metrics[].provider.graphite.**",
    "spec.metrics[].provider.influxdb.**",
    "spec.metrics[].provider.skywalking.**",
    "spec.metrics[].provider.kayenta.**",
    "spec.metrics[].provider.plugin.**",
];

const NO_PROVIDER: &str =
    "use `prometheus`, `web` or `job`; a measurement would be an error, never a success";
const OF_JOBS: &str =
    "a measurement is recorded once the Job has ended; in the run's own namespace";
const NO_SIGNATURE: &str = "requests are not signed for AWS yet";

pub(super) const TEMPLATES: &[Feature] = &[
    row("AnalysisTemplate", COUNTS),
    row("AnalysisTemplate", PROVIDERS),
    works("AnalysisTemplate", JOB, OF_JOBS),
    row("AnalysisTemplate", &["spec.templates.**"]),
    refused("AnalysisTemplate", OTHERS, NO_PROVIDER),
    refused("AnalysisTemplate", SIGNED, NO_SIGNATURE),
];

pub(super) const RUNS: &[Feature] = &[
    row("AnalysisRun", COUNTS),
    row("AnalysisRun", PROVIDERS),
    works("AnalysisRun", JOB, OF_JOBS),
    row("AnalysisRun", &["spec.terminate", "spec.ttlStrategy.**", "status.**"]),
    refused("AnalysisRun", OTHERS, NO_PROVIDER),
    refused("AnalysisRun", SIGNED, NO_SIGNATURE),
];

const fn row(kind: &'static str, paths: &'static [&'static str]) -> Feature {
    works(kind, paths, "")
}

const fn works(kind: &'static str, paths: &'static [&'static str], note: &'static str) -> Feature {
    Feature { kind, paths, state: Works, note }
}

const fn refused(
    kind: &'static str,
    paths: &'static [&'static str],
    note: &'static str,
) -> Feature {
    Feature { kind, paths, state: Refused, note }
}
