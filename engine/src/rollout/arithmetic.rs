//! The arithmetic of sizes as one table: golden in the tests, and compared for each seeded defect.

use std::fmt::Write;

use serde_json::json;
use sluice_crds::rollout::CanaryStep;
use sluice_crds::rollout::strategy::CanaryStrategy;

use super::replicas::{
    Basic, Bounds, Size, Threshold, basic_sizes, basic_target, carried, explicit_scale,
    routed_size, share, weight_at,
};

/// Returns the table.
pub fn table() -> String {
    let mut out = String::new();
    // Writing into a string cannot fail.
    let _ = shares(&mut out);
    let _ = targets(&mut out);
    let _ = bounds(&mut out);
    let _ = by_steps(&mut out);
    let _ = paths(&mut out);
    out
}

fn shares(out: &mut String) -> std::fmt::Result {
    writeln!(out, "share of N, and percent that so many of N carry")?;
    for n in [0, 1, 3, 7, 10, 99, 100] {
        let share: Vec<u32> = [0, 1, 5, 33, 50, 99, 100].map(|w| share(n, w)).to_vec();
        let carried: Vec<u32> = (0..=n.min(7)).map(|some| carried(some, n)).collect();
        writeln!(out, "{n:>3}: {share:?} {carried:?}")?;
    }
    writeln!(out, "least available of 10, 1, 0")?;
    for threshold in
        [Threshold::All, Threshold::Percent(5), Threshold::Percent(90), Threshold::Pods(3)]
    {
        let least = [10, 1, 0].map(|wanted| threshold.least(wanted));
        writeln!(out, "{threshold:?}: {least:?}")?;
    }
    Ok(())
}

fn targets(out: &mut String) -> std::fmt::Result {
    writeln!(
        out,
        "basic division of N at 0, 5, 20, 33, 50, 75, 95, 100 percent, without and with surge"
    )?;
    for n in [1, 2, 3, 4, 5, 10, 33, 100] {
        for surge in [0, 1] {
            let divided = [0, 5, 20, 33, 50, 75, 95, 100].map(|weight| {
                let (canary, stable) = basic_target(n, weight, surge);
                format!("{canary}+{stable}")
            });
            writeln!(out, "{n:>3} {surge}: {}", divided.join(" "))?;
        }
    }
    Ok(())
}

fn strategy(fields: serde_json::Value) -> CanaryStrategy {
    serde_json::from_value(fields).unwrap_or_default()
}

fn bounds(out: &mut String) -> std::fmt::Result {
    writeln!(out, "surge and unavailability of 1, 3, 10, 99")?;
    let specs = [
        json!({}),
        json!({ "maxSurge": 0, "maxUnavailable": 0 }),
        json!({ "maxSurge": "10%", "maxUnavailable": "10%" }),
        json!({ "maxSurge": 2, "maxUnavailable": "34%" }),
    ];
    for spec in specs {
        let canary = strategy(spec.clone());
        let bounds = [1, 3, 10, 99].map(|n| {
            let Bounds { surge, unavailable } = Bounds::of(&canary, n);
            format!("+{surge}-{unavailable}")
        });
        writeln!(out, "{spec}: {}", bounds.join(" "))?;
    }
    Ok(())
}

fn by_steps(out: &mut String) -> std::fmt::Result {
    writeln!(out, "weight, declared size and size of 10 by step")?;
    let spec = json!({
        "trafficRouting": {},
        "minPodsPerReplicaSet": 2,
        "steps": [
            { "setWeight": 5 }, { "setCanaryScale": { "replicas": 3 } }, { "setWeight": 20 },
            { "setCanaryScale": { "weight": 55 } }, { "pause": {} },
            { "setCanaryScale": { "matchTrafficWeight": true } }, { "setWeight": 50 },
        ],
    });
    let canary = strategy(spec);
    let steps: &[CanaryStep] = canary.steps.as_deref().unwrap_or_default();
    for index in 0..=steps.len() {
        let weight = weight_at(steps, index);
        let declared = explicit_scale(&canary, steps, index, 10);
        let size = routed_size(&canary, 10, weight);
        writeln!(out, "{index}: {weight} {declared:?} {size}")?;
    }
    Ok(())
}

/// From all stable, with a few Pods of an older set, to all current; one line for each round.
fn paths(out: &mut String) -> std::fmt::Result {
    writeln!(out, "rounds of N, surge, unavailability, weight: current+stable+older")?;
    for (n, surge, unavailable) in
        [(1, 1, 0), (1, 0, 1), (4, 1, 0), (4, 0, 1), (5, 2, 1), (10, 3, 2)]
    {
        for weight in [20, 50, 100] {
            let whole = |spec: u32| Size { spec, available: spec, observed: true };
            let (mut current, mut stable, mut older) = (whole(0), whole(n), whole(surge.min(1)));
            write!(out, "{n} {surge} {unavailable} {weight}:")?;
            for round in 0..12 {
                let sizes = basic_sizes(&Basic {
                    n,
                    weight,
                    bounds: Bounds { surge, unavailable },
                    current: Some(current),
                    stable: Some(stable),
                    older: vec![older],
                });
                let next = [sizes.current, sizes.stable, sizes.older.first().copied().unwrap_or(0)];
                if next == [current.spec, stable.spec, older.spec] && current.observed {
                    break;
                }
                // Every other round the status of the current set lags.
                let observed = round % 2 == 1;
                (stable, older) = (whole(next[1]), whole(next[2]));
                current = Size {
                    observed,
                    available: if observed { next[0] } else { 0 },
                    ..whole(next[0])
                };
                write!(out, " {}+{}+{}", next[0], next[1], next[2])?;
            }
            writeln!(out)?;
        }
    }
    Ok(())
}
