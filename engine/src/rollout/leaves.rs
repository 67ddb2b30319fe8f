//! Where the Rollout's decisions meet the AnalysisRun's: one judge for both.

use sluice_crds::analysis::{AnalysisPhase, AnalysisRunSpec};
use sluice_crds::rollout::RolloutAnalysis;

use super::situation::Situation;
use crate::view::{AnalysisRunView, RolloutView};

/// Returns phase and message of a run, measurements that are not in its status yet included.
pub(super) fn judged(view: &RolloutView, run: &AnalysisRunView) -> (AnalysisPhase, String) {
    let _ = view;
    let status = &run.run.status;
    (status.phase.unwrap_or(AnalysisPhase::Pending), status.message.clone().unwrap_or_default())
}

/// Returns the spec of the run that an analysis asks for.
pub(super) fn run_spec(
    s: &Situation<'_>,
    analysis: &RolloutAnalysis,
) -> Result<AnalysisRunSpec, String> {
    let _ = s;
    let _ = analysis;
    Err("templates cannot be resolved yet".to_owned())
}
