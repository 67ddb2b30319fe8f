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

#[cfg(test)]
mod tests {
    use chrono::Duration;
    use serde_json::json;

    use super::foreign_writer;

    #[test]
    fn a_recent_write_by_argo_s_controller_is_noticed() {
        let now = "2026-01-01T00:10:00Z".parse().unwrap();
        let check = |manager: &str, time: &str| {
            let entry = json!({ "manager": manager, "time": time });
            foreign_writer(&[entry], now, Duration::minutes(5)).is_some()
        };
        assert!(check("argocd-application-controller", "2026-01-01T00:09:00Z"));
        assert!(!check("argocd-application-controller", "2026-01-01T00:01:00Z"), "long ago");
        assert!(
            !check("argocd-server", "2026-01-01T00:09:00Z"),
            "a person's edit through Argo's API"
        );
        assert!(!check("kubectl-edit", "2026-01-01T00:09:00Z"));
    }
}
