//! What a provider answers.

use std::collections::BTreeMap;

use sluice_lang::Value;

/// One measured value.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Sample {
    /// What the condition sees as `result`. `Display` gives the text of `measurement.value`.
    pub value: Value,
    /// For `measurement.metadata`: `warnings` of the server.
    pub metadata: BTreeMap<String, String>,
}

/// Why there is no value. A sample error is never a success: the engine counts it, or holds the weight.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct SampleError {
    /// What it means for the run.
    pub kind: SampleErrorKind,
    /// What was asked, what was answered, what to do.
    pub message: String,
}

/// What an error means for the run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SampleErrorKind {
    /// No connection: name, route, TLS.
    Unreachable,
    /// No complete answer in time.
    Timeout,
    /// The server says that it cannot (5xx, 429).
    ServerError,
    /// The server refuses us (401, 403).
    Denied,
    /// The question is wrong: a field of the metric, the query, any other 4xx.
    BadQuery,
    /// The answer is larger than we read.
    TooLarge,
    /// The answer is not what this provider answers.
    BadContent,
    /// The answer has no value where the metric looks for one.
    NoData,
    /// Sluice does not do this yet.
    Unsupported,
}

impl SampleError {
    /// Makes an error.
    pub fn new(kind: SampleErrorKind, message: impl Into<String>) -> Self {
        SampleError { kind, message: message.into() }
    }

    /// Returns whether the server could not be asked at all. Such a measurement holds the weight for a budget before it
    /// counts; every other error counts at once (`design` 12).
    pub fn holds_weight(&self) -> bool {
        match self.kind {
            SampleErrorKind::Unreachable
            | SampleErrorKind::Timeout
            | SampleErrorKind::ServerError => true,
            SampleErrorKind::Denied
            | SampleErrorKind::BadQuery
            | SampleErrorKind::TooLarge
            | SampleErrorKind::BadContent
            | SampleErrorKind::NoData
            | SampleErrorKind::Unsupported => false,
        }
    }
}
