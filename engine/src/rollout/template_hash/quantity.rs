//! `resource.Quantity`: how Go writes a quantity that it has read, oddities included.
//!
//! Go keeps the text as it was if a quick look says that it is canonical, and the look is a little wrong: `1.500` and `+5`
//! stay, `1000m` becomes `1`. Source: observed on k8s.io/apimachinery v0.34.5; the vectors hold some 200 cases.

const NANO: i32 = -9;
const LIMIT: i128 = i64::MAX as i128;

#[derive(Clone, Copy, PartialEq, Eq)]
enum Format {
    Decimal,
    Exponent,
    Binary,
}

/// Sign, digits before and after the point, suffix.
struct Parts<'a> {
    negative: bool,
    whole: &'a str,
    fraction: &'a str,
    suffix: &'a str,
}

/// A number `value * 10^exponent`.
#[derive(Clone, Copy)]
struct Amount {
    value: i128,
    exponent: i32,
}

/// Returns the text that Go writes for a quantity; `None` if it is none, or beyond all sense (over 10^38).
pub(super) fn canonical(text: &str) -> Option<String> {
    if text == "0" {
        return Some("0".into());
    }
    let parts = split(text)?;
    let (format, exponent) = suffix(parts.suffix)?;
    let digits = format!("{}{}", parts.whole, parts.fraction);
    match quick(&parts, &digits, format, exponent) {
        Some(Quick::AsWritten) => Some(text.to_owned()),
        Some(Quick::Amount(amount)) => render(amount, format),
        None => {
            let (amount, format) = slow(&parts, &digits, format, exponent)?;
            render(amount, format)
        }
    }
}

/// Returns the canonical form after rounding away from zero to thousandths, as the API server does with resources; `None` for
/// what is no quantity.
pub(super) fn rounded_to_milli(text: &str) -> Option<String> {
    let parts = split(text)?;
    let (format, exponent) = suffix(parts.suffix)?;
    let digits = format!("{}{}", parts.whole, parts.fraction);
    let (mut amount, format) = slow(&parts, &digits, format, exponent)?;
    while amount.exponent < -3 {
        let away = (amount.value % 10).signum();
        amount = Amount { value: amount.value / 10 + away, exponent: amount.exponent + 1 };
    }
    render(amount, format)
}

fn split(text: &str) -> Option<Parts<'_>> {
    let negative = text.starts_with('-');
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(text);
    if text.is_empty() {
        return None;
    }
    let rest = unsigned.trim_start_matches('0');
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    let (whole, rest) = rest.split_at(end);
    let whole = if whole.is_empty() { "0" } else { whole };
    let (fraction, suffix) = match rest.strip_prefix('.') {
        Some(rest) => rest.split_at(rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len())),
        None => ("", rest),
    };
    Some(Parts { negative, whole, fraction, suffix })
}

fn suffix(text: &str) -> Option<(Format, i32)> {
    const DECIMAL: [(&str, i32); 10] = [
        ("", 0),
        ("n", -9),
        ("u", -6),
        ("m", -3),
        ("k", 3),
        ("M", 6),
        ("G", 9),
        ("T", 12),
        ("P", 15),
        ("E", 18),
    ];
    const BINARY: [(&str, i32); 6] =
        [("Ki", 10), ("Mi", 20), ("Gi", 30), ("Ti", 40), ("Pi", 50), ("Ei", 60)];
    if let Some((_, exponent)) = DECIMAL.iter().find(|(name, _)| *name == text) {
        return Some((Format::Decimal, *exponent));
    }
    if let Some((_, exponent)) = BINARY.iter().find(|(name, _)| *name == text) {
        return Some((Format::Binary, *exponent));
    }
    let exponent: i32 = text.strip_prefix(['e', 'E'])?.parse().ok()?;
    (-100..=100).contains(&exponent).then_some((Format::Exponent, exponent))
}

enum Quick {
    AsWritten,
    Amount(Amount),
}

/// Go's path for numbers that fit 64 bits; `None` sends the number the slow way, which rounds and caps.
fn quick(parts: &Parts<'_>, digits: &str, format: Format, exponent: i32) -> Option<Quick> {
    let length = i32::try_from(digits.len()).ok()?;
    let (room, scale, factor) = match format {
        Format::Decimal | Format::Exponent => (18 - length, exponent, 1_i64),
        Format::Binary if parts.fraction.is_empty() => {
            (15 - length - exponent * 3 / 10 - 1, 0, 1_i64 << exponent)
        }
        Format::Binary => return None,
    };
    let scale = scale - i32::try_from(parts.fraction.len()).ok()?;
    if room < 0 || scale < NANO {
        return None;
    }
    let value: i64 = digits.parse().ok()?;
    let product = value.checked_mul(factor)?;
    let as_written = match format {
        Format::Binary => value & 7 != 0,
        Format::Decimal | Format::Exponent => {
            scale % 3 == 0 && !digits.ends_with("000") && !digits.starts_with('0')
        }
    };
    if as_written {
        return Some(Quick::AsWritten);
    }
    let signed = if parts.negative { -product } else { product };
    Some(Quick::Amount(Amount { value: signed.into(), exponent: scale }))
}

/// The path of big or long numbers: rounded away from zero to 1n, binary ones capped.
fn slow(
    parts: &Parts<'_>,
    digits: &str,
    format: Format,
    exponent: i32,
) -> Option<(Amount, Format)> {
    let mut value: i128 = digits.parse().ok()?;
    let mut scale = -i32::try_from(parts.fraction.len()).ok()?;
    match format {
        Format::Binary => match value.checked_mul(1 << exponent) {
            Some(product) => value = product,
            // Greater than 10^38 with few places after the point is above the cap.
            None if parts.fraction.len() <= 18 => (value, scale) = (i128::MAX, 0),
            None => return None,
        },
        Format::Decimal | Format::Exponent => scale += exponent,
    }
    while scale < NANO {
        value = value / 10 + i128::from(value % 10 != 0);
        scale += 1;
    }
    let mut format = format;
    if format == Format::Binary {
        let one = 10_i128.checked_pow(scale.unsigned_abs())?;
        if value > LIMIT.saturating_mul(one) {
            (value, scale) = (LIMIT, 0);
        } else if value > 0 && value < one {
            format = Format::Decimal;
        }
    }
    Some((Amount { value: if parts.negative { -value } else { value }, exponent: scale }, format))
}

fn render(amount: Amount, format: Format) -> Option<String> {
    if amount.value == 0 {
        return Some("0".into());
    }
    if format == Format::Binary
        && let Some(whole) = as_whole(amount)
        && whole.abs() >= 1024
    {
        let (mut value, mut steps) = (whole, 0_usize);
        while value % 1024 == 0 {
            value /= 1024;
            steps += 1;
        }
        let suffix = ["", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei"].get(steps).copied().unwrap_or("");
        return Some(format!("{value}{suffix}"));
    }
    let Amount { mut value, mut exponent } = amount;
    while value % 10 == 0 {
        value /= 10;
        exponent += 1;
    }
    while exponent % 3 != 0 {
        value = value.checked_mul(10)?;
        exponent -= 1;
    }
    Some(match (format, exponent) {
        (_, 0) => value.to_string(),
        (Format::Exponent, exponent) => format!("{value}e{exponent}"),
        // Go finds no suffix for what is greater than E, and writes none.
        (Format::Decimal | Format::Binary, exponent) => {
            format!("{value}{}", decimal_suffix(exponent))
        }
    })
}

fn as_whole(amount: Amount) -> Option<i128> {
    let power = 10_i128.checked_pow(amount.exponent.unsigned_abs())?;
    if amount.exponent >= 0 {
        amount.value.checked_mul(power)
    } else {
        (amount.value % power == 0).then_some(amount.value / power)
    }
}

fn decimal_suffix(exponent: i32) -> &'static str {
    match exponent {
        -9 => "n",
        -6 => "u",
        -3 => "m",
        3 => "k",
        6 => "M",
        9 => "G",
        12 => "T",
        15 => "P",
        18 => "E",
        _ => "",
    }
}
