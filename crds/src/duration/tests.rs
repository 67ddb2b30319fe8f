use super::*;

fn check(text: &str, milliseconds: Option<i64>) {
    assert_eq!(parse(text).ok().map(|d| d.num_milliseconds()), milliseconds, "{text}");
}

#[test]
fn durations_are_read_as_go_reads_them() {
    check("0", Some(0));
    check("5m", Some(300_000));
    check("1h30m", Some(5_400_000));
    check("-1.5h", Some(-5_400_000));
    check("+10s", Some(10_000));
    check(".5s", Some(500));
    check("1.s", Some(1_000));
    check("100us", Some(0));
    check("1h1h", Some(7_200_000));
    for bad in ["", "-", "5", "m", "5 m", "5d", ".s", "1.2.3s", "s5", "5m3", "9999999h", "1e3s"] {
        check(bad, None);
    }
}

#[test]
fn plain_numbers_are_seconds_where_argo_takes_them() {
    assert_eq!(parse_or_seconds("90").unwrap(), TimeDelta::seconds(90));
    assert_eq!(parse_or_seconds(" 2m ").unwrap(), TimeDelta::seconds(120));
    assert!(parse_or_seconds("soon").is_err());
    assert!(parse_or_seconds("9223372036854775807").is_err());
}

#[test]
fn what_is_printed_is_read_back() {
    for (text, printed) in [
        ("90m", "1h30m"),
        ("0s", "0s"),
        ("1500ms", "1.5s"),
        ("3600s", "1h"),
        ("-90s", "-1m30s"),
        ("61s", "1m1s"),
    ] {
        let duration = parse(text).unwrap();
        assert_eq!(print(duration), printed);
        assert_eq!(parse(printed).unwrap(), duration);
    }
}
