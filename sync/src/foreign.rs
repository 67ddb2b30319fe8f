//! Whether another GitOps controller acts on an Application.

use chrono::{DateTime, Duration, Utc};
use serde_json::Value;

/// Returns evidence that Argo CD's controller wrote an Application within the last `within`: from the object's
/// `metadata.managedFields` in wire form.
pub fn foreign_writer(
    managed_fields: &[Value],
    now: DateTime<Utc>,
    within: Duration,
) -> Option<String> {
    managed_fields.iter().find_map(|entry| {
        let manager = entry["manager"].as_str()?;
        let at = DateTime::parse_from_rfc3339(entry["time"].as_str()?).ok()?.with_timezone(&Utc);
        let is_argo = manager == "argocd-application-controller" || manager == "argocd-controller";
        (is_argo && at + within > now).then(|| {
            format!(
                "field manager `{manager}` wrote this Application at {}",
                at.format("%H:%M:%SZ")
            )
        })
    })
}
