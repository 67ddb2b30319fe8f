//! Providers other than Prometheus and web.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use crate::intstr::IntOrString;
use crate::schema::any_object;

/// A Kubernetes Job: its completion is the verdict.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct JobMetric {
    /// Metadata of the Job.
    #[schemars(schema_with = "any_object")]
    pub metadata: Option<Value>,
    /// Spec of the Job, kept as written.
    #[schemars(extend("x-required" = true), schema_with = "any_object")]
    pub spec: Value,
}

/// A query to Datadog.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DatadogMetric {
    /// `v1` or `v2`. Default `v1`.
    pub api_version: Option<String>,
    /// How far back the query looks, such as `5m`. Default `5m`.
    pub interval: Option<String>,
    /// Query (v1, or v2 with one).
    pub query: Option<String>,
    /// Queries by name (v2).
    pub queries: Option<BTreeMap<String, String>>,
    /// Formula over the queries (v2).
    pub formula: Option<String>,
    /// How v2 makes one value of many: `avg`, `min`, `max`, `sum`, `last`, `percentile`, `mean`, `l2norm` or `area`. Default `last`.
    pub aggregator: Option<String>,
    /// Time until the query counts as failed. Default `10s`.
    pub request_timeout: Option<String>,
    /// Secret with the credentials.
    pub secret_ref: Option<DatadogSecretRef>,
}

/// A Secret with Datadog's credentials.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct DatadogSecretRef {
    /// Name.
    pub name: Option<String>,
    /// Whether it is in the run's namespace. Default false: the controller's.
    pub namespaced: Option<bool>,
}

/// A query to New Relic.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct NewRelicMetric {
    /// Secret with the credentials. Default `newrelic`.
    pub profile: Option<String>,
    /// NRQL.
    #[schemars(extend("x-required" = true))]
    pub query: String,
    /// Seconds until the query counts as failed. Default 5.
    pub timeout: Option<i64>,
}

/// Queries to Amazon CloudWatch.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudWatchMetric {
    /// How far back the queries look, such as `5m`. Default `5m`.
    pub interval: Option<String>,
    /// Queries.
    #[schemars(extend("x-required" = true))]
    pub metric_data_queries: Vec<CloudWatchQuery>,
}

/// One query to Amazon CloudWatch: one of `expression` and `metricStat`.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudWatchQuery {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub id: String,
    /// Expression over other queries.
    pub expression: Option<String>,
    /// Label.
    pub label: Option<String>,
    /// A metric.
    pub metric_stat: Option<CloudWatchStat>,
    /// Seconds of one point.
    pub period: Option<IntOrString>,
    /// Whether the result counts. Default true.
    pub return_data: Option<bool>,
}

/// A metric of Amazon CloudWatch and its statistic.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudWatchStat {
    /// The metric.
    pub metric: CloudWatchStatMetric,
    /// Seconds of one point.
    pub period: Option<IntOrString>,
    /// Statistic, such as `Sum`.
    pub stat: Option<String>,
    /// Unit.
    pub unit: Option<String>,
}

/// A metric of Amazon CloudWatch.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudWatchStatMetric {
    /// Dimensions.
    pub dimensions: Option<Vec<CloudWatchDimension>>,
    /// Name.
    pub metric_name: Option<String>,
    /// Namespace.
    pub namespace: Option<String>,
}

/// A dimension of a metric.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct CloudWatchDimension {
    /// Name.
    pub name: String,
    /// Value.
    pub value: String,
}

/// A query to Wavefront.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WavefrontMetric {
    /// Host.
    pub address: Option<String>,
    /// Query.
    pub query: Option<String>,
}

/// A query to Graphite.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct GraphiteMetric {
    /// Base URL.
    pub address: Option<String>,
    /// Query.
    pub query: Option<String>,
}

/// A query to InfluxDB.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct InfluxdbMetric {
    /// Secret with the credentials. Default `influxdb`.
    pub profile: Option<String>,
    /// Flux.
    pub query: Option<String>,
}

/// A query to Apache SkyWalking.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct SkyWalkingMetric {
    /// Base URL.
    pub address: Option<String>,
    /// GraphQL.
    pub query: Option<String>,
    /// How far back the query looks.
    pub interval: Option<String>,
}

/// A judgement by Kayenta.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KayentaMetric {
    /// Base URL.
    #[schemars(extend("x-required" = true))]
    pub address: String,
    /// Application.
    #[schemars(extend("x-required" = true))]
    pub application: String,
    /// Canary configuration.
    #[schemars(extend("x-required" = true))]
    pub canary_config_name: String,
    /// Metrics account.
    #[schemars(extend("x-required" = true))]
    pub metrics_account_name: String,
    /// Configuration account.
    #[schemars(extend("x-required" = true))]
    pub configuration_account_name: String,
    /// Storage account.
    #[schemars(extend("x-required" = true))]
    pub storage_account_name: String,
    /// Scores that decide.
    #[schemars(extend("x-required" = true))]
    pub threshold: KayentaThreshold,
    /// Scopes.
    #[schemars(extend("x-required" = true))]
    pub scopes: Vec<KayentaScope>,
    /// Whether the canary is compared with itself, earlier.
    pub lookback: Option<bool>,
}

/// Scores that decide.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KayentaThreshold {
    /// From this score: Successful.
    #[schemars(extend("x-required" = true))]
    pub pass: i64,
    /// From this score: Inconclusive.
    #[schemars(extend("x-required" = true))]
    pub marginal: i64,
}

/// A scope.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KayentaScope {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub name: String,
    /// Scope of the control.
    pub control_scope: KayentaScopeDetail,
    /// Scope of the experiment.
    pub experiment_scope: KayentaScopeDetail,
}

/// Where and when a scope looks.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct KayentaScopeDetail {
    /// Scope.
    pub scope: String,
    /// Region.
    pub region: String,
    /// Seconds of one point.
    pub step: i64,
    /// Start.
    pub start: Option<String>,
    /// End.
    pub end: Option<String>,
}
