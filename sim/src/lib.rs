//! A cluster in a value: API-server semantics, fake pods, fake metrics, a clock, faults; also served over HTTP.
