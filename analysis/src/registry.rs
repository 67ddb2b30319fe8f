//! The table of providers. Adding one is a file in `providers/` and a line here.

use sluice_crds::analysis::Provider;

use crate::http::Deps;
use crate::provider::MetricProvider;
use crate::providers::{prometheus::Prometheus, web::Web};
use crate::sample::{SampleError, SampleErrorKind};

/// A provider with the test whether a metric asks for it.
pub struct Provided {
    /// The provider.
    pub provider: Box<dyn MetricProvider>,
    /// Returns whether the metric's provider is this one.
    pub wanted_by: fn(&Provider) -> bool,
}

/// Returns all providers, alphabetically.
pub fn providers(deps: &Deps) -> Vec<Provided> {
    vec![
        Provided {
            provider: Box::new(Prometheus::new(deps)),
            wanted_by: |provider| provider.prometheus.is_some(),
        },
        Provided {
            provider: Box::new(Web::new(deps)),
            wanted_by: |provider| provider.web.is_some(),
        },
    ]
}

/// Returns the provider that a metric asks for.
///
/// # Errors
///
/// [`SampleErrorKind::Unsupported`] for a provider that is not implemented yet, [`SampleErrorKind::BadQuery`] for none or
/// more than one.
pub fn find<'p>(
    providers: &'p [Provided],
    wanted: &Provider,
) -> Result<&'p dyn MetricProvider, SampleError> {
    let named: Vec<String> = match serde_json::to_value(wanted) {
        Ok(serde_json::Value::Object(fields)) => fields.keys().cloned().collect(),
        _ => Vec::new(),
    };
    if named.len() != 1 {
        let found = if named.is_empty() { "none".to_owned() } else { named.join(", ") };
        let message = format!("a metric has exactly one provider, found {found}");
        return Err(SampleError::new(SampleErrorKind::BadQuery, message));
    }
    let found = providers.iter().find(|provided| (provided.wanted_by)(wanted));
    found.map(|provided| &*provided.provider).ok_or_else(|| {
        let message = format!(
            "provider `{}` is not implemented yet; use `prometheus`, `web` or `job`",
            named[0]
        );
        SampleError::new(SampleErrorKind::Unsupported, message)
    })
}
