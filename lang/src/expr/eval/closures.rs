//! Functions that apply an expression to each element of a list: `all(result, # < 5)`.

use std::borrow::Cow;

use expr::Value;

use super::{Evaluation, Node, Scope, Stop, describe, fail};
use crate::expr::builtins;

impl Evaluation<'_> {
    pub(super) fn with_closure<'s>(
        &self,
        name: &str,
        arguments: &'s [Node],
        closure: &'s Node,
        scope: &'s Scope<'s>,
    ) -> Result<Value, Stop> {
        let Some(list) = arguments.first() else {
            return fail(format!("{name}() needs a list"));
        };
        let list = self.node(list, scope)?;
        let Value::Array(items) = list.as_ref() else {
            return fail(format!("{name}() needs a list, found {}", describe(&list)));
        };
        let each = Each { evaluation: self, name, closure, scope };
        match name {
            "all" => Ok((each.first_where(items, false)?.is_none()).into()),
            "none" => Ok((each.first_where(items, true)?.is_none()).into()),
            "any" => Ok((each.first_where(items, true)?.is_some()).into()),
            "one" => Ok((each.matching(items)?.len() == 1).into()),
            "count" => Ok(Value::Integer(each.matching(items)?.len() as i64)),
            "find" => Ok(each.first_where(items, true)?.map_or(Value::Nil, |at| items[at].clone())),
            "findIndex" => Ok(index_or_minus_one(each.first_where(items, true)?)),
            "findLast" => {
                Ok(each.matching(items)?.last().map_or(Value::Nil, |at| items[*at].clone()))
            }
            "findLastIndex" => Ok(index_or_minus_one(each.matching(items)?.last().copied())),
            "filter" => {
                let matching = each.matching(items)?;
                Ok(Value::Array(matching.into_iter().map(|at| items[at].clone()).collect()))
            }
            "map" => Ok(Value::Array(each.values(items)?)),
            "sum" => {
                let values = each.values(items)?;
                Ok(builtins::plain("sum", vec![Value::Array(values)], None)?)
            }
            "reduce" => each.reduce(items, arguments.get(1)),
            "groupBy" => each.group(items),
            _ => each.sort(items, arguments.get(1)),
        }
    }
}

fn index_or_minus_one(index: Option<usize>) -> Value {
    Value::Integer(index.map_or(-1, |at| at as i64))
}

struct Each<'e, 's> {
    evaluation: &'e Evaluation<'e>,
    name: &'e str,
    closure: &'s Node,
    scope: &'s Scope<'s>,
}

impl Each<'_, '_> {
    fn value(&self, index: usize, item: &Value, acc: Option<&Value>) -> Result<Value, Stop> {
        let index = Value::Integer(index as i64);
        let scope = Scope { parent: Some(self.scope), name: "#index", value: &index };
        let scope = Scope { parent: Some(&scope), name: "#", value: item };
        let value = match acc {
            None => self.evaluation.node(self.closure, &scope)?,
            Some(acc) => {
                let scope = Scope { parent: Some(&scope), name: "#acc", value: acc };
                let value = self.evaluation.node(self.closure, &scope)?;
                Cow::Owned(self.evaluation.owned(value)?)
            }
        };
        self.evaluation.owned(value)
    }

    fn truth(&self, index: usize, item: &Value) -> Result<bool, Stop> {
        match self.value(index, item, None)? {
            Value::Bool(value) => Ok(value),
            other => {
                let (name, found) = (self.name, describe(&other));
                fail(format!("the predicate of {name}() must be true or false, found {found}"))
            }
        }
    }

    fn first_where(&self, items: &[Value], wanted: bool) -> Result<Option<usize>, Stop> {
        for (index, item) in items.iter().enumerate() {
            if self.truth(index, item)? == wanted {
                return Ok(Some(index));
            }
        }
        Ok(None)
    }

    fn matching(&self, items: &[Value]) -> Result<Vec<usize>, Stop> {
        let mut matching = Vec::new();
        for (index, item) in items.iter().enumerate() {
            if self.truth(index, item)? {
                self.evaluation.charge_size(item)?;
                matching.push(index);
            }
        }
        Ok(matching)
    }

    fn values(&self, items: &[Value]) -> Result<Vec<Value>, Stop> {
        items.iter().enumerate().map(|(index, item)| self.value(index, item, None)).collect()
    }

    fn reduce(&self, items: &[Value], initial: Option<&Node>) -> Result<Value, Stop> {
        let (mut acc, skipped) = match (initial, items.first()) {
            (Some(initial), _) => {
                (self.evaluation.owned(self.evaluation.node(initial, self.scope)?)?, 0)
            }
            (None, Some(first)) => (first.clone(), 1),
            (None, None) => {
                return fail("reduce() of an empty list needs an initial value".to_owned());
            }
        };
        for (index, item) in items.iter().enumerate().skip(skipped) {
            acc = self.value(index, item, Some(&acc))?;
        }
        Ok(acc)
    }

    fn group(&self, items: &[Value]) -> Result<Value, Stop> {
        let mut groups: Vec<(Value, Vec<Value>)> = Vec::new();
        for (index, item) in items.iter().enumerate() {
            let key = self.value(index, item, None)?;
            self.evaluation.charge(groups.len() as u64)?;
            self.evaluation.charge_size(item)?;
            match groups.iter_mut().find(|(found, _)| *found == key) {
                Some((_, members)) => members.push(item.clone()),
                None => groups.push((key, vec![item.clone()])),
            }
        }
        Ok(Value::KeyedMap(
            groups.into_iter().map(|(key, members)| (key, Value::Array(members))).collect(),
        ))
    }

    fn sort(&self, items: &[Value], order: Option<&Node>) -> Result<Value, Stop> {
        let descending = match order {
            None => false,
            Some(order) => match self.evaluation.node(order, self.scope)?.as_ref() {
                Value::String(order) if order == "asc" => false,
                Value::String(order) if order == "desc" => true,
                other => {
                    return fail(format!(
                        "sortBy() takes \"asc\" or \"desc\", found {}",
                        describe(other)
                    ));
                }
            },
        };
        let keys = self.values(items)?;
        self.evaluation.charge(keys.len() as u64 * 8)?;
        let mut order: Vec<usize> = (0..items.len()).collect();
        let numbers: Option<Vec<f64>> = keys.iter().map(super::float).collect();
        match numbers {
            Some(numbers) => order.sort_by(|a, b| numbers[*a].total_cmp(&numbers[*b])),
            None => {
                let texts: Option<Vec<&str>> = keys.iter().map(Value::as_string).collect();
                let Some(texts) = texts else {
                    return fail("sortBy() needs numbers or texts as keys".to_owned());
                };
                order.sort_by(|a, b| texts[*a].cmp(texts[*b]));
            }
        }
        if descending {
            order.reverse();
        }
        for index in &order {
            self.evaluation.charge_size(&items[*index])?;
        }
        Ok(Value::Array(order.into_iter().map(|index| items[index].clone()).collect()))
    }
}
