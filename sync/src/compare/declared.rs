//! Comparison of what is declared with what is live, value by value.

use serde_json::Value;

use super::lists::{self, Shape};
use super::{Comparer, Difference, DifferenceKind, pointer, quantity};

impl Comparer<'_> {
    pub(super) fn value(
        &self,
        path: &str,
        wanted: &Value,
        live: Option<&Value>,
        found: &mut Vec<Difference>,
    ) {
        let Some(live) = live.filter(|live| !live.is_null()) else {
            if !self.counts_as_absent(wanted) {
                found.push(difference(path, DifferenceKind::Missing, Some(wanted), None));
            }
            return;
        };
        match (wanted, live) {
            (Value::Object(fields), Value::Object(live)) => {
                for (field, value) in fields {
                    self.value(&pointer(path, field), value, live.get(field), found);
                }
            }
            (Value::Array(wanted), Value::Array(live)) => self.list(path, wanted, live, found),
            (wanted, live) => {
                if !self.same(path, wanted, live) {
                    found.push(difference(path, DifferenceKind::Changed, Some(wanted), Some(live)));
                }
            }
        }
    }

    /// Empty maps and lists are as good as absent; of built-in kinds zero values are, too: their Go form omits them.
    fn counts_as_absent(&self, wanted: &Value) -> bool {
        match wanted {
            Value::Null => true,
            Value::Object(map) => {
                map.is_empty() || (self.builtin && map.values().all(|v| self.counts_as_absent(v)))
            }
            Value::Array(items) => items.is_empty(),
            Value::Bool(value) => self.builtin && !value,
            Value::Number(value) => self.builtin && value.as_f64() == Some(0.0),
            Value::String(value) => self.builtin && value.is_empty(),
        }
    }

    fn same(&self, path: &str, wanted: &Value, live: &Value) -> bool {
        if wanted == live {
            return true;
        }
        if let (Value::Number(a), Value::Number(b)) = (wanted, live) {
            return a.as_f64() == b.as_f64();
        }
        // The API server rewrites quantities of built-in kinds (`1000m` becomes `1`), and of none else.
        self.builtin && quantity::is_at(path) && quantity::same(wanted, live)
    }

    fn list(&self, path: &str, wanted: &[Value], live: &[Value], found: &mut Vec<Difference>) {
        match lists::shape(self.builtin, path, wanted) {
            Shape::Keyed(keys) => self.keyed(path, keys, wanted, live, found),
            Shape::Set => {
                for item in wanted.iter().filter(|item| !live.contains(item)) {
                    found.push(difference(path, DifferenceKind::Missing, Some(item), None));
                }
            }
            Shape::Atomic => self.atomic(path, wanted, live, found),
        }
    }

    fn keyed(
        &self,
        path: &str,
        keys: &[&str],
        wanted: &[Value],
        live: &[Value],
        found: &mut Vec<Difference>,
    ) {
        for (index, item) in wanted.iter().enumerate() {
            match live.iter().position(|other| lists::same_key(keys, item, other)) {
                Some(place) => {
                    self.value(&format!("{path}/{place}"), item, live.get(place), found);
                }
                None => {
                    let path = format!("{path}/{index}");
                    found.push(difference(&path, DifferenceKind::Missing, Some(item), None));
                }
            }
        }
    }

    /// An atomic list is one value: its length counts, and fields that somebody added inside count unless the API server
    /// added them, which is so while the list is still ours.
    fn atomic(&self, path: &str, wanted: &[Value], live: &[Value], found: &mut Vec<Difference>) {
        if wanted.len() != live.len() {
            let (wanted, live) = (Value::from(wanted), Value::from(live));
            found.push(difference(path, DifferenceKind::Changed, Some(&wanted), Some(&live)));
            return;
        }
        for (index, (item, other)) in wanted.iter().zip(live).enumerate() {
            self.value(&format!("{path}/{index}"), item, Some(other), found);
        }
        if !self.builtin && !super::managed::owns(self.live, path) {
            for (index, (item, other)) in wanted.iter().zip(live).enumerate() {
                added(&format!("{path}/{index}"), item, other, found);
            }
        }
    }
}

/// Finds fields that are live inside an atomic list and not declared.
fn added(path: &str, wanted: &Value, live: &Value, found: &mut Vec<Difference>) {
    match (wanted, live) {
        (Value::Object(wanted), Value::Object(live)) => {
            for (field, value) in live {
                let path = pointer(path, field);
                match wanted.get(field) {
                    Some(wanted) => added(&path, wanted, value, found),
                    None if is_empty(value) => {}
                    None => {
                        found.push(difference(&path, DifferenceKind::Changed, None, Some(value)));
                    }
                }
            }
        }
        (Value::Array(wanted), Value::Array(live)) if wanted.len() == live.len() => {
            for (index, (wanted, live)) in wanted.iter().zip(live).enumerate() {
                added(&format!("{path}/{index}"), wanted, live, found);
            }
        }
        (_, _) => {}
    }
}

fn is_empty(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::Bool(value) => !value,
        Value::Number(value) => value.as_f64() == Some(0.0),
        Value::String(value) => value.is_empty(),
        Value::Array(items) => items.is_empty(),
        Value::Object(map) => map.is_empty(),
    }
}

fn difference(
    path: &str,
    kind: DifferenceKind,
    wanted: Option<&Value>,
    live: Option<&Value>,
) -> Difference {
    Difference { pointer: path.to_owned(), kind, wanted: wanted.cloned(), live: live.cloned() }
}
