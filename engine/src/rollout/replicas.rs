//! How many Pods each ReplicaSet should have (`spec-rollouts` 3.4). Numbers in, numbers out.

use sluice_crds::rollout::CanaryStep;
use sluice_crds::rollout::strategy::{CanaryStrategy, ReplicaProgressThreshold};

/// Share of Pods that must be available to go on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Threshold {
    /// All; also the size must be the wanted one.
    All,
    /// Percent of the wanted size.
    Percent(u32),
    /// A number of Pods.
    Pods(u32),
}

impl Threshold {
    pub(crate) fn of(spec: Option<&ReplicaProgressThreshold>) -> Self {
        let Some(spec) = spec else { return Self::All };
        let value = u32::try_from(spec.value).unwrap_or(0);
        match spec.kind.as_str() {
            "Percent" => Self::Percent(value.min(100)),
            "Pods" => Self::Pods(value),
            _ => Self::All,
        }
    }

    /// Returns how many of `wanted` Pods must be available; never 0 if any is wanted.
    pub(crate) fn least(self, wanted: u32) -> u32 {
        if wanted == 0 {
            return 0;
        }
        match self {
            Self::All => wanted,
            Self::Percent(percent) if seeded!(ThresholdMayBeZero) => wanted * percent / 100,
            Self::Percent(percent) => share(wanted, percent).max(1),
            Self::Pods(pods) => pods.min(wanted).max(1),
        }
    }
}

/// Returns `ceil(total * percent / 100)`.
pub(crate) fn share(total: u32, percent: u32) -> u32 {
    let product = u64::from(total) * u64::from(percent);
    if seeded!(ShareRoundsDown) {
        return u32::try_from(product / 100).unwrap_or(u32::MAX);
    }
    let product = if seeded!(ShareOneMore) { product + 100 } else { product };
    u32::try_from(product.div_ceil(100)).unwrap_or(u32::MAX)
}

/// Adds up numbers of Pods, as far as 32 bits go.
pub(crate) fn total(numbers: impl Iterator<Item = u32>) -> u32 {
    numbers.fold(0, u32::saturating_add)
}

/// Returns the greatest weight in percent that `available` of `total` Pods can carry.
pub(crate) fn carried(available: u32, total: u32) -> u32 {
    if total == 0 {
        return 0;
    }
    let percent = u64::from(available) * 100 / u64::from(total);
    let percent = if seeded!(CarriedRoundsUp) { percent + 1 } else { percent };
    u32::try_from(percent.min(100)).unwrap_or(100)
}

/// Returns the weight in force at the step: the nearest `setWeight` at or before it, all past the last step, else 0.
pub(crate) fn weight_at(steps: &[CanaryStep], index: usize) -> u32 {
    if index >= steps.len() {
        return 100;
    }
    let late = usize::from(seeded!(WeightOneStepLate));
    let early = usize::from(seeded!(WeightOneStepEarly));
    let reach = index + 1 + early - late;
    let weight = steps.iter().take(reach).rev().find_map(|step| step.set_weight);
    u32::try_from(weight.unwrap_or(0)).unwrap_or(0).min(100)
}

/// Returns the size that `setCanaryScale` puts in force at the step, if one does.
pub(crate) fn explicit_scale(
    canary: &CanaryStrategy,
    steps: &[CanaryStep],
    index: usize,
    n: u32,
) -> Option<u32> {
    canary.traffic_routing.as_ref()?;
    if index >= steps.len() {
        return None;
    }
    let reach = index + 1 - usize::from(seeded!(ScaleOneStepLate));
    let scale = steps.iter().take(reach).rev().find_map(|s| s.set_canary_scale.as_ref())?;
    if scale.match_traffic_weight == Some(true) && !seeded!(MatchWeightIgnored) {
        return None;
    }
    let number = |value: i32| u32::try_from(value).unwrap_or(0);
    scale.replicas.map(number).or_else(|| scale.weight.map(|w| share(n, number(w))))
}

/// Returns the size of a canary that follows its weight, raised to `minPodsPerReplicaSet` where it is not empty.
pub(crate) fn routed_size(canary: &CanaryStrategy, n: u32, weight: u32) -> u32 {
    let size = share(n, weight);
    if size == 0 {
        return 0;
    }
    let least = canary.min_pods_per_replica_set.filter(|_| !seeded!(LeastPodsIgnored)).unwrap_or(0);
    size.max(u32::try_from(least).unwrap_or(0).min(n))
}

/// Pods above and below `spec.replicas` that a basic canary may use.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    pub(crate) surge: u32,
    pub(crate) unavailable: u32,
}

impl Bounds {
    pub(crate) fn of(canary: &CanaryStrategy, n: u32) -> Self {
        let quarter = sluice_crds::intstr::IntOrString::String("25%".to_owned());
        let up = !seeded!(SurgeRoundsDown);
        let surge = canary.max_surge.as_ref().unwrap_or(&quarter).scaled(n, up).unwrap_or(0);
        let up = seeded!(UnavailableRoundsUp);
        let unavailable =
            canary.max_unavailable.as_ref().unwrap_or(&quarter).scaled(n, up).unwrap_or(0);
        let stuck = surge == 0 && unavailable == 0 && !seeded!(NoRoomToMove);
        let unavailable = if stuck { 1 } else { unavailable };
        Self { surge, unavailable: unavailable.min(n) }
    }
}

/// Returns how a basic canary divides its Pods: `(canary, stable)`.
///
/// Of the divisions of N Pods, or N + 1 with surge, the one whose share is nearest to the weight; among equals the first
/// of: rounded up in N, rounded down in N, rounded up in N + 1, rounded down in N + 1. A set is empty only at the ends.
pub(crate) fn basic_target(n: u32, weight: u32, surge: u32) -> (u32, u32) {
    if n == 0 {
        return (0, 0);
    }
    let weight = weight.min(100);
    let empty_allowed =
        weight == 0 || weight == 100 || (n == 1 && surge == 0) || seeded!(EmptyCanary);
    let floor =
        |total: u32| u32::try_from(u64::from(total) * u64::from(weight) / 100).unwrap_or(u32::MAX);
    let tied = |total: u32| (u64::from(total) * u64::from(weight)) % 100 == 50;
    let mut candidates: Vec<(u32, u32)> = Vec::new();
    let up = share(n, weight);
    let down = floor(n);
    if up < n || empty_allowed {
        candidates.push((up, n));
    }
    if !tied(n) && (down != 0 || empty_allowed) {
        candidates.push((down, n));
    }
    if surge > 0 {
        candidates.push((up, n + 1));
        if !tied(n + 1) && (down != 0 || empty_allowed) {
            candidates.push((down, n + 1));
        }
    }
    // Distance |c * 100 / T - w|, compared without fractions: |c * 100 - w * T| / T.
    let distance = |&(c, total): &(u32, u32)| {
        let (part, whole) = (u64::from(c) * 100, u64::from(weight) * u64::from(total));
        (part.abs_diff(whole), u64::from(total))
    };
    let mut best: Option<(u32, u32)> = None;
    for candidate in candidates {
        let better = best.is_none_or(|best| {
            let ((a, at), (b, bt)) = (distance(&candidate), distance(&best));
            a * bt < b * at || (a * bt == b * at && seeded!(TieGoesLast))
        });
        if better {
            best = Some(candidate);
        }
    }
    let (canary, total) = best.unwrap_or((up.max(1).min(n), n));
    (canary, total - canary.min(total))
}

/// One ReplicaSet in the arithmetic of a basic canary.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Size {
    pub(crate) spec: u32,
    pub(crate) available: u32,
    /// Whether the availability describes the present size; nothing shrinks before it does.
    pub(crate) observed: bool,
}

/// What the arithmetic of a basic canary starts from.
#[derive(Clone, Debug)]
pub(crate) struct Basic {
    pub(crate) n: u32,
    pub(crate) weight: u32,
    pub(crate) bounds: Bounds,
    /// ReplicaSet of the template; `None` while it is not there.
    pub(crate) current: Option<Size>,
    /// Stable ReplicaSet, if it is another one.
    pub(crate) stable: Option<Size>,
    /// The rest, newest first.
    pub(crate) older: Vec<Size>,
}

/// Sizes that a basic canary wants now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct BasicSizes {
    pub(crate) current: u32,
    pub(crate) stable: u32,
    pub(crate) older: Vec<u32>,
}

/// Returns the next sizes of a basic canary within surge and unavailability: scaling up first, old sets before the stable
/// one, never more than N + surge Pods wanted, never fewer than N - unavailable Pods available by our own hand (S13).
pub(crate) fn basic_sizes(basic: &Basic) -> BasicSizes {
    let current = basic.current.unwrap_or_default();
    let stable = basic.stable.unwrap_or_default();
    let (canary_target, stable_target) = match basic.stable {
        Some(_) => basic_target(basic.n, basic.weight, basic.bounds.surge),
        None => (basic.n, 0),
    };
    let mut sizes = BasicSizes {
        current: current.spec,
        stable: stable.spec,
        older: basic.older.iter().map(|size| size.spec).collect(),
    };
    let all = [current.spec, stable.spec].into_iter().chain(sizes.older.iter().copied());
    let total = total(all);
    let more = u32::from(seeded!(SurgeOneMore));
    let mut room = basic.n.saturating_add(basic.bounds.surge + more).saturating_sub(total);
    if stable_target > stable.spec {
        let more = room.min(stable_target - stable.spec);
        sizes.stable += more;
        room -= more;
    }
    if basic.current.is_some() && canary_target > current.spec {
        sizes.current += room.min(canary_target - current.spec);
    }
    if sizes.current > current.spec || sizes.stable > stable.spec {
        return sizes;
    }
    let mut all = basic.current.iter().chain(&basic.stable).chain(&basic.older);
    if all.all(|size| size.observed) || seeded!(ShrinksUnobserved) {
        shrink(basic, &mut sizes, canary_target, stable_target);
    }
    sizes
}

/// Takes Pods away: unavailable ones of old sets for nothing, then what availability allows.
fn shrink(basic: &Basic, sizes: &mut BasicSizes, canary_target: u32, stable_target: u32) {
    let current = basic.current.unwrap_or_default();
    let stable = basic.stable.unwrap_or_default();
    let available: u32 =
        total([current, stable].iter().chain(&basic.older).map(|size| size.available));
    let more = u32::from(seeded!(UnavailableOneMore));
    let least = basic.n.saturating_sub(basic.bounds.unavailable + more);
    let mut spare = available.saturating_sub(least);
    let mut old_left = false;
    for (wanted, size) in sizes.older.iter_mut().zip(&basic.older) {
        let taken = spare.min(size.available);
        spare -= taken;
        *wanted = size.available.min(size.spec) - taken.min(size.available.min(size.spec));
        old_left |= *wanted > 0 || size.spec > 0;
    }
    if old_left && !seeded!(OldSetsLast) {
        return;
    }
    // Pods that are not available cost nothing to take, in the direction in which the set shrinks.
    let take = |size: Size, target: u32, spare: &mut u32| {
        let surplus = size.spec.saturating_sub(target);
        let broken = size.spec.saturating_sub(size.available).min(surplus);
        let healthy = (surplus - broken).min(*spare);
        *spare -= healthy;
        size.spec - broken - healthy
    };
    if stable.spec > stable_target {
        sizes.stable = take(stable, stable_target, &mut spare);
    }
    if current.spec > canary_target {
        sizes.current = take(current, canary_target, &mut spare);
    }
}
