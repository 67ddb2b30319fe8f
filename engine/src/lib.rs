//! Decides what a Rollout or an AnalysisRun does next; judges samples; splits traffic; decides the fence and the lease.
