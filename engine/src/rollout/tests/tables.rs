//! Golden tables of the arithmetic (`spec-rollouts` 3.4).

use std::fmt::Write;

use crate::rollout::replicas::{Basic, Bounds, Size, basic_sizes, basic_target, carried, share};

#[test]
fn the_arithmetic_of_sizes_is_as_the_table_says() {
    insta::assert_snapshot!(crate::rollout::arithmetic::table());
}

#[test]
fn a_basic_canary_divides_its_pods_like_argo() {
    let mut table = String::from("  N  w%  | surge 0   surge 1\n");
    for n in [1, 2, 3, 4, 5, 10, 33] {
        for weight in [0, 1, 10, 20, 25, 33, 50, 66, 75, 90, 99, 100] {
            let (c0, s0) = basic_target(n, weight, 0);
            let (c1, s1) = basic_target(n, weight, 1);
            writeln!(table, "{n:>3} {weight:>3} | {c0:>3}+{s0:<3}  {c1:>3}+{s1:<3}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

/// Every path from all stable to all current, one line for each round.
fn path(n: u32, surge: u32, unavailable: u32, weight: u32) -> String {
    let mut current = Size { spec: 0, available: 0, observed: true };
    let mut stable = Size { spec: n, available: n, observed: true };
    let mut line = String::new();
    for _ in 0..20 {
        let basic = Basic {
            n,
            weight,
            bounds: Bounds { surge, unavailable },
            current: Some(current),
            stable: Some(stable),
            older: Vec::new(),
        };
        let sizes = basic_sizes(&basic);
        assert!(sizes.current + sizes.stable <= n + surge, "S13: too many wanted");
        let left = sizes.current.min(current.available) + sizes.stable.min(stable.available);
        assert!(left >= n - unavailable, "S13: too few available");
        if (sizes.current, sizes.stable) == (current.spec, stable.spec) {
            break;
        }
        current = Size { spec: sizes.current, available: sizes.current, observed: true };
        stable = Size { spec: sizes.stable, available: sizes.stable, observed: true };
        write!(line, " {}+{}", current.spec, stable.spec).unwrap();
    }
    line
}

#[test]
fn a_basic_canary_moves_within_surge_and_unavailability() {
    let mut table = String::from("N surge unavailable w%: canary+stable by rounds\n");
    for (n, surge, unavailable) in
        [(1, 1, 0), (1, 0, 1), (4, 1, 0), (4, 0, 1), (5, 2, 1), (10, 3, 2)]
    {
        for weight in [20, 50, 100] {
            let path = path(n, surge, unavailable, weight);
            writeln!(table, "{n} {surge} {unavailable} {weight}:{path}").unwrap();
        }
    }
    insta::assert_snapshot!(table);
}

#[test]
fn shares_round_up_and_what_is_carried_rounds_down() {
    assert_eq!((share(5, 1), share(5, 20), share(5, 21), share(0, 50)), (1, 1, 2, 0));
    assert_eq!((carried(3, 7), carried(7, 7), carried(9, 7), carried(1, 0)), (42, 100, 100, 0));
}

#[test]
fn nothing_shrinks_on_a_status_that_lags() {
    let basic = Basic {
        n: 4,
        weight: 100,
        bounds: Bounds { surge: 1, unavailable: 0 },
        current: Some(Size { spec: 4, available: 0, observed: false }),
        stable: Some(Size { spec: 1, available: 1, observed: true }),
        older: Vec::new(),
    };
    assert_eq!(basic_sizes(&basic).stable, 1);
}
