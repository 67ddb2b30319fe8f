//! The evaluation of a tree, with a budget.
//!
//! Values are borrowed as long as possible: `all(result, # < 5)` copies nothing. Each visited node costs a step; each
//! produced, copied or compared element costs one too, so that neither time nor memory can grow without bound.

use std::borrow::Cow;
use std::cell::Cell;
use std::cmp::Ordering;

use chrono::{DateTime, Utc};
use expr::Value;

use super::builtins::{self, describe};
use super::parser::{Node, Unary};
use super::{ExprError, MAX_STEPS};

mod closures;

pub(super) fn evaluate(
    root: &Node,
    result: &crate::Value,
    now: Option<DateTime<Utc>>,
) -> Result<bool, ExprError> {
    match value(root, result, now)? {
        Value::Bool(value) => Ok(value),
        other => Err(ExprError::NotBool(describe(&other))),
    }
}

pub(super) fn instant(root: &Node, now: DateTime<Utc>) -> Result<DateTime<Utc>, ExprError> {
    match value(root, &crate::Value::Nil, Some(now))? {
        Value::DateTime(value) => Ok(value.to_utc()),
        other => {
            Err(ExprError::Evaluation(format!("expected an instant, found {}", describe(&other))))
        }
    }
}

fn value(
    root: &Node,
    result: &crate::Value,
    now: Option<DateTime<Utc>>,
) -> Result<Value, ExprError> {
    let result = convert(result);
    let evaluation = Evaluation { steps: Cell::new(MAX_STEPS), result: &result, now };
    let scope = Scope { parent: None, name: "result", value: &result };
    match evaluation.node(root, &scope) {
        Ok(value) => Ok(value.into_owned()),
        Err(Stop::Error(error)) => Err(error),
        Err(Stop::NilChain) => Ok(Value::Nil),
    }
}

fn convert(value: &crate::Value) -> Value {
    match value {
        crate::Value::Nil => Value::Nil,
        crate::Value::Bool(value) => Value::Bool(*value),
        crate::Value::Number(value) => Value::Float(*value),
        crate::Value::String(text) => Value::String(text.clone()),
        crate::Value::Array(items) => Value::Array(items.iter().map(convert).collect()),
        crate::Value::Map(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), convert(value))).collect()
        }
    }
}

/// Why the evaluation of a node ended without a value.
enum Stop {
    Error(ExprError),
    /// Something before `?.` is nil: the chain around it is nil.
    NilChain,
}

impl From<ExprError> for Stop {
    fn from(error: ExprError) -> Self {
        Stop::Error(error)
    }
}

fn fail<T>(message: String) -> Result<T, Stop> {
    Err(Stop::Error(ExprError::Evaluation(message)))
}

/// Names in scope, innermost first.
struct Scope<'a> {
    parent: Option<&'a Scope<'a>>,
    name: &'a str,
    value: &'a Value,
}

impl<'a> Scope<'a> {
    fn find(&self, name: &str) -> Option<&'a Value> {
        let mut scope = self;
        loop {
            if scope.name == name {
                return Some(scope.value);
            }
            scope = scope.parent?;
        }
    }
}

struct Evaluation<'a> {
    steps: Cell<u64>,
    result: &'a Value,
    now: Option<DateTime<Utc>>,
}

type Evaluated<'s> = Result<Cow<'s, Value>, Stop>;

impl Evaluation<'_> {
    fn charge(&self, steps: u64) -> Result<(), Stop> {
        match self.steps.get().checked_sub(steps) {
            Some(left) => {
                self.steps.set(left);
                Ok(())
            }
            None => Err(Stop::Error(ExprError::TooMuchWork)),
        }
    }

    /// Charges for reading or copying all of `value`, without looking further than the budget.
    fn charge_size(&self, value: &Value) -> Result<(), Stop> {
        match value {
            Value::String(text) => self.charge(1 + text.len() as u64 / 16),
            Value::Bytes(bytes) => self.charge(1 + bytes.len() as u64 / 16),
            Value::Array(items) => {
                self.charge(1)?;
                items.iter().try_for_each(|item| self.charge_size(item))
            }
            Value::Map(entries) => {
                self.charge(1)?;
                entries.values().try_for_each(|value| self.charge_size(value))
            }
            Value::KeyedMap(entries) => {
                self.charge(1)?;
                entries.iter().try_for_each(|(_, value)| self.charge_size(value))
            }
            _ => self.charge(1),
        }
    }

    fn owned(&self, value: Cow<'_, Value>) -> Result<Value, Stop> {
        if let Cow::Borrowed(value) = &value {
            self.charge_size(value)?;
        }
        Ok(value.into_owned())
    }

    fn node<'s>(&self, node: &'s Node, scope: &'s Scope<'s>) -> Evaluated<'s> {
        self.charge(1)?;
        match node {
            Node::Literal(value) => Ok(Cow::Borrowed(value)),
            Node::Variable(name) => {
                Ok(Cow::Borrowed(scope.find(name).ok_or_else(|| unknown(name))?))
            }
            Node::Pointer(name) => self.pointer(name, scope),
            Node::Array(items) => self.array(items, scope),
            Node::Map(entries) => self.map(entries, scope),
            Node::Unary(unary, operand) => self.unary(*unary, operand, scope),
            Node::Binary(operator, left, right) => self.binary(operator, left, right, scope),
            Node::Chain(inner) => match self.node(inner, scope) {
                Err(Stop::NilChain) => Ok(Cow::Owned(Value::Nil)),
                other => other,
            },
            Node::Index { base, key, optional } => self.index(base, key, *optional, scope),
            Node::Slice { base, from, to } => {
                self.slice(base, from.as_deref(), to.as_deref(), scope)
            }
            Node::Method { base, name, arguments } => self.method(base, name, arguments, scope),
            Node::Call { name, arguments, closure } => {
                self.call(name, arguments, closure.as_deref(), scope)
            }
            Node::If(condition, consequent, alternative) => {
                let branch =
                    if self.truth("?", condition, scope)? { consequent } else { alternative };
                self.node(branch, scope)
            }
            Node::Shared(inner) => self.node(inner, scope),
            Node::Let(name, value, rest) => {
                let value = self.node(value, scope)?;
                let scope = Scope { parent: Some(scope), name, value: &value };
                Ok(Cow::Owned(self.owned(self.node(rest, &scope)?)?))
            }
        }
    }

    /// `#` is bound under the name `#`; `#acc` and `#index` under theirs.
    fn pointer<'s>(&self, name: &str, scope: &'s Scope<'s>) -> Evaluated<'s> {
        let bound = match name {
            "" => scope.find("#"),
            "acc" => scope.find("#acc"),
            "index" => scope.find("#index"),
            _ => None,
        };
        Ok(Cow::Borrowed(bound.ok_or_else(|| unknown(&format!("#{name}")))?))
    }

    fn array<'s>(&self, items: &'s [Node], scope: &'s Scope<'s>) -> Evaluated<'s> {
        let items: Result<Vec<Value>, Stop> =
            items.iter().map(|item| self.owned(self.node(item, scope)?)).collect();
        Ok(Cow::Owned(Value::Array(items?)))
    }

    fn map<'s>(&self, entries: &'s [(String, Node)], scope: &'s Scope<'s>) -> Evaluated<'s> {
        let entries: Result<Vec<(String, Value)>, Stop> = entries
            .iter()
            .map(|(key, value)| Ok((key.clone(), self.owned(self.node(value, scope)?)?)))
            .collect();
        Ok(Cow::Owned(entries?.into_iter().collect()))
    }

    fn truth<'s>(
        &self,
        operator: &str,
        node: &'s Node,
        scope: &'s Scope<'s>,
    ) -> Result<bool, Stop> {
        match self.node(node, scope)?.as_ref() {
            Value::Bool(value) => Ok(*value),
            other => fail(format!("`{operator}` needs true or false, found {}", describe(other))),
        }
    }

    fn unary<'s>(&self, unary: Unary, operand: &'s Node, scope: &'s Scope<'s>) -> Evaluated<'s> {
        if let Unary::Not = unary {
            return Ok(Cow::Owned((!self.truth("!", operand, scope)?).into()));
        }
        let value = self.node(operand, scope)?;
        let negative = matches!(unary, Unary::Minus);
        match value.as_ref() {
            Value::Integer(number) if negative => Ok(Cow::Owned(number.wrapping_neg().into())),
            Value::Float(number) if negative => Ok(Cow::Owned((-number).into())),
            Value::Integer(_) | Value::Float(_) => Ok(value),
            other => fail(format!("a sign needs a number, found {}", describe(other))),
        }
    }

    fn binary<'s>(
        &self,
        operator: &'static str,
        left: &'s Node,
        right: &'s Node,
        scope: &'s Scope<'s>,
    ) -> Evaluated<'s> {
        match operator {
            "&&" | "and" => {
                let both = self.truth("&&", left, scope)? && self.truth("&&", right, scope)?;
                return Ok(Cow::Owned(both.into()));
            }
            "||" | "or" => {
                let either = self.truth("||", left, scope)? || self.truth("||", right, scope)?;
                return Ok(Cow::Owned(either.into()));
            }
            "??" => {
                return match self.node(left, scope) {
                    Ok(value) if !matches!(value.as_ref(), Value::Nil) => Ok(value),
                    Ok(_) | Err(Stop::NilChain) => self.node(right, scope),
                    Err(error) => Err(error),
                };
            }
            _ => {}
        }
        let (left, right) = (self.node(left, scope)?, self.node(right, scope)?);
        let (left, right) = (left.as_ref(), right.as_ref());
        if operator == ".." {
            return self.range(left, right);
        }
        if let Some(value) = of_numbers(operator, left, right) {
            return Ok(Cow::Owned(value));
        }
        self.charge_size(left)?;
        self.charge_size(right)?;
        Ok(Cow::Owned(builtins::operator(operator, left, right)?))
    }

    fn range<'s>(&self, from: &Value, to: &Value) -> Evaluated<'s> {
        match (from, to) {
            (Value::Integer(from), Value::Integer(to)) => {
                self.charge(to.saturating_sub(*from).max(0).unsigned_abs())?;
                Ok(Cow::Owned(Value::Array((*from..=*to).map(Value::Integer).collect())))
            }
            _ => fail(format!(
                "`..` needs two whole numbers, found {} and {}",
                describe(from),
                describe(to)
            )),
        }
    }

    fn index<'s>(
        &self,
        base: &'s Node,
        key: &'s Node,
        optional: bool,
        scope: &'s Scope<'s>,
    ) -> Evaluated<'s> {
        let base = self.node(base, scope)?;
        if optional && matches!(base.as_ref(), Value::Nil) {
            return Err(Stop::NilChain);
        }
        let key = self.node(key, scope)?;
        match base {
            Cow::Borrowed(base) => Ok(element(base, &key)?.map_or_else(nil, Cow::Borrowed)),
            Cow::Owned(base) => {
                Ok(element(&base, &key)?.map_or_else(nil, |value| Cow::Owned(value.clone())))
            }
        }
    }

    fn slice<'s>(
        &self,
        base: &'s Node,
        from: Option<&'s Node>,
        to: Option<&'s Node>,
        scope: &'s Scope<'s>,
    ) -> Evaluated<'s> {
        let base = self.node(base, scope)?;
        let bound = |node: Option<&'s Node>, default: usize, length: usize| match node {
            None => Ok(default),
            Some(node) => match whole(&*self.node(node, scope)?) {
                Some(index) if index < 0 => {
                    Ok(length.saturating_sub(usize::try_from(-index).unwrap_or(usize::MAX)))
                }
                Some(index) => Ok(usize::try_from(index).unwrap_or(usize::MAX).min(length)),
                None => fail("a slice needs whole numbers".to_owned()),
            },
        };
        match base.as_ref() {
            Value::Array(items) => {
                let to = bound(to, items.len(), items.len())?;
                let from = bound(from, 0, items.len())?.min(to);
                let part = Value::Array(items[from..to].to_vec());
                self.charge_size(&part)?;
                Ok(Cow::Owned(part))
            }
            Value::String(text) => {
                let characters: Vec<char> = text.chars().collect();
                self.charge(characters.len() as u64)?;
                let to = bound(to, characters.len(), characters.len())?;
                let from = bound(from, 0, characters.len())?.min(to);
                let part: String = characters[from..to].iter().collect();
                Ok(Cow::Owned(part.into()))
            }
            other => fail(format!("only a list or a text has slices, found {}", describe(other))),
        }
    }

    fn method<'s>(
        &self,
        base: &'s Node,
        name: &str,
        arguments: &'s [Node],
        scope: &'s Scope<'s>,
    ) -> Evaluated<'s> {
        let base = self.owned(self.node(base, scope)?)?;
        if !matches!(base, Value::DateTime(_) | Value::Duration(_) | Value::Timezone(_)) {
            return fail(format!("{} has no method `{name}`", describe(&base)));
        }
        let arguments = self.arguments(arguments, scope)?;
        Ok(Cow::Owned(builtins::method(name, base, arguments)?))
    }

    fn arguments<'s>(
        &self,
        arguments: &'s [Node],
        scope: &'s Scope<'s>,
    ) -> Result<Vec<Value>, Stop> {
        arguments.iter().map(|argument| self.owned(self.node(argument, scope)?)).collect()
    }

    fn call<'s>(
        &self,
        name: &str,
        arguments: &'s [Node],
        closure: Option<&'s Node>,
        scope: &'s Scope<'s>,
    ) -> Evaluated<'s> {
        if let Some(closure) = closure {
            return Ok(Cow::Owned(self.with_closure(name, arguments, closure, scope)?));
        }
        if let ("len", [argument]) = (name, arguments)
            && let Value::Array(items) = self.node(argument, scope)?.as_ref()
        {
            return Ok(Cow::Owned(Value::Integer(items.len() as i64)));
        }
        let values = self.arguments(arguments, scope)?;
        if let Some(value) = builtins::of_argo(name, &values, self.result) {
            return Ok(Cow::Owned(value?));
        }
        self.charge_product(name, &values)?;
        let value = builtins::plain(name, values, self.now)?;
        self.charge_size(&value)?;
        Ok(Cow::Owned(value))
    }

    /// Functions whose answer is larger than their arguments pay before they are called.
    fn charge_product(&self, name: &str, values: &[Value]) -> Result<(), Stop> {
        let length = |value: Option<&Value>| match value {
            Some(Value::String(text)) => text.len() as u64,
            Some(Value::Array(items)) => items.len() as u64,
            Some(Value::Integer(count)) => (*count).max(0).unsigned_abs(),
            _ => 1,
        };
        let (first, second) = (length(values.first()), length(values.get(1)));
        match name {
            "repeat" | "join" => self.charge(first.saturating_mul(second) / 16),
            "replace" => self.charge((first + 1).saturating_mul(length(values.get(2)) + 1) / 16),
            // Quadratic in expr-lang.
            "uniq" | "fromPairs" => self.charge(first.saturating_mul(first) / 16),
            "sort" => self.charge(first.saturating_mul(8)),
            _ => Ok(()),
        }
    }
}

fn nil<'s>() -> Cow<'s, Value> {
    Cow::Owned(Value::Nil)
}

fn unknown(name: &str) -> Stop {
    Stop::Error(ExprError::Evaluation(format!("unknown name `{name}`")))
}

fn whole(value: &Value) -> Option<i64> {
    match value {
        Value::Integer(value) => Some(*value),
        Value::Float(value) if value.fract() == 0.0 && value.abs() < 1e15 => Some(*value as i64),
        _ => None,
    }
}

/// The element of a list or object. A key that an object lacks is nil; an index outside of a list is an error, as in Argo:
/// an empty vector must not look like an answer.
fn element<'v>(base: &'v Value, key: &Value) -> Result<Option<&'v Value>, Stop> {
    match (base, key) {
        (Value::Map(entries), Value::String(key)) => Ok(entries.get(key)),
        (Value::KeyedMap(entries), key) => {
            Ok(entries.iter().find(|(found, _)| found == key).map(|(_, value)| value))
        }
        (Value::Array(items), key) => {
            let Some(index) = whole(key) else {
                return fail(format!(
                    "a list is indexed by whole numbers, found {}",
                    describe(key)
                ));
            };
            let offset = if index < 0 { items.len() as i64 + index } else { index };
            let found = usize::try_from(offset).ok().and_then(|offset| items.get(offset));
            if found.is_some() {
                return Ok(found);
            }
            Err(Stop::Error(ExprError::NoData(if items.is_empty() {
                format!("index {index} of an empty list")
            } else {
                format!("index {index} of a list of {}", items.len())
            })))
        }
        (Value::Nil, key) => {
            Err(Stop::Error(ExprError::NoData(format!("{} of nil", describe(key)))))
        }
        (other, key) => fail(format!("{} has no element {}", describe(other), describe(key))),
    }
}

/// Arithmetic and order of numbers, without the way through `expr-lang`.
fn of_numbers(operator: &str, left: &Value, right: &Value) -> Option<Value> {
    let order = match (left, right) {
        (Value::Integer(left), Value::Integer(right)) => Some(left.cmp(right)),
        _ => float(left)?.partial_cmp(&float(right)?),
    };
    Some(Value::Bool(match operator {
        "==" => order == Some(Ordering::Equal),
        "!=" => order != Some(Ordering::Equal),
        "<" => order == Some(Ordering::Less),
        "<=" => matches!(order, Some(Ordering::Less | Ordering::Equal)),
        ">" => order == Some(Ordering::Greater),
        ">=" => matches!(order, Some(Ordering::Greater | Ordering::Equal)),
        _ => return None,
    }))
}

fn float(value: &Value) -> Option<f64> {
    match value {
        Value::Integer(value) => Some(*value as f64),
        Value::Float(value) => Some(*value),
        _ => None,
    }
}
