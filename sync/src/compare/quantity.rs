//! Kubernetes quantities: `1000m` is `1`, `1Gi` is `1073741824`.

use serde_json::Value;

/// Returns whether a field is a quantity, by where built-in kinds have them.
pub(super) fn is_at(path: &str) -> bool {
    const PARENTS: &[&str] = &[
        "capacity",
        "default",
        "defaultRequest",
        "hard",
        "limits",
        "max",
        "maxLimitRequestRatio",
        "min",
        "overhead",
        "podFixed",
        "requests",
    ];
    const FIELDS: &[&str] = &["averageValue", "divisor", "sizeLimit", "value"];
    let mut parts = path.rsplit('/');
    let field = parts.next().unwrap_or_default();
    let parent = parts.next().unwrap_or_default();
    PARENTS.contains(&parent) || FIELDS.contains(&field)
}

/// Returns whether two values are the same quantity.
pub(super) fn same(a: &Value, b: &Value) -> bool {
    match (parse(a), parse(b)) {
        // Quantities are exact decimals; half a billionth of the value is far below the least step that they can have.
        (Some(a), Some(b)) => (a - b).abs() <= a.abs().max(b.abs()) * 5e-13,
        (_, _) => false,
    }
}

fn parse(value: &Value) -> Option<f64> {
    let text = match value {
        Value::Number(number) => return number.as_f64(),
        Value::String(text) => text.trim(),
        Value::Null | Value::Bool(_) | Value::Array(_) | Value::Object(_) => return None,
    };
    let split = text.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(text.len());
    // An exponent (`1e3`) is a number; a lone `E` is a suffix.
    if let Ok(number) = text.parse::<f64>() {
        return number.is_finite().then_some(number);
    }
    let number: f64 = text[..split].parse().ok()?;
    let factor = match &text[split..] {
        "n" => 1e-9,
        "u" => 1e-6,
        "m" => 1e-3,
        "k" => 1e3,
        "M" => 1e6,
        "G" => 1e9,
        "T" => 1e12,
        "P" => 1e15,
        "E" => 1e18,
        "Ki" => 1024.0,
        "Mi" => 1024.0 * 1024.0,
        "Gi" => 1024.0 * 1024.0 * 1024.0,
        "Ti" => 1024f64.powi(4),
        "Pi" => 1024f64.powi(5),
        "Ei" => 1024f64.powi(6),
        _ => return None,
    };
    Some(number * factor)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::same;

    #[test]
    fn quantities_are_compared_by_value() {
        for (a, b) in [
            (json!("1000m"), json!("1")),
            (json!(0.5), json!("500m")),
            (json!("1Gi"), json!("1024Mi")),
            (json!(2), json!("2")),
            (json!("1e3"), json!("1k")),
        ] {
            assert!(same(&a, &b), "{a} {b}");
        }
        for (a, b) in
            [(json!("1G"), json!("1Gi")), (json!("1"), json!("1m")), (json!("x"), json!("x"))]
        {
            assert!(!same(&a, &b), "{a} {b}");
        }
    }
}
