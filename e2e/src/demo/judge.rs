//! The end of the story: everything that was recorded is judged.

use anyhow::{Context as _, Result};

use super::shop::{NAME, NAMESPACE};
use super::story::Stage;
use crate::laws;

impl Stage {
    /// Every revision and every request of the whole story, against the laws.
    ///
    /// # Errors
    /// When the record has holes: then it proves nothing.
    pub(super) async fn judge(&mut self) -> Result<()> {
        for kind in ["Rollout", "VirtualService"] {
            let object = self.eyes.see(kind, NAME).await?.context("it is there")?;
            let version = object["metadata"]["resourceVersion"].as_str().unwrap_or_default();
            self.bed.recorder.caught_up(kind, NAME, version).await?;
        }
        let verdict = laws::judge(&self.bed.recorder, NAMESPACE)?;
        for broken in &verdict.broken {
            self.timeline.moment("law", &format!("{}: {}", broken.id, broken.detail));
        }
        let promise =
            "nothing that was written breaks a law (S1–S12, S16–S19, S21, G1, G3, G4, G6)";
        let seen = format!(
            "{} broken by {} revisions of {} objects ({} of unknown writers) and {} requests",
            verdict.broken.len(),
            verdict.revisions,
            verdict.objects,
            verdict.unknown,
            verdict.requests,
        );
        self.timeline.promise(promise, verdict.broken.is_empty() && verdict.ours > 0, seen);
        Ok(())
    }
}
