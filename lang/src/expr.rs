//! Conditions of analysis: one expression in Argo's `expr` language that says whether a measured `result` is good.
//!
//! Parser and evaluator are ours, values and the built-in functions are those of `expr-lang`. The crate alone would not do:
//! an index outside of a list is nil there and an error in Argo (so that `result[0] == 1` of an empty vector would count as a
//! *successful* failure condition), a predicate that answers nil counts as true in its `all`, `??` swallows the rest of the
//! expression, `.field` closures are missing, and an expression of 40 characters can use all memory or never end.
//!
//! Bounds: text 4 KiB, nesting 32, 300 operations in the text, and a budget for the work of one evaluation.
//!
//! Source: `spec-rollouts` 6.6; precedence and semantics of expr-lang/expr v1.17.
//!
//! Differences from Argo: `??` may be mixed with other operators without parentheses (it binds tightest); functions and
//! variables that do not exist are an error when the condition is compiled, before anything is measured.

use chrono::{DateTime, Utc};

use crate::value::Value;

mod builtins;
mod eval;
mod lexer;
mod parser;

/// Longest accepted condition in bytes.
pub const MAX_TEXT_BYTES: usize = 4096;
/// Deepest accepted nesting of brackets, operands and ternaries.
pub const MAX_DEPTH: usize = 32;
/// Most operations (operators, operands, calls) in one condition.
pub const MAX_NODES: usize = 300;
/// Steps of one evaluation: visited operations and produced or compared elements. About 0.2 s of work.
pub const MAX_STEPS: u64 = 1_000_000;

/// Why a condition gave no answer. Never the user's data is to blame for a panic: there is none.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExprError {
    /// The text is no expression.
    #[error("column {column}: {message}")]
    Syntax {
        /// First column is 1; counted in characters.
        column: usize,
        /// What was found and what was expected.
        message: String,
    },
    /// The text is longer, deeper or larger than we accept.
    #[error("the condition is too {what}: {observed} of at most {limit}")]
    TooBig {
        /// `long`, `deep` or `complex`.
        what: &'static str,
        /// Measured.
        observed: usize,
        /// Limit.
        limit: usize,
    },
    /// The measurement has no element where the condition looks for one.
    #[error("no data: {0}")]
    NoData(String),
    /// An operation that these values do not have.
    #[error("{0}")]
    Evaluation(String),
    /// The answer is not true or false.
    #[error("a condition must be true or false, this one is {0}")]
    NotBool(String),
    /// The evaluation took too many steps.
    #[error("the condition takes more than {MAX_STEPS} steps on this result")]
    TooMuchWork,
}

/// A condition, parsed.
#[derive(Clone, Debug)]
pub struct Condition {
    text: String,
    root: parser::Node,
}

impl Condition {
    /// Parses a condition.
    ///
    /// # Errors
    ///
    /// *Invalid*: no expression, an unknown function or variable, or one that is too large.
    pub fn compile(text: &str) -> Result<Self, ExprError> {
        if text.len() > MAX_TEXT_BYTES {
            let (observed, limit) = (text.len(), MAX_TEXT_BYTES);
            return Err(ExprError::TooBig { what: "long", observed, limit });
        }
        Ok(Condition { text: text.to_owned(), root: parser::parse(text)? })
    }

    /// Returns the text as written.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Evaluates the condition; a condition that asks for `now()` fails, see [`Condition::eval_at`].
    ///
    /// # Errors
    ///
    /// *Inconclusive measurement*: [`ExprError::NoData`], [`ExprError::Evaluation`], [`ExprError::NotBool`],
    /// [`ExprError::TooMuchWork`].
    pub fn eval(&self, result: &Value) -> Result<bool, ExprError> {
        eval::evaluate(&self.root, result, None)
    }

    /// Evaluates the condition with `now()` as given.
    ///
    /// # Errors
    ///
    /// As [`Condition::eval`].
    pub fn eval_at(&self, result: &Value, now: DateTime<Utc>) -> Result<bool, ExprError> {
        eval::evaluate(&self.root, result, Some(now))
    }
}

/// Evaluates an expression that is an instant, such as `now() - duration("1h")`: the bounds of Prometheus' range queries.
///
/// # Errors
///
/// *Invalid*: no expression, or one that is no instant.
pub fn instant(text: &str, now: DateTime<Utc>) -> Result<DateTime<Utc>, ExprError> {
    eval::instant(&Condition::compile(text)?.root, now)
}

#[cfg(test)]
mod tests;
