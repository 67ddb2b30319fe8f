//! `metrics[].provider`: where a metric's value comes from.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_with::skip_serializing_none;

use crate::schema::{any_object_map, any_value};

mod others;

pub use others::*;

/// Exactly one provider.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Provider {
    /// Prometheus' HTTP API.
    pub prometheus: Option<PrometheusMetric>,
    /// Any HTTP endpoint with JSON.
    pub web: Option<WebMetric>,
    /// A Kubernetes Job.
    pub job: Option<JobMetric>,
    /// Datadog.
    pub datadog: Option<DatadogMetric>,
    /// New Relic.
    pub new_relic: Option<NewRelicMetric>,
    /// Amazon CloudWatch.
    pub cloud_watch: Option<CloudWatchMetric>,
    /// Wavefront.
    pub wavefront: Option<WavefrontMetric>,
    /// Graphite.
    pub graphite: Option<GraphiteMetric>,
    /// InfluxDB.
    pub influxdb: Option<InfluxdbMetric>,
    /// Apache SkyWalking.
    pub skywalking: Option<SkyWalkingMetric>,
    /// Kayenta.
    pub kayenta: Option<KayentaMetric>,
    /// A provider plugin: exactly one name, and its configuration, kept as written.
    #[schemars(schema_with = "any_object_map")]
    pub plugin: Option<BTreeMap<String, Value>>,
}

/// A query to Prometheus.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct PrometheusMetric {
    /// Base URL, such as `http://prometheus.monitoring:9090`. Default: the controller's configuration.
    pub address: Option<String>,
    /// PromQL.
    pub query: Option<String>,
    /// Seconds until the query counts as failed. Default 30.
    pub timeout: Option<i64>,
    /// Accepts any TLS certificate. Default false.
    pub insecure: Option<bool>,
    /// Headers of the request.
    pub headers: Option<Vec<Header>>,
    /// Credentials.
    pub authentication: Option<Authentication>,
    /// Asks for a range instead of an instant.
    pub range_query: Option<RangeQuery>,
}

/// A range of instants.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct RangeQuery {
    /// Expression that gives the first instant.
    pub start: Option<String>,
    /// Expression that gives the last instant.
    pub end: Option<String>,
    /// Duration between points.
    pub step: Option<String>,
}

/// A header of a request.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Header {
    /// Name.
    #[schemars(extend("x-required" = true))]
    pub key: String,
    /// Value.
    #[schemars(extend("x-required" = true))]
    pub value: String,
}

/// Credentials.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct Authentication {
    /// AWS request signing.
    pub sigv4: Option<Sigv4>,
    /// OAuth 2 client credentials.
    pub oauth2: Option<OAuth2>,
    /// User name and password.
    #[serde(rename = "basicAuth")]
    pub basic_auth: Option<BasicAuth>,
}

/// OAuth 2 client credentials.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct OAuth2 {
    /// Token endpoint.
    pub token_url: Option<String>,
    /// Client.
    pub client_id: Option<String>,
    /// Secret of the client; usually an argument from a Secret.
    pub client_secret: Option<String>,
    /// Scopes.
    pub scopes: Option<Vec<String>>,
}

/// User name and password.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default)]
pub struct BasicAuth {
    /// User name.
    pub username: Option<String>,
    /// Password; usually an argument from a Secret.
    pub password: Option<String>,
}

/// A request to any HTTP endpoint.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct WebMetric {
    /// `GET`, `POST` or `PUT`. Default `GET`.
    pub method: Option<String>,
    /// URL.
    #[schemars(extend("x-required" = true))]
    pub url: String,
    /// Headers of the request.
    pub headers: Option<Vec<Header>>,
    /// Body; only with `POST` and `PUT`, not together with `jsonBody`.
    pub body: Option<String>,
    /// JSON body.
    #[schemars(schema_with = "any_value")]
    pub json_body: Option<Value>,
    /// Seconds until the request counts as failed. Default 10.
    pub timeout_seconds: Option<i64>,
    /// Where in the answer the value is, such as `{$.data.ok}`. Default `{$}`.
    pub json_path: Option<String>,
    /// Accepts any TLS certificate. Default false.
    pub insecure: Option<bool>,
    /// Credentials.
    pub authentication: Option<Authentication>,
}

/// AWS request signing, for Amazon Managed Prometheus.
#[skip_serializing_none]
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "camelCase", default)]
pub struct Sigv4 {
    /// Region.
    pub region: Option<String>,
    /// Profile.
    pub profile: Option<String>,
    /// IAM role.
    pub role_arn: Option<String>,
}
