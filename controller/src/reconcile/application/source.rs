//! Asks Git and renders: slow work whose results are facts.

use std::sync::{Arc, PoisonError};

use sluice_crds::application::ApplicationSource;
use sluice_engine::view::Fact;
use sluice_repo::{CommitId, Manifests, RepoError, Source, SourceKind};
use sluice_sync::view::{ApplicationView, RenderKey, Rendered, Revision, RevisionKey};

use super::ApplicationObserver;
use crate::queue::Key;
use crate::reconcile::Work;

impl ApplicationObserver {
    pub(super) fn resolve(&self, wanted: RevisionKey) -> Work {
        // Which folder and which renderer make no difference to what a branch points at.
        let source = Source {
            repo_url: wanted.url.clone(),
            revision: wanted.revision.clone(),
            path: String::new(),
            kind: SourceKind::Detect,
            allow_empty: true,
        };
        let (repo, known, clock) =
            (Arc::clone(&self.repo), Arc::clone(&self.known), Arc::clone(&self.clock));
        Box::pin(async move {
            let resolved = repo.resolve(&source).await;
            let now = clock.now();
            let fact = match resolved {
                Ok(commit) => Fact::Known(Revision { commit: commit.as_str().to_owned() }, now),
                Err(error) => Fact::Failed(words(&error), now),
            };
            known.lock().unwrap_or_else(PoisonError::into_inner).revisions.insert(wanted, fact);
        })
    }

    pub(super) fn render(&self, key: &Key, view: &ApplicationView, wanted: RenderKey) -> Work {
        let automated =
            view.application.spec.sync_policy.as_ref().and_then(|p| p.automated.as_ref());
        let allow_empty = automated.is_some_and(|automated| automated.allow_empty == Some(true));
        let (repo, known, clock) =
            (Arc::clone(&self.repo), Arc::clone(&self.known), Arc::clone(&self.clock));
        let key = key.clone();
        Box::pin(async move {
            let rendered = match (wanted.source(), CommitId::parse(&wanted.commit)) {
                (Some(source), Some(commit)) => {
                    rendered(&repo, &source, &commit, allow_empty).await
                }
                (None, _) => Err("the source cannot be read".to_owned()),
                (_, None) => Err(format!("`{}` is no full commit id", wanted.commit)),
            };
            let now = clock.now();
            let fact = match rendered {
                Ok(rendered) => Fact::Known(Arc::new(rendered), now),
                Err(error) => Fact::Failed(error, now),
            };
            let mut known = known.lock().unwrap_or_else(PoisonError::into_inner);
            // The view that asked may not have named it yet, as with content that is put back.
            known.wanted.entry(key).or_default().insert(wanted.clone());
            known.rendered.insert(wanted, fact);
            known.drop_unwanted();
        })
    }
}

async fn rendered(
    repo: &sluice_repo::Repo,
    source: &ApplicationSource,
    commit: &CommitId,
    allow_empty: bool,
) -> Result<Rendered, String> {
    let source = Source::from_application(source, allow_empty).map_err(|error| words(&error))?;
    let manifests: Manifests = repo.render(&source, commit).await.map_err(|e| words(&e))?;
    let source_type =
        if manifests.content_key.starts_with("kustomize") { "Kustomize" } else { "Directory" };
    Ok(Rendered {
        source_type: source_type.to_owned(),
        manifests: manifests.objects.as_ref().clone(),
    })
}

fn words(error: &RepoError) -> String {
    crate::client::chain(error)
}
