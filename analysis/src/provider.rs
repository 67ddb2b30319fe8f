//! What a metric provider is.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use chrono::{DateTime, Utc};
use sluice_crds::analysis::Provider;

use crate::sample::{Sample, SampleError};

/// A future that a trait object returns.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// One question: a metric's provider with all arguments filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// Name of the metric, for messages.
    pub metric: String,
    /// The provider's fields, without any `{{args.x}}` left.
    pub provider: Provider,
    /// What `now()` is in the bounds of a range query.
    pub now: DateTime<Utc>,
}

/// A way to ask for values. Adding one is a file in `providers/` and a line in [`crate::registry`].
pub trait MetricProvider: Send + Sync {
    /// Name as in Argo's metric labels: `Prometheus`, `Web`.
    fn name(&self) -> &'static str;

    /// Returns what belongs into `metricResults[].metadata`, such as the resolved query.
    fn metadata(&self, query: &Query) -> BTreeMap<String, String> {
        let _ = query;
        BTreeMap::new()
    }

    /// Asks once. Dropping the future ends the request.
    fn sample<'a>(&'a self, query: &'a Query) -> BoxFuture<'a, Result<Sample, SampleError>>;
}
